"""Stretches that save the most: beside all there are, frame after frame beside all at once, and a flat state."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.reducers.segmentation import Segmenter, Stretch, best_stretches, likeness, stretches
from tests.models.reducers.clips import camera, odd

usual = settings(max_examples=60, derandomize=True, deadline=None, database=None)


def told(found: list[Stretch]) -> list[tuple[int, int, list[bool]]]:
    return [(one.first, one.last, one.static.tolist()) for one in found]


def calm(frames: int, cells: int, seed: int, share: float) -> Tensor:
    """(T - 1, N) bool: a share of cells alike from frame to frame, by lot."""
    return torch.rand(frames - 1, cells, generator=torch.Generator().manual_seed(seed)) < share


@st.composite
def stills(draw: st.DrawFn, most: int) -> Tensor:
    frames, cells = draw(st.integers(1, most)), draw(st.integers(1, 7))
    made = calm(frames, cells, draw(st.integers(0, 9999)), draw(st.sampled_from([0.1, 0.5, 0.8, 0.95])))
    if frames > 2 and draw(st.booleans()):
        made[draw(st.integers(0, frames - 2))] = False  # a cut
    return made


def compositions(frames: int, longest: int) -> Iterator[list[int]]:
    """Every way to cut so many frames into stretches, by their lengths."""
    if frames == 0:
        yield []
    for first in range(1, min(frames, longest) + 1):
        for rest in compositions(frames - first, longest):
            yield [first, *rest]


def saved(still: Tensor, lengths: list[int]) -> int:
    total, first = 0, 0
    for length in lengths:
        if length > 1:
            total += (length - 1) * int(still[first : first + length - 1].all(0).sum())
        first += length
    return total


def check(found: list[Stretch], still: Tensor, longest: int) -> None:
    """They follow each other from the first frame to the last, and say truly what is static."""
    assert [one.first for one in found] == [0, *(one.last + 1 for one in found[:-1])]
    assert found[-1].last == len(still)
    for one in found:
        inside = still[one.first : one.last]
        assert one.frames == one.last - one.first + 1 <= longest
        assert torch.equal(one.static, inside.all(0) if len(inside) else torch.zeros(still.shape[1], dtype=torch.bool))


@usual
@given(stills(8), st.integers(1, 9))
def test_no_other_stretches_save_more(still: Tensor, longest: int) -> None:
    found = best_stretches(still, longest)
    check(found, still, longest)
    every = {tuple(each): saved(still, each) for each in compositions(len(still) + 1, longest)}
    assert sum(one.saved for one in found) == max(every.values()) == every[tuple(one.frames for one in found)]


@usual
@given(stills(40), st.sampled_from([1, 2, 3, 7, 1024]))
def test_frame_after_frame_is_all_at_once(still: Tensor, longest: int) -> None:
    assert told(stretches(still, len(still) + 1, longest)) == told(best_stretches(still, longest))


@usual
@given(stills(60), st.integers(1, 12))
def test_a_short_lag_gives_the_same_unless_it_was_forced(still: Tensor, lag: int) -> None:
    segmenter = Segmenter(lag)
    found = [one for row in [torch.zeros_like(still[0:1].any(0)), *still] for one in segmenter.push(row)]
    assert segmenter.open <= lag
    found += segmenter.close()
    check(found, still, lag)
    best = best_stretches(still, lag)
    assert sum(one.saved for one in found) <= sum(one.saved for one in best)
    if not segmenter.forced:
        assert told(found) == told(best)


def test_what_was_put_out_early_was_forced_in_some_and_free_in_others() -> None:
    """Else the test above would compare one kind only."""
    kinds = set()
    for seed in range(20):
        segmenter = Segmenter(5)
        early = [one for row in calm(40, 4, seed, 0.9 if seed % 2 else 0.05) for one in segmenter.push(row)]
        assert early
        kinds.add(segmenter.forced > 0)
    assert kinds == {True, False}


def test_a_single_frame_wins_over_a_stretch_that_saves_as_much_then_the_shorter() -> None:
    two, one, four = ([True] * count + [False] * (4 - count) for count in (2, 1, 4))
    assert [(each.first, each.last) for each in best_stretches(torch.tensor([two, one]))] == [(0, 1), (2, 2)]
    assert [(each.first, each.last) for each in best_stretches(torch.tensor([two, four]))] == [(0, 0), (1, 2)]
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    assert [one.frames for one in best_stretches(nothing)] == [1, 1, 1, 1]


def test_a_cut_settles_what_came_before_at_once() -> None:
    segmenter = Segmenter(64)
    calm_row, cut = torch.ones(5, dtype=torch.bool), torch.zeros(5, dtype=torch.bool)
    for _ in range(20):
        assert segmenter.push(calm_row) == []
    (before,) = segmenter.push(cut)
    assert (before.first, before.last, before.saved) == (0, 19, 95) and segmenter.open == 1


def test_the_number_of_frames_goes_on_after_closing() -> None:
    segmenter = Segmenter(8)
    rows = calm(7, 3, seed=1, share=0.9)
    one = [each for row in rows for each in segmenter.push(row)] + segmenter.close()
    two = [each for row in rows for each in segmenter.push(row)] + segmenter.close()
    assert [(each.first + 6, each.last + 6) for each in one] == [(each.first, each.last) for each in two]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.97, 1.0])
def test_the_state_stays_flat(share: float) -> None:
    segmenter, frames, lag = Segmenter(6), 0, 6
    for row in calm(1000, 4, seed=2, share=share):
        frames += sum(one.frames for one in segmenter.push(row))
        assert segmenter.open <= lag
        held = (segmenter._runs, segmenter._best, segmenter._back)
        assert all(len(each) <= lag + 1 for each in held)
        assert max(segmenter._best) <= lag * 4 and int(segmenter._runs[-1].max()) <= lag
    assert frames == 999 - segmenter.open


def test_a_lag_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="lag and a longest stretch of 1 or more, not 0"):
        Segmenter(0)


def test_likeness_is_the_cosine_with_the_next_frame() -> None:
    embeds = camera(5, (2, 3), seed=1).embeds
    wanted = torch.nn.functional.cosine_similarity(embeds[1:], embeds[:-1], dim=2)
    assert torch.allclose(likeness(embeds), wanted, atol=1e-6)
    blank = likeness(odd("one zero frame", 5, (2, 3)).embeds)
    assert [bool((row == 0).all()) for row in blank] == [False, True, True, False]  # like nothing
    assert likeness(embeds[:1]).shape == (0, 6)
