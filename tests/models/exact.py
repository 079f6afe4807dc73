"""What the invariants are held with: one plain forward pass as truth, the parent's tensors, the books."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from models.answerer import TextAnswerer
from models.kv.fork import View
from models.kv.ledger import Entry
from models.memory import Memory
from models.prompt import embed
from models.rows import Rows
from tests.models.scripted import ask

Log = list[tuple[int, set[int], Tensor]]  # block id, ids alive when it was read, its embeddings; in order


def read(mem: Memory, text: str = "what is there?", **fields: Any) -> Tensor:
    """Logits of the answer's first token."""
    view = mem.fork(ask(text, **fields))
    try:
        return mem.backbone.logits(view.read()[None])[0]
    finally:
        view.close()


def watched(mem: Memory) -> Log:
    """For every block that `mem` will read, what that block could see: written down as it happens."""
    log: Log = []
    hot, commit = mem._hot, mem._hot.commit

    def noted(rows: Rows, entry: Entry, now_s: float) -> None:
        commit(rows, entry, now_s)
        block = hot.blocks[entry.id]
        embeds, _ = embed(mem._reader.layout.block(block.stamp, block.fused), mem.backbone.embedding)
        log.append((block.id, {i for i in hot.blocks if i != block.id}, embeds))

    hot.commit = noted  # type: ignore[method-assign]
    return log


def plain(mem: Memory, view: View, log: Log, seen_ids: set[int] | None = None) -> Tensor:
    """One forward pass of the unpatched model over all that was ever read, later rows masked from what was gone.

    `seen_ids`: the blocks that the question sees; without, those at hand.
    """
    at_hand = {b.id for b in view._reach.blocks} if seen_ids is None else seen_ids
    backbone = mem.backbone
    prefix, _ = embed(mem._reader.layout.prefix(), backbone.embedding)
    tail, _ = embed(view._parts, backbone.embedding)
    pieces = [(-1, set(), prefix), *log, (10**6, at_hand, tail)]
    owner = torch.tensor([i for i, _, rows in pieces for _ in range(len(rows))])
    n = len(owner)
    seen = torch.zeros(n, n, dtype=torch.bool)
    at = 0
    for block_id, alive, rows in pieces:
        seen[at : at + len(rows)] = torch.isin(owner, torch.tensor([*alive, -1, block_id]))
        at += len(rows)
    seen &= torch.ones(n, n, dtype=torch.bool).tril()
    mask = torch.zeros(1, 1, n, n).masked_fill(~seen, torch.finfo(torch.float32).min)
    with torch.no_grad():
        embeds = torch.cat([rows for _, _, rows in pieces])[None]
        out = backbone.language_model(inputs_embeds=embeds, attention_mask=mask, position_ids=torch.arange(n)[None])
        return backbone.logits(out.last_hidden_state[0, -1:])[0]


def forgetful(log: Log) -> Log:
    """The same log with a mask that hides nothing: the broken one that a test of eviction must notice."""
    return [(block_id, {i for i, _, _ in log}, rows) for block_id, _, rows in log]


def parent_state(mem: Memory) -> list[Tensor]:
    """Every tensor that forks share."""
    shown = mem._hot.slab.view()
    return [t for b in mem._hot.in_view() for t in (b.raw, b.values)] + [shown.keys, shown.values]


@contextmanager
def untouched(mem: Memory) -> Iterator[None]:
    """Whatever forks go through inside: afterwards each shared tensor and the ledger are bit for bit what they were."""
    before, pointers = [t.clone() for t in parent_state(mem)], [t.data_ptr() for t in parent_state(mem)]
    ledger = mem.ledger.state()
    yield
    assert all(torch.equal(a, b) for a, b in zip(parent_state(mem), before, strict=True))
    assert [t.data_ptr() for t in parent_state(mem)] == pointers
    assert mem.ledger.state() == ledger


def ask_until(end: str, mem: Memory, answerer: TextAnswerer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One question that is answered (`finish`), stopped after a word (`cancel`), or breaks: `fail`, `fail inside`."""
    view = mem.fork(ask("what was there before?"))
    words = answerer.answer(view)
    if end.startswith("fail"):
        if end == "fail":
            monkeypatch.setattr(View, "say", lambda *_: 1 / 0)
        else:  # in the middle of a pass
            monkeypatch.setattr(mem.backbone.language_model.layers[-1].mlp, "forward", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(words)
        monkeypatch.undo()
    else:
        next(words, None)
        if end == "finish":
            list(words)
        words.close()  # type: ignore[attr-defined]
    assert view.closed


def check(mem: Memory) -> None:
    """What must hold after every event: the byte cap, and every token and patch in exactly one state."""
    held, (rows, columns) = mem.holdings(), mem.perception.grid
    assert sum(held.bytes_by_part.values()) <= held.budget_bytes, held.bytes_by_part
    assert sum(held.patches_by_state.values()) == pytest.approx(held.patches_seen)
    assert held.patches_seen == rows * columns * held.frames_seen
    assert sum(held.tokens_by_state.values()) == mem.ledger.tokens_committed
    tiers = mem._hot.tiers
    ids = [*tiers.hot, *tiers.warm, *tiers.cold]
    assert len(ids) == len(set(ids)) and set(ids) == set(mem.ledger.entries)
    states = {i: mem.ledger.entries[i].state for i in ids}
    assert all(states[i] == name for name in ("hot", "warm", "cold") for i in getattr(tiers, name))
    assert all(mem.ledger.entries[i].tokens == b.tokens for i, b in tiers.hot.items())
    assert len(tiers.hot) <= mem._hot.bound
    positions = mem._hot.positions
    assert positions.policy == "gap" or positions.next <= positions.highest + mem.plan.block_tokens
    assert positions.starts[-1] == 0
