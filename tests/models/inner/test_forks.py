"""Questions with fewer rows in deeper layers, on random and on trained weights: nothing else notices them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from models.answerer import TextAnswerer
from models.backbone import Backbone
from models.inner.dycoke import DyCoke
from models.inner.fastv import FastV
from models.inner.holitom import HoliTom
from models.inner.mustdrop import MustDrop
from models.kv.budget import TooSmall
from models.memory import Memory
from tests.models.exact import ask_until, check, untouched
from tests.models.inner.looking import WORDS, hidden, said, use
from tests.models.scripted import ask, frame, memory, tiny_checkpoint
from tests.models.yard import camera, seen, watch

SAYS = [40, 40, 7, 90]
ALL: list[tuple[str, str]] = [*((word, "none") for word in WORDS), ("none", "dycoke"), ("mustdrop", "dycoke")]
NOTHING: dict[str, Any] = {
    "fastv": FastV(ratio=0.0),
    "holitom_inner": HoliTom(ratio=0.0),
    "mustdrop": MustDrop(total=0.0, single=0.0),
    "dycoke": DyCoke(pruned=0.0),
}
HALF: dict[str, Any] = {
    "fastv": FastV(ratio=0.5),
    "holitom_inner": HoliTom(ratio=0.5),
    "mustdrop": MustDrop(total=0.002, single=0.05),
    "dycoke": DyCoke(pruned=0.5),
}


def fed(kind: str, frames: int = 31, **settings: Any) -> Memory:
    """A memory of random weights and tokens, or the shipped one at the yard."""
    if kind == "bundled":
        return watch(camera(**({"budget": "192MiB"} | settings)), seen(frames))
    given: dict[str, Any] = {"layers": 4, "budget": "32MiB"}
    mem = memory(**(given | settings))
    for index in range(frames):
        mem.append(frame(index))
    return mem


def counted(mem: Memory) -> tuple[int, ...]:
    """Keys that the first word said looks at, by layer."""
    view = mem.fork(ask("list everything"))
    said(view, SAYS[:1])
    found = view.attended
    view.close()
    assert view.attended == ()
    return found


@pytest.mark.parametrize("kind", ["tiny", "bundled"])
@pytest.mark.parametrize(("inner", "decode"), ALL)
def test_nothing_pruned_is_the_same_and_half_is_not(
    kind: str, inner: str, decode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = hidden(fed(kind), SAYS)
    scale = float(plain.abs().max())
    for word in (inner, decode):
        if word != "none":
            use(monkeypatch, word, NOTHING[word])
    same = fed(kind, inner=inner, decode=decode)
    torch.testing.assert_close(hidden(same, SAYS) / scale, plain / scale, rtol=0.0, atol=1e-5)
    whole = counted(same)
    assert len(set(whole)) == 1 and whole == counted(fed(kind))
    for word in (inner, decode):
        if word != "none":
            use(monkeypatch, word, HALF[word])
    pruned = fed(kind, inner=inner, decode=decode)
    far = (hidden(pruned, SAYS) - plain).abs().amax(1) / scale
    assert bool((far[0 if inner != "none" else 1 :] > 1e-4).all())
    if inner == "none":
        assert float(far[0]) == 0, "reading the question is not this method's business"
    fewer = counted(pruned)
    assert fewer[-1] < whole[-1] and all(a <= b for a, b in zip(fewer, whole, strict=True))
    if inner in ("fastv", "none"):
        assert fewer[0] == whole[0]


@pytest.mark.parametrize("kind", ["tiny", "bundled"])
@pytest.mark.parametrize("end", ["finish", "cancel", "fail", "fail inside"])
@pytest.mark.parametrize(("inner", "decode"), ALL)
def test_memory_is_bit_identical_after_a_question(
    kind: str, inner: str, decode: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mem = fed(kind, inner=inner, decode=decode)
    alone = hidden(mem, SAYS)
    with untouched(mem):
        ask_until(end, mem, TextAnswerer(mem.backbone, "answer"), monkeypatch)
    assert torch.equal(hidden(mem, SAYS), alone)
    if kind == "tiny":
        check(mem)


@pytest.mark.parametrize(("inner", "decode"), ALL)
def test_eight_questions_at_once_answer_as_if_alone(inner: str, decode: str) -> None:
    texts = [f"how many bikes at {i}?" for i in range(8)]
    mem, same = (fed("tiny", 17, inner=inner, decode=decode) for _ in range(2))
    tokens = [[40 + i, 7 * i + 3, 90 - i, 40 + i] for i in range(8)]
    alone = [hidden(same, its, text) for its, text in zip(tokens, texts, strict=True)]
    views = [mem.fork(ask(text, id=text)) for text in texts]
    found = [[view.read()] for view in views]
    for step in range(4):
        mem.append(frame(17 + step))  # frames go on being committed between the steps
        for view, rows, its in zip(views, found, tokens, strict=True):
            rows.append(view.say(its[step]))
    for rows, truth in zip(found, alone, strict=True):
        assert torch.equal(torch.stack(rows), truth)
    assert not torch.equal(alone[0], alone[1])


@pytest.mark.parametrize("kind", ["tiny", "bundled"])
@pytest.mark.parametrize(("inner", "decode"), [*ALL, ("none", "none")])
def test_evidence_and_shares_stay_with_the_right_blocks(kind: str, inner: str, decode: str) -> None:
    mem = fed(kind, inner=inner, decode=decode)
    view = mem.fork(ask("list everything"))
    said(view, SAYS)
    evidence, shares = view.evidence(), view.shares()
    total = view._attention._sum
    assert total is not None
    assert float(total.sum()) == pytest.approx(1 + len(SAYS), abs=1e-4)
    assert (
        sum(s.weight_fraction for s in evidence.sightings) == pytest.approx(1.0, abs=1e-4)
        or len(evidence.sightings) == 8
    )
    assert set(shares) == set(mem._hot.blocks)
    assert 0 < sum(shares.values()) <= 1
    at = mem._hot.sinks.tokens
    for block in mem._hot.blocks.values():
        stretch = next(s for s in view._stretches if s.block == block.id)
        assert stretch.at == at + block.rows_from and stretch.span_s == mem.ledger.entries[block.id].span_s
        at += block.tokens


def test_what_a_word_looked_at_is_found_where_it_is() -> None:
    """The pointing head's look is spread over all keys in reach, in its own layer's rows."""
    for inner, decode in ALL:
        mem = fed("bundled", 40, inner=inner, decode=decode)
        view = mem.fork(ask("list everything"))
        said(view, SAYS)
        look = view._look
        assert look is not None and view._shown is not None and view._tail is not None
        assert len(look) == view._shown.tokens + view._tail.length
        assert float(look.sum()) == pytest.approx(1.0, abs=1e-5)
        assert int((look == 0).sum()) >= len(look) - view.attended[mem.config.pointer_layer or 0] > 0
        assert view.pointed() is not None


@pytest.mark.parametrize(("inner", "decode"), ALL)
def test_a_fork_holds_no_more_than_it_reserved(inner: str, decode: str) -> None:
    for text in ("what is there?", "what was there before?"):
        mem = fed("tiny", 61, inner=inner, decode=decode)
        view = mem.fork(ask(text))
        shared = mem._hot.slab.keys.untyped_storage().data_ptr()
        said(view, SAYS)
        focus = view._focus
        assert focus is not None and view._tail is not None
        pairs = [*focus._own.values(), *(part for _, part in focus._working.values())]
        held = [t for pair in pairs for t in pair if t.untyped_storage().data_ptr() != shared]
        assert held, "nothing was gathered"
        assert sum(t.nbytes for t in held) + view._tail.bytes() <= view.reserved
        view.close()
        assert view._focus is None


@pytest.mark.parametrize(("inner", "decode"), ALL)
def test_the_smallest_budget_has_room_for_all_questions(inner: str, decode: str) -> None:
    with pytest.raises(TooSmall, match="decode set to none need less") as refused:
        fed("tiny", 0, budget="64KiB", inner=inner, decode=decode)
    mem = fed("tiny", 61, budget=refused.value.least, inner=inner, decode=decode)
    views = [mem.fork(ask(id=str(i))) for i in range(mem.config.max_forks)]
    for view in views:
        said(view, SAYS)
    check(mem)
    with pytest.raises(TooSmall) as plain:
        fed("tiny", 0, budget="64KiB")
    assert plain.value.least < refused.value.least, "private rows are not free"
    assert "memory.inner" not in str(plain.value)


@pytest.mark.parametrize(("inner", "decode"), ALL)
def test_half_precision_goes_the_same_way(inner: str, decode: str) -> None:
    checkpoint = tiny_checkpoint(4)
    half = Backbone(replace(checkpoint, model=deepcopy(checkpoint.model).bfloat16()))
    mem = fed("tiny", 0, inner=inner, decode=decode)
    other = Memory(half, checkpoint.cross_dynamics, mem._make, mem.config, mem.epoch)
    for index in range(31):
        mem.append(frame(index))
        other.append(frame(index))
    full, rough = hidden(mem, SAYS), hidden(other, SAYS)
    assert rough.dtype == torch.bfloat16 and bool(rough.isfinite().all())
    assert float(torch.cosine_similarity(full, rough.float(), 1).min()) > 0.9
    assert counted(mem)[-1] == pytest.approx(counted(other)[-1], abs=4)


@pytest.mark.parametrize(("inner", "decode"), ALL)
def test_few_rows_and_none_are_read_too(inner: str, decode: str) -> None:
    for frames in (0, 1, 2, 3):
        mem = fed("tiny", frames, inner=inner, decode=decode)
        rows = hidden(mem, SAYS)
        assert bool(rows.isfinite().all())
    none = fed("tiny", 7, inner=inner, decode=decode, hot_blocks=0, recall=False)
    assert bool(hidden(none, SAYS).isfinite().all())
    shallow = fed("tiny", 13, inner=inner, decode=decode, layers=1)
    assert torch.equal(hidden(shallow, SAYS), hidden(fed("tiny", 13, layers=1), SAYS))
