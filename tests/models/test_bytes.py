"""The bytes that memory says it holds are at least those it does hold, counted tensor by tensor."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
import torch

from models.answerer import TextAnswerer
from models.backbone import Backbone
from models.checkpoint import Checkpoint
from models.cross_dynamics import CrossDynamics
from models.kv.fork import View
from models.kv.render import Slab
from models.memory import Crowded, Memory
from models.prompt import Layout
from tests.models.exact import check
from tests.models.scripted import ask, frame, memory
from tests.models.yard import camera, seen

SHARED = (Backbone, Checkpoint, CrossDynamics, Layout, ModuleType, FunctionType, type)  # one for all cameras


def reached(*roots: object) -> int:
    """Bytes of all tensor storages that can be reached from `roots`, each once."""
    found: dict[int, int] = {}
    waiting: list[object] = list(roots)
    known: set[int] = set()
    while waiting:
        each = waiting.pop()
        if id(each) in known or isinstance(each, SHARED):
            continue
        known.add(id(each))
        if isinstance(each, torch.Tensor):
            storage = each.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
        else:
            waiting.extend(gc.get_referents(each))
    return sum(found.values())


def counted(mem: Memory) -> int:
    return sum(size for part, size in mem.bytes_by_part().items() if part != "ledger")


def holds(mem: Memory, views: Iterable[View] = ()) -> None:
    check(mem)
    assert reached(mem, *views) <= counted(mem)


@pytest.mark.parametrize("length", ["fixed", "adaptive"])
def test_every_tensor_of_a_camera_is_counted(length: str) -> None:
    mem = camera(budget="64MiB", hot_blocks=4, warm_fraction=0.02, cold_fraction=0.02, max_forks=3, length=length)
    frames = seen(100)
    views: list[View] = []
    for index, tokens in enumerate(frames):
        mem.append(tokens)
        if index % 9 == 8:
            views = [view for view in views if not view.closed]
            try:
                view = mem.fork(ask("was there a person before?" if index % 2 else "what is there?", id=str(index)))
            except Crowded:
                views.pop(0).close()
                continue
            if index % 4 == 1:
                view.read()
            views.append(view)
        holds(mem, views)
        parts = mem.bytes_by_part()
        assert reached(mem._shown) <= parts["shown"] + parts["instant"]
        assert reached(mem.perception._said) <= parts["said"]
    assert {"hot", "warm", "cold"} <= {state for state, count in mem.ledger.tokens_by_state().items() if count}
    mem.perception._open.extend(mem.perception._open * 40)  # the control: what is held twice over does not count twice
    holds(mem, views)
    mem.__dict__["forgotten"] = torch.zeros(counted(mem) // 4)
    with pytest.raises(AssertionError):
        holds(mem, views)


def test_a_block_that_only_a_question_holds_is_counted() -> None:
    mem = memory(hot_blocks=4, warm_fraction=0.0, cold_fraction=0.0)
    for index in range(9):
        mem.append(frame(index))
    view = mem.fork(ask())
    before = mem.bytes_by_part()["forks"]
    assert before == view.reserved
    for index in range(9, 40):
        mem.append(frame(index))
    assert view._reach is not None
    gone = [block for block in view._reach.blocks[1:] if block.id not in mem._hot.blocks]
    held = mem.bytes_by_part()["forks"]
    assert gone and held == before + sum(block.size for block in gone)
    view.read()
    assert mem.bytes_by_part()["forks"] == before + sum(block.cells.nbytes for block in gone), "it has read the rest"
    check(mem)
    view.close()
    assert mem.bytes_by_part()["forks"] == 0


def test_clearing_and_restoring_end_the_questions_that_would_hold_the_old_memory(tmp_path: Path) -> None:
    mem = memory()
    for index in range(20):
        mem.append(frame(index))
    mem.snapshot(tmp_path / "yard.memory")
    for forget in (mem.clear, lambda: mem.restore(tmp_path / "yard.memory")):
        mem.append(frame(20))
        view = mem.fork(ask())
        words = TextAnswerer(mem.backbone).answer(view)
        forget()
        with pytest.raises(RuntimeError, match="while it was being answered"):
            next(words)
        assert reached(view) == 0
        check(mem)


def test_never_more_than_two_renderings(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a new slab is made, too: the one it replaces is let go first, or the question that holds it goes."""
    alive: list[int] = []
    views: list[View] = []
    inner = Slab.__init__

    def noted(self: Slab, backbone: Backbone, capacity: int) -> None:
        inner(self, backbone, capacity)
        if capacity == mem.plan.slab_tokens:
            others = {id(slab): slab for slab in (mem._hot.slab, *(view.slab for view in views)) if slab is not None}
            alive.append(1 + sum(slab.capacity > 0 for slab in others.values()))

    mem = memory(hot_blocks=4, budget="4MiB", warm_fraction=0.0, cold_fraction=0.0)
    mem._forks.most_bytes = 60_000  # room for questions, not for old renderings
    monkeypatch.setattr(Slab, "__init__", noted)
    for index in range(60):
        mem.append(frame(index))
        if index % 5 == 4:
            try:
                views.append(mem.fork(ask(id=str(index), max_tokens=1)))
            except Crowded:
                views.pop(0).close()
    assert len(alive) > 4 and max(alive) == 2
