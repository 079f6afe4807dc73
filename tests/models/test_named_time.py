"""A question whose words name a time reads what is held of that time and nothing else, wherever it lies."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
import torch

from models.kv.fork import View
from models.kv.recall import about_now, about_past, named_span
from models.kv.spans import belongs
from models.memory import Memory
from tests.models.exact import check, plain, read, watched
from tests.models.scripted import NOON, ask, frame, memory

SMALL: dict[str, Any] = {"budget": "1536KiB", "hot_blocks": 4, "cold_fraction": 0.02, "max_forks": 3}
NEAR: dict[str, Any] = {"rtol": 0.0, "atol": 1e-5}


def lived(frames: int = 120, **settings: Any) -> Memory:
    """Blocks of two frames: (0, 1), (2, 3) ... seconds after noon; the last two frames are in none yet."""
    mem = memory(**(SMALL | {"warm_fraction": 0.05} | settings))
    for index in range(frames):
        mem.append(frame(index))
    return mem


def seen(mem: Memory, text: str, **fields: Any) -> set[tuple[float, float]]:
    """The stretches that a question reads, media time."""
    view = mem.fork(ask(text, **fields))
    view.read()
    try:
        return {stretch.span_s for stretch in view._stretches}
    finally:
        view.close()


def words(view: View) -> str:
    """The question as the model reads it."""
    return str(view._reader.backbone.tokenizer.decode(list(view._parts[-1].ids)))


def at_hand(mem: Memory) -> set[tuple[float, float]]:
    return {mem.ledger.entries[block].span_s for block in mem._hot.blocks}


def test_times_of_one_end() -> None:
    now = NOON + 600.0  # 12:10:00
    assert named_span("who came since 12:05?", now, UTC) == (NOON + 300, now)
    assert named_span("who came after 12:05:30?", now, UTC) == (NOON + 330, now)
    assert named_span("less than 2 minutes ago", now, UTC) == (now - 150, now)
    assert named_span("between 12:05 and 14:00", now, UTC) == (NOON + 300, now), "the end is yet to come"
    for text in ("who came before 12:05?", "until 12:05", "more than 2 minutes ago", "over 3 hours ago?"):
        assert named_span(text, now, UTC) is None and about_past(text), "an end and no beginning bounds nothing"
    assert named_span("over the last hour", now, UTC) == (now - 3600, now)


def test_questions_about_two_moments_are_known() -> None:
    for text in ("is the van of 12:05 still there?", "between 12:05 and now", "is it gone any more at 12:05?"):
        assert about_now(text)
    for text in ("was the van still there at 12:05?", "what was there 2 minutes ago?", "what did you see at 12:05?"):
        assert not about_now(text)


@pytest.mark.parametrize("hot_blocks", [4, 60], ids=["evicted", "at hand"])
@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("was there a dog at 12:00:20?", {(20, 21)}),
        ("between 12:00:20 and 12:00:25", {(20, 21), (22, 23), (24, 25)}),
        ("between 12:00:21 and 12:00:24", {(22, 23)}),  # of (20, 21) and (24, 25) less than half
        ("what was there at 12:00:21?", {(20, 21), (22, 23)}),  # from 21 to 22: between two middles
    ],
)
def test_only_blocks_of_the_named_time_are_read(hot_blocks: int, text: str, spans: set[tuple[float, float]]) -> None:
    mem = lived(budget="8MiB", hot_blocks=hot_blocks, warm_fraction=0.5)
    assert (spans <= at_hand(mem)) == (hot_blocks == 60)
    assert seen(mem, text) == spans
    assert len(seen(mem, "what was there before?")) > len(spans), "the control: no time is named"
    check(mem)


def test_the_present_is_read_where_the_named_time_touches_it() -> None:
    mem = lived(117, every=4, budget="8MiB", hot_blocks=60)  # the open segment is from 116 on, the instant 115 and 116
    mem.append(frame(117))
    mem.append(frame(118))
    assert mem.perception.open_frames == 3
    open_or_instant = {(116, 118), (117, 117), (118, 118)}
    assert seen(mem, "in the last 2 seconds?") == open_or_instant
    assert seen(mem, "in the last 4 seconds?") == open_or_instant | {(112, 115)}
    assert seen(mem, "at 12:01:55?") == {(112, 115), (116, 118)}, "the instant window is later"
    assert seen(mem, "at 12:01:50?") == {(108, 111)}
    assert open_or_instant < seen(mem, "what is there?")


@pytest.mark.parametrize("positions", ["contiguous", "gap", "lazy_rebase"])
def test_a_question_about_this_moment_reads_the_newest_blocks_where_the_card_says_so(positions: Any) -> None:
    settings: dict[str, Any] = {"every": 4, "budget": "8MiB", "hot_blocks": 20, "positions": positions}
    mem, wide = (lived(119, **settings, present_blocks=most) for most in (2, None))
    newest = {(112, 115), (116, 118), (117, 117), (118, 118)}
    assert seen(mem, "is there a dog?") == newest
    assert seen(lived(119, **settings, present_blocks=1), "is there a dog?") == newest - {(112, 115)}
    assert seen(lived(119, **settings, present_blocks=0), "is there a dog?") == {(117, 117), (118, 118)}
    for text in ("is there a dog?", "was there a dog?", "list all dogs", "is the dog of 12:00:20 still there?"):
        assert seen(wide, text) >= at_hand(wide) | newest
    for text in ("was there a dog?", "list all dogs", "is the dog of 12:00:20 still there?"):
        assert seen(mem, text) == seen(wide, text), "it asks about more than this moment"
    assert seen(mem, "what is there at 12:00:21?") == seen(wide, "what is there at 12:00:21?")
    check(mem)


def test_where_nothing_is_in_a_block_yet_the_present_is_all_there_is() -> None:
    mem = lived(3, every=4, present_blocks=1)
    assert seen(mem, "is there a dog?") == seen(mem, "was there a dog?")


def test_a_question_about_then_and_now_reads_both() -> None:
    mem = lived(budget="8MiB", warm_fraction=0.5, recall_blocks=64)
    everything = seen(mem, "what is there?")
    assert seen(mem, "is the dog of 12:00:20 still there?") == everything | {(20, 21)}
    assert seen(mem, "was the dog still there at 12:00:20?") == {(20, 21)}


def test_recall_chooses_among_the_blocks_of_the_named_time() -> None:
    mem = lived(budget="8MiB", warm_fraction=0.5, recall_blocks=3)
    view = mem.fork(ask("what was there between 12:00:20 and 12:00:41?"))
    view.read()
    spans = {stretch.span_s for stretch in view._stretches}
    assert len(view.recalled) == 3 and len(spans - at_hand(mem)) == 3
    assert all(20 <= (a + b) / 2 <= 41 for a, b in spans)


def test_a_time_that_is_not_held_is_said_and_everything_else_is_read() -> None:
    mem = lived(warm_fraction=0.0, cold_fraction=0.0, policy="window")
    for text in ("is there a dog at 11:00?", "is there a dog at 12:00:10?"):  # a minute, and a second
        view = mem.fork(ask(text))
        (hole,) = view.evidence().uncovered_s
        assert hole[1] - hole[0] == pytest.approx(60.0 if "11:00?" in text else 1.0)
        assert "[no memory of 1" in words(view)
        view.close()
        assert seen(mem, text) == seen(mem, "what is there?") >= at_hand(mem)
    view = mem.fork(ask("is there a dog at 12:01:58?"))
    assert "no memory" not in words(view) and view.evidence().uncovered_s == ()


def test_a_pause_between_two_frames_is_next_to_what_was_seen() -> None:
    mem = memory(budget="8MiB", hot_blocks=60)
    for index in range(60):
        mem.append(frame(index, seconds=3.0))
    wanted = {(18, 21), (24, 27)}
    assert seen(mem, "what was there at 12:00:22?") == wanted
    assert "no memory" not in words(mem.fork(ask("what was there at 12:00:22?")))


@pytest.mark.parametrize("text", ["what was there at 12:00:20?", "what was there between 12:00:20 and 12:00:41?"])
def test_a_named_time_is_the_plain_model_with_everything_else_masked(text: str) -> None:
    mem = memory(hot_blocks=4, budget="32MiB", positions="gap", warm_fraction=0.6, recall_blocks=64)
    log = watched(mem)
    for index in range(61):
        mem.append(frame(index))
    assert not mem._hot.tiers.cold, "the control of this test: what is recalled is exact"
    view = mem.fork(ask(text))
    wanted = {i for i, e in mem.ledger.entries.items() if belongs(e.span_s, (20.0, 41.0 if "41" in text else 21))}
    assert wanted - set(mem._hot.blocks)
    got, truth = read(mem, text), plain(mem, view, log, wanted)
    torch.testing.assert_close(got, truth, **NEAR)
    for other in (wanted | {mem._hot.blocks[next(reversed(mem._hot.blocks))].id}, wanted - {min(wanted)}):
        assert float((got - plain(mem, view, log, other)).abs().max()) > 1e-3, "one block more or less is noticed"


@pytest.mark.parametrize("positions", ["contiguous", "lazy_rebase"])
def test_words_and_a_span_of_its_own_read_the_same(positions: str) -> None:
    mem = lived(positions=positions, budget="8MiB", warm_fraction=0.5, recall_blocks=64)
    text = "what was there between 12:00:20 and 12:00:40?"
    same = {s: read(mem, text, span_s=s) for s in ((20.2, 39.8), (0.0, 119.0))}
    assert seen(mem, text) == seen(mem, text, span_s=(20.2, 39.8))
    assert torch.equal(read(mem, text), same[20.2, 39.8]) and not torch.equal(read(mem, text), same[0.0, 119.0])


def test_a_question_about_an_old_time_reads_as_little_as_one_about_a_late_one() -> None:
    mem = lived(400, budget="8MiB", warm_fraction=0.6)
    tokens = {}
    for text in ("what is there?", "what was there before?", "at 12:00:20?", "at 12:03:20?", "at 12:06:20?"):
        view = mem.fork(ask(text))
        view.read()
        tokens[text] = view._shown.tokens
        view.close()
    timed = [count for text, count in tokens.items() if text.startswith("at")]
    assert max(timed) - min(timed) <= 6, "stamps differ by a token or two"
    assert max(timed) < tokens["what is there?"]
    assert tokens["what was there before?"] > tokens["what is there?"]


def test_without_recall_an_old_time_leaves_everything_at_hand() -> None:
    mem = lived(recall=False)
    assert seen(mem, "what was there at 12:00:20?") == seen(mem, "what is there?")
    newest = max(at_hand(mem))
    assert seen(mem, f"at 12:01:{int(newest[0]) - 60}?") == {newest}
