"""Questions about the past get the past back, evidence says where and when, and what is forgotten is said to be."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
import torch
from torch import Tensor

from models.answerer import TextAnswerer
from models.evidence import Attention, Stretch, sightings
from models.kv.fork import View
from models.kv.ledger import uncovered
from models.kv.recall import about_moment, about_past, attention_shares, named_span, pick, standing_out
from models.memory import Memory
from models.prompt import KINDS, embed
from stream.flow import Sighting
from stream.sources.simulated.quiz import MODES
from stream.sources.simulated.wording import PHRASES
from tests.models.scripted import NOON, ask, frame, memory

DAY: dict[str, Any] = {
    "budget": "1536KiB",
    "hot_blocks": 4,
    "warm_fraction": 0.05,
    "cold_fraction": 0.02,
    "max_forks": 3,
}


def lived(frames: int = 120, **settings: Any) -> Memory:
    mem = memory(**(DAY | settings))
    for index in range(frames):
        mem.append(frame(index))
    return mem


def answer(mem: Memory, text: str, **fields: Any) -> View:
    view = mem.fork(ask(text, **fields))
    list(TextAnswerer(mem.backbone).answer(view))
    return view


@pytest.mark.parametrize(
    "text",
    [
        "was there a dog?",
        "Did a van come?",
        "what happened at 12:30?",
        "the last 10 minutes",
        "3 min ago?",
        "What left first?",
        "who left?",
        "Who put the bag down?",
        "Who has left the yard?",
        "has a dog been here?",
        "hasn't anyone come?",
        "Have you seen a van?",
        "in which order did they come?",
        "what was there while it rained?",
    ],
)
def test_questions_about_the_past_are_known(text: str) -> None:
    assert about_past(text)


@pytest.mark.parametrize(
    "text",
    [
        "what is there now?",
        "how many bikes are there?",
        "is it raining?",
        "what colour is the car?",
        "what is on the left?",
        "is the car to the left of the tree?",
        "who has a box?",
        "does the man have a dog?",
        "is it in order?",
        "is he standing while the other walks?",
    ],
)
def test_questions_about_now_are_known(text: str) -> None:
    assert not about_past(text)


def test_questions_about_nothing_but_this_moment_are_known() -> None:
    for text in ("What do you see?", "Is the door open?", "Where will it leave?", "Does he carry a box?"):
        assert about_moment(text)
    for text in ("Is it the car that was here before?", "List everything.", "Describe the day.", "Who came?"):
        assert not about_moment(text)


def test_the_simulator_asks_about_the_present_in_words_that_are_known_as_such() -> None:
    words = {"kind": "dog", "plural": "dogs", "a": "a red dog", "the": "the red dog", "this": "the red dog"}
    words |= {"that": "the blue dog", "thing": "truck", "clock": "14:05"}
    for kind, phrases in PHRASES.items():
        for phrase in phrases:
            assert about_moment(phrase.format(**words)) == (MODES[kind] == "present"), phrase


def test_times_in_words() -> None:
    now = NOON + 600.0  # 12:10:00
    assert named_span("what was there at 12:08:31?", now, UTC) == (NOON + 511, NOON + 512)
    assert named_span("between 11:00 and 12:05", now, UTC) == (NOON - 3600, NOON + 300)
    assert named_span("at 13:00?", now, UTC) == (NOON + 3600 - 86400, NOON + 3660 - 86400), "not yet today: yesterday"
    assert named_span("2 minutes ago", now, UTC) == (now - 150, now - 90)
    assert named_span("in the last hour", now, UTC) == (now - 3600, now)
    assert named_span("what colour is the van?", now, UTC) is None


def test_recall_takes_what_the_words_attend_to() -> None:
    torch.manual_seed(0)
    query = torch.randn(4, 3, 8)
    keys = [torch.randn(2, 5, 8) for _ in range(40)] + [torch.randn(2, 3, 8)]  # blocks of two sizes
    for twin in (7, 40):
        keys[twin] = keys[twin].clone()
        keys[twin][:, 0] = 3 * query.view(2, 2, 3, 8).mean((1, 2))
    assert set(pick(query, keys, 8**-0.5, 2)) == {7, 40}
    keys[23] = keys[7].clone()
    assert pick(query, keys, 8**-0.5, 41).index(7) + 1 == pick(query, keys, 8**-0.5, 41).index(23), "ties: the older"
    assert pick(query, keys, 8**-0.5, 0) == pick(query, [], 8**-0.5, 2) == []


def test_shares_are_those_of_one_attention_over_all_blocks() -> None:
    torch.manual_seed(1)
    query, keys = torch.randn(4, 3, 8), [torch.randn(2, m, 8) for m in (5, 3, 5)]
    whole = torch.cat(keys, 1).repeat_interleave(2, 0)  # each kv head serves two heads
    plain = (query @ whole.transpose(1, 2) * 8**-0.5).softmax(-1)  # (heads, n, all keys)
    wanted = torch.stack([part.sum(-1).mean() for part in plain.split([5, 3, 5], -1)])
    assert torch.allclose(attention_shares(query, keys, 8**-0.5), wanted, atol=1e-6)
    one = torch.stack([part.sum(-1)[2].mean() for part in plain.split([5, 3, 5], -1)])
    assert torch.allclose(attention_shares(query, keys, 8**-0.5, heads=[2]), one, atol=1e-6)
    assert not torch.allclose(one, wanted, atol=1e-3), "which heads are asked matters"


def naming_query(blocks: dict[int, float], count: int = 30) -> tuple[Tensor, list[Tensor]]:
    """One word (the second of three) that some blocks speak to, so strongly; the third word is loud about others."""
    torch.manual_seed(2)
    query = torch.zeros(4, 3, 8)
    query[:, 1, 0] = query[:, 2, 1] = 1.0
    keys = [0.1 * torch.randn(2, 5, 8) for _ in range(count)]
    for block, strength in blocks.items():
        keys[block][:, 2, 0] = strength
    for block in range(6):
        keys[block][:, 1, 1] = 60.0
    return query, keys


def test_only_the_words_that_name_something_are_asked() -> None:
    query, keys = naming_query({20: 30.0, 11: 28.0, 25: 26.0})
    assert set(pick(query, keys, 1.0, 3, words=[1])) == {20, 11, 25}
    assert not {20, 11, 25} <= set(pick(query, keys, 1.0, 3)), "the loud word takes places"
    far = standing_out(query[:, [1]], keys, 1.0)
    assert int(far.argmax()) == 20 and float(far[20]) == pytest.approx(30.0, abs=3.0)
    assert float(far.median()) == pytest.approx(0.0, abs=0.5)


def test_half_the_places_are_for_the_latest_that_stand_out() -> None:
    """Seen ten times, each as clearly: the last time is what most questions are about."""
    query, keys = naming_query({block: 40.0 - block / 10 for block in range(6, 29, 2)} | {29: 15.0})
    chosen = pick(query, keys, 1.0, 4, words=[1])
    assert chosen == [6, 8, 28, 26], "29 came later and is no match"
    assert pick(query, keys, 1.0, 1, words=[1]) == [6]
    assert len(set(pick(query, keys, 1.0, 64, words=[1]))) == len(keys)


def test_a_card_says_which_words_name() -> None:
    vocabulary = memory()._reader.layout.tokenizer.get_vocab()
    (first, one), (second, two) = sorted(vocabulary.items())[-2:]
    reader = memory(recall_words=[first, second, "no such token"])._reader
    assert reader.naming([one, -1, two]) == [0, 2]
    assert memory()._reader.naming([one]) == []


def test_a_card_that_names_a_layer_or_head_it_has_not_is_refused() -> None:
    for wrong in ({"recall_layer": 99}, {"recall_heads": [0, 77]}):
        with pytest.raises(ValueError, match="are not among the"):
            memory(**wrong)


def test_now_recalls_nothing_and_the_past_recalls_both_tiers() -> None:
    mem = lived(recall_blocks=16)
    assert answer(mem, "what is there?").recalled == ()
    view = answer(mem, "what was there before?", max_tokens=2)
    tiers = {s.recalled for s in sightings_of(view)}
    assert {"warm", "cold"} <= {mem.ledger.entries[i].state for i in view.recalled}
    assert len(view.recalled) <= 16
    assert tiers & {"warm", "cold"}


def sightings_of(view: View) -> tuple[Sighting, ...]:
    return view.evidence().sightings


def test_a_block_recalled_twice_comes_back_to_stay() -> None:
    mem = lived(recall_blocks=4)
    warm, cold = list(mem._hot.tiers.warm)[-1], list(mem._hot.tiers.cold)[1]
    for target in (warm, cold):
        for _ in range(2):
            entry = mem.ledger.entries[target]
            middle = (entry.from_s + entry.until_s) / 2
            mem.used(answer(mem, "what was there?", span_s=(middle, middle)))
        assert mem.ledger.entries[target].recalls == 2
    assert mem._hot.promotions >= {warm, cold}
    mem._hot.bound, bound = 8, mem._hot.bound  # room for both
    mem._hot._promote(mem.seen_s)
    assert {warm, cold} <= set(mem._hot.blocks)
    mem._hot.bound = bound
    assert list(mem._hot.blocks) == sorted(mem._hot.blocks)
    assert {mem.ledger.entries[i].state for i in (warm, cold)} == {"hot"}


def test_use_counts_and_fades() -> None:
    mem = lived(8)
    mem.used(answer(mem, "what is there?"))
    entry = mem.ledger.entries[0]
    assert entry.use > 0
    assert entry.use_at(mem.seen_s + 3600) == pytest.approx(entry.use / 2)


def test_a_span_is_looked_at_and_nothing_else() -> None:
    mem = lived()
    view = answer(mem, "what is there?", span_s=(20.0, 40.0))
    found = sightings_of(view)
    assert found
    assert all(s.span_s[0] <= 40.0 and s.span_s[1] >= 20.0 for s in found)
    assert all(s.block is not None for s in found), "the instant window is of another time"
    assert view.evidence().uncovered_s == ()


def test_what_is_no_longer_covered_is_said() -> None:
    mem = memory(**(DAY | {"warm_fraction": 0.0, "cold_fraction": 0.0, "policy": "window"}))
    for index in range(120):
        mem.append(frame(index))
    view = mem.fork(ask("what was there?", span_s=(10.0, 118.0)))
    (hole,) = view.evidence().uncovered_s
    assert hole[0] == 10.0 and 100 < hole[1] < 118
    _, kinds = embed(view._parts, mem.backbone.embedding)
    words = mem.backbone.tokenizer.decode([i for p in view._parts if p.kind == "question" for i in p.ids])
    assert "no memory of 12:00:10-12:01:" in words and (kinds == KINDS.index("question")).any()
    assert "no memory" not in mem.backbone.tokenizer.decode(list(mem.fork(ask("what is there?"))._parts[-1].ids))


def test_holes_are_found() -> None:
    held = [(0.0, 8.0), (8.5, 16.0), (40.0, 48.0)]
    assert uncovered((0.0, 48.0), held, 2.0) == ((16.0, 40.0),)
    assert uncovered((-10.0, 60.0), held, 2.0) == ((-10.0, 0.0), (16.0, 40.0), (48.0, 60.0))
    assert uncovered((9.0, 12.0), held, 2.0) == ()
    assert uncovered((20.0, 30.0), held, 2.0) == ((20.0, 30.0),)


def test_evidence_is_attention_where_it_fell() -> None:
    """A key made to draw all attention is found: its block, its time, its cell."""
    attention = Attention()
    cells = torch.eye(4)
    stretches = [Stretch(2, (0.0, 8.0), cells, (2, 2), 8, 0), Stretch(6, (8.0, 16.0), cells, (2, 2), 8, 1, "warm")]
    attention.note(torch.tensor([0.2, 0, 0, 0, 0, 0, 0, 0, 0.8, 0]))
    attention.note(torch.tensor([0.2, 0, 0.1, 0, 0, 0, 0, 0, 0.6, 0, 0.1]))
    first, second = sightings(attention, stretches)
    assert first.block == 1 and first.recalled == "warm" and first.cells == ((0.0, 0.0), (1.0, 0.0))
    assert first.weight_fraction == pytest.approx(1.4 / 1.5)
    assert second.block == 0 and second.cells[0][0] == 1.0


def test_evidence_of_an_answer_adds_up() -> None:
    mem = lived()
    view = answer(mem, "what was there before?")
    evidence = view.evidence()
    found = evidence.sightings
    assert 1 <= len(found) <= 8
    assert 0 < sum(s.weight_fraction for s in found) <= 1 + 1e-6
    assert [s.weight_fraction for s in found] == sorted((s.weight_fraction for s in found), reverse=True)
    assert all(sum(map(sum, s.cells)) == pytest.approx(1.0, abs=1e-4) for s in found)
    assert evidence.newest_frame_s == 119.0 and evidence.frames > 0
    usage = view.usage()
    assert usage.prompt_tokens > 100 and 0 < usage.completion_tokens <= 8


def test_a_memory_that_saw_nothing_answers_from_words_alone() -> None:
    view = answer(memory(), "what is there?")
    assert sightings_of(view) == () and view.evidence().covered_s is None
