"""Pooling over time and place: the running mean is causal and online, attention stays in its region."""

from __future__ import annotations

import pytest
import torch

from models.reducers.clip import Clip
from models.reducers.pooling import CausalMean, RegionAttention, RunningMean
from models.reducers.simple import TemporalMean

GRID = (2, 3)


def clip(frames: int) -> Clip:
    torch.manual_seed(frames)
    return Clip(torch.randn(frames, 6, 8), GRID, torch.arange(float(frames)))


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 64])
@pytest.mark.parametrize("rows", [1, 4, 6, 13, 1000])
@pytest.mark.parametrize("method", [CausalMean(), RegionAttention()])
def test_never_more_rows_each_at_a_place_of_its_own(
    method: CausalMean | RegionAttention, frames: int, rows: int
) -> None:
    given = clip(frames)
    found = method.reduce(given, rows)
    assert 1 <= len(found.embeds) <= min(rows, 6 * frames)
    assert float(found.mass.sum()) == 6 * frames
    assert bool((found.sources.diff() > 0).all())
    assert bool((found.owners[found.sources] == torch.arange(len(found.sources))).all())
    again = method.reduce(given, rows)
    assert torch.equal(found.embeds, again.embeds)
    if rows >= 6 * frames:
        assert torch.allclose(found.embeds, given.flat, atol=1e-6)


def test_a_row_of_the_running_mean_knows_nothing_later() -> None:
    given = clip(12)
    changed = Clip(given.embeds.clone(), GRID, given.times_s)
    changed.embeds[6:] += 5.0
    before, after = CausalMean().reduce(given, 24), CausalMean().reduce(changed, 24)
    assert torch.equal(before.embeds[:12], after.embeds[:12])
    assert not torch.allclose(before.embeds[12:], after.embeds[12:])


def test_the_running_mean_frame_by_frame_is_that_of_the_segment() -> None:
    given, running = clip(12), RunningMean(1 / 3)
    seen = [running.see(frame) for frame in given.embeds]
    found = CausalMean().reduce(given, 24)  # four stretches of three frames
    assert torch.equal(found.embeds, torch.cat([seen[2], seen[5], seen[8], seen[11]]))
    assert torch.allclose(seen[2], given.embeds[:3].mean(0), atol=1e-6), "the first stretch is a plain mean"
    assert torch.allclose(seen[3], seen[2] + (given.embeds[3] - seen[2]) / 3)
    assert found.sources.tolist() == [t * 6 + n for t in (2, 5, 8, 11) for n in range(6)]


def test_what_was_before_a_stretch_is_in_its_row() -> None:
    given = clip(12)
    plain, causal = TemporalMean().reduce(given, 24), CausalMean().reduce(given, 24)
    assert torch.equal(plain.owners, causal.owners)
    assert torch.allclose(plain.embeds[:6], causal.embeds[:6], atol=1e-6)
    assert not torch.allclose(plain.embeds[6:], causal.embeds[6:], atol=0.1)


def test_region_attention_is_what_its_formula_says() -> None:
    given = clip(4)
    found = RegionAttention(sharpness=3.0).reduce(given, 4)
    for row in range(4):
        its = given.flat[found.owners == row]
        query = torch.nn.functional.normalize(its.mean(0), dim=0)
        weight = (torch.nn.functional.normalize(its, dim=1) @ query * 3.0).softmax(0)
        assert torch.allclose(found.embeds[row], weight @ its, atol=1e-5)


def test_region_attention_leaves_other_regions_alone_and_flat_is_the_mean() -> None:
    given = clip(6)
    changed = Clip(given.embeds.clone(), GRID, given.times_s)
    changed.embeds[0, 0] += 9.0
    before, after = RegionAttention().reduce(given, 12), RegionAttention().reduce(changed, 12)
    assert torch.equal(before.embeds[1:], after.embeds[1:]) and not torch.allclose(before.embeds[0], after.embeds[0])
    plain = TemporalMean().reduce(given, 12)
    assert torch.allclose(RegionAttention(sharpness=0.0).reduce(given, 12).embeds, plain.embeds, atol=1e-6)
    assert torch.equal(before.sources, plain.sources)
    assert not torch.allclose(before.embeds, plain.embeds, atol=1e-2)
