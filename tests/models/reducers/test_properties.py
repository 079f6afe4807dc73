"""What every reducer promises, whatever the clip: hypothesis looks for one that breaks it."""

from __future__ import annotations

import gc
import pickle
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.reducers.clip import DROPPED, Clip, Reduced, Reducer
from models.reducers.dycoke import Plan, Thinning
from models.reducers.pooling import RunningMean
from models.reducers.registry import REDUCERS
from models.reducers.tempme import ClipTree
from tests.models.reducers.clips import GRIDS, ODD, WIDTH, camera, clips, odd, with_embeds

# What becomes of the tokens. `selects`: each row is one token as it was, the others are gone. `medoids`: each row is
# one token as it was, and stands for others: all are in a row. `merges`: all are in a row, which is made of them.
# `both`: some are merged and others dropped.
KINDS: dict[str, Literal["selects", "medoids", "merges", "both"]] = {
    "token_dynamics": "merges",
    "temporal_mean": "merges",
    "causal_mean": "merges",
    "region_attention": "merges",
    "uniform": "selects",
    "random": "selects",
    "tome": "merges",
    "tempme": "merges",
    "dycoke": "selects",
    "mustdrop": "both",
    "prumerge": "merges",
    "scissor": "merges",
    "b_vllm": "merges",
    "centerclip": "medoids",
    "vqtoken": "merges",
    "holitom": "both",
}
# Which tokens share a row is a matter of place alone: the floors, and the kinds of pooling.
BY_PLACE = {"temporal_mean", "causal_mean", "region_attention", "uniform", "random"}
FRAMES_OF_A_LIFE, SEGMENT = 100_000, 64
# Of Python's memory blocks; one left behind with every segment would be twice as many after the first quarter.
NOISE = FRAMES_OF_A_LIFE // SEGMENT * 3 // 8
a_clip, a_budget = clips(), st.integers(1, 300)
every = pytest.mark.parametrize("name", REDUCERS)
usual = settings(max_examples=25, derandomize=True, deadline=None, database=None)
few = settings(usual, max_examples=10)


def reduce(name: str, clip: Clip, rows: int) -> Reduced:
    return REDUCERS[name]().reduce(clip, rows)


def same(a: Reduced, b: Reduced) -> bool:
    return torch.equal(a.embeds, b.embeds) and torch.equal(a.owners, b.owners) and torch.equal(a.sources, b.sources)


def check(found: Reduced, clip: Clip, rows: int) -> None:
    """All that the socket says of its rows."""
    tokens, count = len(clip.flat), len(found.embeds)
    assert 1 <= count <= min(rows, tokens)
    assert found.embeds.shape == (count, WIDTH) and found.embeds.dtype == torch.float32
    assert bool(found.embeds.isfinite().all()), "a row is not finite"
    assert found.owners.shape == (tokens,) and found.owners.dtype == torch.int64
    assert found.sources.shape == (count,) and found.sources.dtype == torch.int64
    assert bool((found.sources[1:] > found.sources[:-1]).all()), "rows are not by the place they keep, or share one"
    assert int(found.sources[0]) >= 0 and int(found.sources[-1]) < tokens
    assert int(found.owners.min()) >= DROPPED and int(found.owners.max()) < count
    assert torch.equal(found.owners[found.sources], torch.arange(count)), "a row does not own the place it keeps"
    assert float(found.mass.min()) >= 1 and float(found.mass.sum()) <= tokens


def test_every_name_says_what_becomes_of_tokens() -> None:
    assert set(REDUCERS) <= set(KINDS)


@every
@usual
@given(clip=a_clip, rows=a_budget)
def test_rows_are_as_the_socket_says(name: str, clip: Clip, rows: int) -> None:
    before = clip.embeds.clone()
    found = reduce(name, clip, rows)
    check(found, clip, rows)
    assert torch.equal(clip.embeds, before), "the clip was written to"
    if KINDS[name] in {"merges", "medoids"}:
        assert float(found.mass.sum()) == len(clip.flat), "mass was lost"
    if KINDS[name] in {"selects", "medoids"}:
        assert torch.equal(found.embeds, clip.flat[found.sources]), "a kept token was changed"
    if KINDS[name] == "selects":
        assert float(found.mass.sum()) == len(found.embeds)


@every
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 9, 16])
@pytest.mark.parametrize("grid", GRIDS)
def test_short_and_odd_clips_down_to_one_row(name: str, frames: int, grid: tuple[int, int]) -> None:
    clip = camera(frames, grid, seed=frames)
    for rows in (1, 2, len(clip.flat) // 2 or 1, len(clip.flat) + 1):
        check(reduce(name, clip, rows), clip, rows)


@every
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(("frames", "grid"), [(1, (1, 1)), (3, (2, 3)), (9, (4, 4))])
def test_degenerate_tokens_give_finite_rows(name: str, kind: str, frames: int, grid: tuple[int, int]) -> None:
    clip = odd(kind, frames, grid)
    for rows in (1, 3, len(clip.flat)):
        found = reduce(name, clip, rows)
        check(found, clip, rows)
        assert same(found, reduce(name, clip, rows))
        if KINDS[name] in {"merges", "medoids"}:
            assert float(found.mass.sum()) == len(clip.flat)


@every
@few
@given(clip=a_clip, rows=a_budget, other=a_clip)
def test_the_same_clip_gives_the_same_rows(name: str, clip: Clip, rows: int, other: Clip) -> None:
    used = REDUCERS[name]()
    torch.manual_seed(1)
    lot = torch.get_rng_state()
    first = used.reduce(clip, rows)
    assert torch.equal(torch.get_rng_state(), lot), "it drew from the lot of all"
    used.reduce(other, rows)
    torch.manual_seed(2)
    assert same(used.reduce(clip, rows), first), "something was carried over from another clip"
    assert same(reduce(name, clip, rows), first)
    apart = torch.empty(clip.embeds.shape[2], *clip.embeds.shape[:2]).permute(1, 2, 0).copy_(clip.embeds)
    strided = reduce(name, with_embeds(clip, apart), rows)  # sums in another order, to the last digit
    assert torch.equal(strided.owners, first.owners) and torch.equal(strided.sources, first.sources)
    assert torch.allclose(strided.embeds, first.embeds, atol=1e-5), "it depends on how tokens lie in memory"


@every
@few
@given(clip=a_clip, rows=a_budget, seed=st.integers(0, 99))
def test_mirrored_channels_mirror_the_rows_and_nothing_else(name: str, clip: Clip, rows: int, seed: int) -> None:
    signs = torch.randint(0, 2, (WIDTH,), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
    plain, mirrored = reduce(name, clip, rows), reduce(name, with_embeds(clip, clip.embeds * signs), rows)
    assert torch.equal(mirrored.owners, plain.owners) and torch.equal(mirrored.sources, plain.sources)
    assert torch.allclose(mirrored.embeds, plain.embeds * signs, atol=1e-5)


@every
@pytest.mark.parametrize("seed", range(3))
def test_a_turned_feature_space_turns_the_rows_and_nothing_else(name: str, seed: int) -> None:
    clip = camera(9, (3, 5), seed)
    turn = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(seed)))[0]
    for rows in (6, 40):
        plain, turned = reduce(name, clip, rows), reduce(name, with_embeds(clip, clip.embeds @ turn), rows)
        assert torch.equal(turned.owners, plain.owners) and torch.equal(turned.sources, plain.sources)
        assert torch.allclose(turned.embeds, plain.embeds @ turn, atol=1e-4)


@every
@few
@given(clip=a_clip, rows=a_budget, seed=st.integers(0, 99))
def test_renamed_codes_change_nothing(name: str, clip: Clip, rows: int, seed: int) -> None:
    if clip.slots is None:
        clip = camera(len(clip.embeds), clip.grid, seed)
    assert clip.slots is not None
    names = torch.randperm(50, generator=torch.Generator().manual_seed(seed))
    renamed = Clip(clip.embeds, clip.grid, clip.times_s, names[clip.slots], clip.errors, clip.saliency)
    assert same(reduce(name, renamed, rows), reduce(name, clip, rows))


# The gate of divergence: methods ported by others were found to change nothing, silently.


@pytest.mark.parametrize("name", sorted(set(REDUCERS) - {"uniform"}))
@pytest.mark.parametrize("rows", [8, 60])
def test_it_does_something_and_something_of_its_own(name: str, rows: int) -> None:
    clip = camera(16, (4, 4), seed=4)
    found, every_so_many = reduce(name, clip, rows), reduce("uniform", clip, rows)
    assert len(found.embeds) < len(clip.flat), "nothing was reduced"
    assert not same(found, every_so_many), "it is `uniform` by another name"
    if name not in BY_PLACE:
        other = reduce(name, camera(16, (4, 4), seed=5), rows)
        assert not torch.equal(found.owners, other.owners), "it does not look at the tokens"


@pytest.mark.parametrize("name", BY_PLACE)
def test_what_goes_by_place_looks_at_no_token_for_it(name: str) -> None:
    found, other = (reduce(name, camera(16, (4, 4), seed), 20) for seed in (4, 5))
    assert torch.equal(found.owners, other.owners)


def test_no_two_names_are_one_method() -> None:
    clip = camera(16, (4, 4), seed=4)
    found = {name: reduce(name, clip, 40) for name in REDUCERS}
    twins = [(a, b) for a in found for b in found if a < b and same(found[a], found[b])]
    assert not twins


# A life without end.


@dataclass(frozen=True)
class Growth:
    """What there is more of after a life than after its first quarter."""

    tensors: int
    blocks: int  # of Python's memory
    traced: int  # bytes, of the last eighth of the life
    state: bool  # the reducer is another


def life(reducer: Reducer, frames: int) -> Growth:
    """Frames of one cell, in segments as long as memory makes them."""
    lives = [camera(SEGMENT, (1, 1), seed) for seed in range(7)]
    held, segments = repr(reducer), -(-frames // SEGMENT)
    tensors, blocks, traced = 0, 0, 0
    for number in range(segments):
        if number == segments // 4:
            gc.collect()
            tensors, blocks = _tensors(), sys.getallocatedblocks()
        if number == segments * 7 // 8:
            tracemalloc.start()
            traced = tracemalloc.get_traced_memory()[0]
        reducer.reduce(lives[number % 7], 4)
    gc.collect()
    traced = tracemalloc.get_traced_memory()[0] - traced
    tracemalloc.stop()
    return Growth(_tensors() - tensors, sys.getallocatedblocks() - blocks, traced, state=repr(reducer) != held)


@every
def test_nothing_grows_in_a_long_life(name: str) -> None:
    grown = life(REDUCERS[name](), FRAMES_OF_A_LIFE)
    assert not grown.state, "the reducer remembers"
    assert grown.tensors <= 0, "tensors were left behind"
    assert grown.blocks < NOISE and grown.traced < 32 << 10


@pytest.mark.parametrize("one", [Thinning(Plan(8, 2, 1.5, 0.5)), RunningMean(0.1)], ids=lambda one: type(one).__name__)
@torch.inference_mode()
def test_what_goes_on_for_ever_holds_no_more_than_at_first(one: Thinning | RunningMean) -> None:
    frames, held = camera(64, (1, 3), 1).embeds, 0
    for number in range(FRAMES_OF_A_LIFE):
        if number == 100:
            held = len(pickle.dumps(one))
        one.see(frames[number % 64])
    assert len(pickle.dumps(one)) <= held + 32  # counters have more digits


def test_a_tree_of_clips_grows_with_the_logarithm_of_time() -> None:
    tree, frames = ClipTree(), camera(64, (1, 3), 1).embeds
    for number in range(4000):
        tree.push(frames[number % 64])
    assert len(tree.levels) == 12
    assert all(len(clip.embeds) <= 4 * 3 for clip in tree.levels if clip is not None)
    assert len(pickle.dumps(tree)) < 64 << 10


def test_a_leak_is_noticed() -> None:
    hoard = list[torch.Tensor]()
    grown = life(Hoarder(hoard.append), 6400)
    assert grown.tensors == 75 == len(hoard) * 3 // 4
    assert grown.blocks >= 75 and grown.traced > 0


class Hoarder:
    """Lets go of no row that it ever made."""

    def __init__(self, keep: Callable[[torch.Tensor], None]) -> None:
        self._keep = keep

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        found = reduce("uniform", clip, rows)
        self._keep(found.embeds)
        return found


def _tensors() -> int:
    gc.collect()
    return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())
