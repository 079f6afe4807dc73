"""A short endless run: memory is full by the middle, and from there on nothing grows; what grows is noticed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench._reel import Reel
from bench.endless import Part, render, run, verdict
from models.answerer import TextAnswerer
from models.backbone import Backbone
from models.checkpoint import Checkpoint
from models.kv.budget import MemoryConfig, TooSmall
from models.memory import Memory, open_memory
from stream.flow import MediaEpoch, Tokens

EPOCH = MediaEpoch(1.7e9)
SMALL = MemoryConfig(budget=1, warm_fraction=0.1, cold_fraction=0.03, max_forks=1)


class Leaky(Memory):
    """Keeps what it was shown, besides remembering it."""

    def append(self, tokens: Tokens) -> None:
        self.__dict__.setdefault("kept", []).append(tokens)
        super().append(tokens)

    def bytes_by_part(self) -> dict[str, int]:
        kept: list[Tokens] = self.__dict__.get("kept", [])
        return super().bytes_by_part() | {"kept": sum(tokens.embeds.nbytes for tokens in kept)}


@pytest.fixture
def smallest(checkpoint: Checkpoint) -> Memory:
    """A memory with the least budget that holds, so that it is soon full."""
    with pytest.raises(TooSmall) as small:
        open_memory(Backbone(checkpoint), checkpoint, SMALL, EPOCH)
    return open_memory(Backbone(checkpoint), checkpoint, replace(SMALL, budget=small.value.least), EPOCH)


def test_nothing_grows(reel: Reel, smallest: Memory) -> None:
    said: list[str] = []
    answerer = TextAnswerer(smallest.backbone)
    parts = run(smallest, answerer, reel, 3000, 6, say=said.append)
    assert verdict(parts) == "", "\n".join(render(parts))
    assert [part.frames for part in parts] == [500, 1000, 1500, 2000, 2500, 3000]
    held = smallest.holdings()
    kinds = {block.state for block in (*held.blocks, *held.recent)}
    assert {"hot", "warm", "cold", "merged"} <= kinds, "it was never full: a run that shows nothing"
    assert len(said) == 6 and len(render(parts)) == 8


def test_a_leak_is_noticed(reel: Reel, smallest: Memory) -> None:
    smallest.__class__ = Leaky
    parts = run(smallest, TextAnswerer(smallest.backbone), reel, 200, 2, say=lambda _: None)
    assert "Memory" in verdict(parts)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"memory_bytes": 101}, "budget"),
        ({"memory_bytes": 99}, "second half"),
        ({"resident_mib": 1033.0}, "process"),
        ({"prompt_tokens": 106}, "tokens"),
        ({}, ""),
    ],
)
def test_each_kind_of_growth_has_its_sentence(change: dict[str, Any], word: str) -> None:
    flat = Part(1, 1.0, 1.0, 1.0, 100, 90, 100, 1000.0, 12, 64)
    said = verdict([flat, flat, flat, replace(flat, **change)])
    assert word in said and bool(said) == bool(change)
