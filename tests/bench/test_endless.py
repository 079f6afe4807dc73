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
SMALL = MemoryConfig(
    budget=1,
    warm_fraction=0.05,
    cold_fraction=0.012,
    max_forks=1,
    base_codes=48,
    spawn_below=0.9,
    idle_frames=1_000_000,  # else codes leave before they are many
)
BUSY = 1.0  # a frame may seem twice as dear here: other work shares the machine, and parts are short


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
    return least(checkpoint, SMALL)


def least(checkpoint: Checkpoint, config: MemoryConfig) -> Memory:
    with pytest.raises(TooSmall) as small:
        open_memory(Backbone(checkpoint), checkpoint, config, EPOCH)
    return open_memory(Backbone(checkpoint), checkpoint, replace(config, budget=small.value.least), EPOCH)


def test_nothing_grows(reel: Reel, smallest: Memory) -> None:
    said: list[str] = []
    answerer = TextAnswerer(smallest.backbone)
    parts = run(smallest, answerer, reel, 3000, 6, say=said.append)
    assert verdict(parts, slower=BUSY) == "", "\n".join(render(parts))
    assert [part.frames for part in parts] == [500, 1000, 1500, 2000, 2500, 3000]
    held = smallest.holdings()
    kinds = {block.state for block in (*held.blocks, *held.recent)}
    assert {"hot", "warm", "cold", "merged"} <= kinds, "it was never full: a run that shows nothing"
    assert all(part.codes == SMALL.base_codes for part in parts) and smallest.perception.base.merges > 100
    assert len(said) == 6 and len(render(parts)) == 8 and render(parts)[-1].endswith(f"| {SMALL.base_codes} |")


def test_nothing_grows_where_codes_are_retired(reel: Reel, checkpoint: Checkpoint) -> None:
    memory = least(checkpoint, replace(SMALL, idle_frames=20))
    parts = run(memory, TextAnswerer(memory.backbone), reel, 3000, 6, say=lambda _: None)
    assert verdict(parts, slower=BUSY) == "", "\n".join(render(parts))
    assert all(0 < part.codes <= SMALL.base_codes for part in parts)
    base = memory.perception.base
    retired = base.next_id - base.merges - int(base.alive.sum())
    assert retired > 10 * SMALL.base_codes, "hardly a code was retired: a run that shows nothing"


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
        ({"frame_ms": 9.0}, ""),  # one slow part of many: another process had the machine
        ({}, ""),
    ],
)
def test_each_kind_of_growth_has_its_sentence(change: dict[str, Any], word: str) -> None:
    flat = Part(1, 1.0, 1.0, 1.0, 100, 90, 100, 1000.0, 12, 64)
    said = verdict([flat, flat, flat, flat, flat, replace(flat, **change)])
    assert word in said and bool(said) == bool(word)


@pytest.mark.parametrize(
    ("frame_ms", "grown"),
    [
        ([0.5, 1, 1, 1, 1, 1, 1, 1], False),  # the first part fills memory and is cheap: not compared
        ([0.5, 1, 1, 1, 1.09, 1.08, 1.09, 1.09], False),
        ([0.5, 1, 1, 1, 1.12, 1.12, 1.12, 1.12], True),
        ([0.5, 1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6], True),  # a little dearer each part
        ([0.5, 1, 1, 1, 1, 9, 9, 1], True),
        ([1, 1, 9, 1, 1, 1, 1, 9], False),
        ([0.5, 1], False),  # nothing to compare with
    ],
)
def test_frames_that_become_dearer_are_noticed(frame_ms: list[float], grown: bool) -> None:
    parts = [Part(1, 1.0, ms, 1.0, 100, 90, 100, 1000.0, 12, 64) for ms in frame_ms]
    assert ("A frame took" in verdict(parts)) == grown
    assert verdict(parts, slower=20.0) == ""
