"""Invariants of the memory that need a counter, a slow model or a single layer; tiny and bundled, with controls."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models.answerer import TextAnswerer
from models.kv.fork import View
from models.kv.tiers import Tiers
from models.memory import Memory
from models.perception import Perception
from models.prompt import embed
from models.rows import Rows
from stream.device import Device
from stream.flow import MediaEpoch, Tokens
from tests.models.exact import forgetful, parent_state, plain, read, watched
from tests.models.scripted import GRID, NOON, ask, frame, memory, tiny_backbone, tiny_checkpoint
from tests.models.yard import FPS, camera, later, seen

NEAR: dict[str, Any] = {"rtol": 0.0, "atol": 1e-5}


class Work(TorchDispatchMode):
    """Counts what torch is asked to do: calls, and numbers read and written."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.numbers = 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.calls += 1
        flat = [t for each in (*args, out) for t in (each if isinstance(each, list | tuple) else (each,))]
        self.numbers += sum(t.numel() for t in flat if isinstance(t, Tensor))
        return out


class Hoarding(Perception):
    """Looks at every frame there ever was."""

    def see(self, tokens: Tokens) -> Rows | None:
        kept: list[Tensor] = self.__dict__.setdefault("kept", [])
        kept.append(tokens.embeds)
        torch.stack(kept).mean()
        return super().see(tokens)


def tiny(kind: type[Perception] = Perception) -> Memory:
    """A memory of random weights with the real perception."""
    made = memory(budget="1536KiB", hot_blocks=4, warm_fraction=0.05, cold_fraction=0.02, max_forks=3, fused_tokens=6)
    settings = made.config.perception()
    dynamics = tiny_checkpoint().cross_dynamics
    return Memory(tiny_backbone(), dynamics, lambda: kind(settings, 32, GRID), made.config, MediaEpoch(NOON))


def shown(kind: str, index: int) -> Tokens:
    """Ever-new random tokens, or the yard over and over at ever new times."""
    return frame(index) if kind == "tiny" else later(seen(60)[index % 60], index / FPS)


def costs(mem: Memory, kind: str, frames: int, parts: int) -> list[tuple[float, float, int]]:
    """Per part: calls and numbers per frame, and the bytes of the state."""
    found, each = [], frames // parts
    for part in range(parts):
        with Work() as work:
            for index in range(part * each, (part + 1) * each):
                mem.append(shown(kind, index))
        size = sum(t.nbytes for t in mem.perception.state_dict().values()) + sum(mem.bytes_by_part().values())
        found.append((work.calls / each, work.numbers / each, size))
    return found


def flat(parts: list[tuple[float, float, int]]) -> bool:
    """Is the last part as dear and as large as the one in the middle, within 3 %?"""
    return all(late <= middle * 1.03 for middle, late in zip(parts[len(parts) // 2 - 1], parts[-1], strict=True))


@pytest.mark.parametrize(("kind", "frames"), [("tiny", 320), ("bundled", 480)])
def test_10_a_frame_costs_the_same_and_the_state_is_the_same_size_for_ever(kind: str, frames: int) -> None:
    small: dict[str, Any] = {"budget": "32MiB", "hot_blocks": 4, "max_forks": 2, "base_codes": 16}
    mem = tiny() if kind == "tiny" else camera(warm_fraction=0.012, cold_fraction=0.004, **small)
    assert flat(costs(mem, kind, frames, 4))
    states = mem.ledger.tokens_by_state()
    assert states["warm"] and states["cold"] and states["merged"], "it was never full: a run that shows nothing"


def test_10_work_and_state_that_grow_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not flat(costs(tiny(Hoarding), "tiny", 140, 4))
    monkeypatch.setattr(Tiers, "fit", lambda *_: None)
    assert not flat(costs(tiny(), "tiny", 140, 4))


async def _meanwhile(mem: Memory, kind: str, stepwise: bool) -> tuple[int, int, int]:
    """Frames seen and blocks committed while an answer was being said, and the most turns that waited at once."""
    device, index, before = Device(), 60, mem._progress.next_id
    words, deepest, pieces = TextAnswerer(mem.backbone), 0, 0

    async def say() -> None:
        nonlocal pieces
        view = await device.run(lambda: mem.fork(ask(max_tokens=40)))
        if stepwise:
            async for _ in device.iterate(lambda: words.answer(view)):
                pieces += 1
        else:  # the control: the whole answer in one turn
            await device.run(lambda: list(words.answer(view)))

    saying = asyncio.ensure_future(say())
    while not saying.done():
        await device.run(mem.append, shown(kind, index))
        index, deepest = index + 1, max(deepest, device.depth)
        await asyncio.sleep(0.004)
    await saying
    await device.close()
    return index - 60, mem._progress.next_id - before, deepest


@pytest.mark.parametrize("kind", ["tiny", "bundled"])
def test_16_frames_are_committed_while_a_slow_answer_is_said(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slowly = View.say

    def say(self: View, token: int) -> Tensor:
        time.sleep(0.03)
        return slowly(self, token)

    monkeypatch.setattr(View, "say", say)

    def lived() -> Memory:
        mem = tiny() if kind == "tiny" else camera(segment_s=1.0)
        for index in range(60):
            mem.append(shown(kind, index))
        letter = mem.backbone.tokenizer("a", add_special_tokens=False)["input_ids"][0]
        monkeypatch.setattr("models.answerer.choose", lambda *_: letter)  # an answer of forty letters
        return mem

    frames, blocks, deepest = asyncio.run(_meanwhile(lived(), kind, stepwise=True))
    assert frames >= 12 and blocks >= 2 and deepest <= 2
    blind, _, _ = asyncio.run(_meanwhile(lived(), kind, stepwise=False))
    assert blind <= 4, "nothing was seen while the answer was one turn"


def test_14_the_map_names_living_codes_and_centroids_are_means_on_real_pictures() -> None:
    perception = camera(base_codes=6).perception
    base = perception.base
    units: list[Tensor] = []
    names: list[Tensor] = []  # of every token that was ever seen, kept up to date as codes merge
    weights: list[Tensor] = []
    for tokens in seen(40):
        inner = base.assign

        def noted(embeds: Tensor, mass: Tensor, inner: Any = inner) -> Any:
            done = inner(embeds, mass)
            for gone, kept in done.merged:
                for name in names:
                    name[name == gone] = kept
            hit = torch.zeros(6, dtype=torch.bool)
            hit[done.slots] = True
            for name, weight in zip(names, weights, strict=True):
                weight[hit[name]] *= 1 - base.forgetting
            units.append(torch.nn.functional.normalize(embeds, dim=1))
            names.append(done.slots.clone())
            weights.append(mass.clone())
            return done

        base.assign = noted  # type: ignore[method-assign]
        perception.see(tokens)
        base.assign = inner  # type: ignore[method-assign]
        named = perception.map.slots[perception.map.slots >= 0].unique().long()
        assert bool(base.alive[named].all())
    assert base.merges > 0
    member, weight, name = torch.cat(units), torch.cat(weights), torch.cat(names)
    found = torch.zeros(6, member.shape[1]).index_add_(0, name, member * weight[:, None])
    torch.testing.assert_close(base.sums, found, rtol=1e-3, atol=1e-3)
    astray = torch.zeros(6, member.shape[1]).index_add_(0, name.roll(1), member * weight[:, None])
    assert float((base.sums - astray).abs().max()) > 1e-1  # the control: members of other codes
    renamed = torch.randperm(6, generator=torch.Generator().manual_seed(3))
    rows, turned = (_rows(perception, rename) for rename in (torch.arange(6), renamed))
    assert torch.equal(turned.motion, rows.motion) and torch.equal(turned.embeds, rows.embeds)
    assert not torch.equal(_rows(perception, renamed // 2).motion, rows.motion)  # two codes of one name are not nothing


def _rows(perception: Perception, rename: Tensor) -> Rows:
    """The open segment, its codes named otherwise."""
    kept = perception.map.slots.clone()
    perception.map.slots = torch.where(kept >= 0, rename[kept.long().clamp_min(0)], -1).to(kept.dtype)
    rows = perception.open_segment()
    perception.map.slots = kept
    assert rows is not None
    return rows


def test_17_sinks_and_window_are_streaming_llm_in_logits() -> None:
    """Of one layer, whose keys do not depend on what was read before: then a plain pass in rank order is the truth."""
    mem = memory(layers=1, hot_blocks=4, policy="window", positions="contiguous", recall=False)
    log = watched(mem)
    for index in range(41):
        mem.append(frame(index))
    view = mem.fork(ask())

    def truth(kept: list[int], gap: int = 0) -> Tensor:
        pieces = [embed(mem._reader.layout.prefix(), mem.backbone.embedding)[0]]
        pieces += [rows for block_id, _, rows in log if block_id in kept]
        pieces.append(embed(view._parts, mem.backbone.embedding)[0])
        embeds = torch.cat(pieces)[None]
        at = torch.arange(embeds.shape[1])
        at[len(pieces[0]) :] += gap
        with torch.no_grad():
            out = mem.backbone.language_model(inputs_embeds=embeds, position_ids=at[None])
            return mem.backbone.logits(out.last_hidden_state[0, -1:])[0]

    window = list(mem._hot.blocks)
    newest = mem._progress.next_id
    assert window == list(range(newest - len(window), newest)) and newest > 15
    found = read(mem)
    torch.testing.assert_close(found, truth(window), **NEAR)
    for other in (truth(window[1:]), truth([window[0] - 1, *window]), truth(window, gap=300)):
        assert float((found - other).abs().max()) > 1e-3  # a block less, a block more, positions as they were


def _fed(frames: range, **settings: Any) -> Memory:
    mem = memory(**({"hot_blocks": 4} | settings))
    for index in frames:
        mem.append(frame(index))
    return mem


def _far(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max()) > 1e-3


def test_1_and_2_a_block_left_out_or_a_mask_that_hides_nothing_is_seen() -> None:
    mem = memory(hot_blocks=16)
    log = watched(mem)
    for index in range(13):
        mem.append(frame(index))
    view = mem.fork(ask())
    assert _far(read(mem), plain(mem, view, [*log[:2], *log[3:]]))
    late = _fed(range(0))
    log = watched(late)
    for index in range(31):
        late.append(frame(index))
    assert _far(read(late), plain(late, late.fork(ask()), forgetful(log)))


def test_5_a_fork_that_writes_is_seen() -> None:
    mem = _fed(range(31))
    before = [tensor.clone() for tensor in parent_state(mem)]
    view = mem.fork(ask())
    assert view._reach is not None
    view._reach.rendered.values[0, 0, -1] += 1e-3
    assert not all(torch.equal(a, b) for a, b in zip(parent_state(mem), before, strict=True))


def test_6_another_question_or_a_later_one_is_another_answer() -> None:
    mem = _fed(range(17))
    first = read(mem, "how many bikes at 1?")
    assert _far(first, read(mem, "how many bikes at 2?"))
    mem.append(frame(17))
    assert _far(first, read(mem, "how many bikes at 1?"))


def test_11_what_was_asked_later_saw_what_came_later() -> None:
    mem = _fed(range(12))
    kept = mem.fork(ask())
    for index in range(12, 30):
        mem.append(frame(index))
    assert _far(read(mem), mem.backbone.logits(kept.read()[None])[0])


def test_13_an_empty_memory_answers_otherwise_than_a_restored_one(tmp_path: Path) -> None:
    mem, other = _fed(range(60)), _fed(range(0))
    mem.snapshot(tmp_path / "yard.memory")
    blank = read(other)
    other.restore(tmp_path / "yard.memory")
    assert torch.equal(read(other), read(mem)) and _far(blank, read(other))


def test_15_reading_row_by_row_is_reading_at_once_and_order_counts() -> None:
    backbone, rows = tiny_backbone(), torch.randn(40, 32, generator=torch.Generator().manual_seed(0))

    def hidden(chunks: list[int], given: Tensor = rows) -> Tensor:
        tail, found, at = backbone.tail(40), [], 0
        for size in chunks:
            found.append(backbone.read(given[at : at + size], tail, range(at, at + size))[0])
            at += size
        return torch.cat(found)

    whole = hidden([40])
    for chunks in ([1] * 40, [7, 20, 1, 12]):
        torch.testing.assert_close(hidden(chunks), whole, rtol=0.0, atol=1e-4)
    assert _far(hidden([40], rows.flip(0))[-1], whole[-1])
