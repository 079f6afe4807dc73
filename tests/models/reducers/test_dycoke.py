"""DyCoke drops what is as it was, frame by frame, and loses no frame over it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from models.reducers.clip import Clip
from models.reducers.dycoke import DyCoke, Plan, Thinning

GRID = (4, 5)
CELLS = 20


def video(frames: int, cut: int | None = None, moving: int = 3) -> Clip:
    """Still tokens, `moving` of them other ones in each frame; from frame `cut` on another scene."""
    torch.manual_seed(7)
    scenes = torch.randn(2, CELLS, 16) + torch.tensor([2.0, -2.0])[:, None, None]
    embeds = torch.stack([scenes[0 if cut is None or t < cut else 1] for t in range(frames)])
    embeds = embeds + 0.01 * torch.randn(frames, CELLS, 16)
    embeds[:, :moving] += torch.randn(frames, moving, 16)
    return Clip(embeds, GRID, torch.arange(float(frames)))


def per_frame(sources: Tensor, frames: int) -> list[int]:
    return torch.bincount(sources // CELLS, minlength=frames).tolist()


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 7, 12])
def test_every_frame_counts(frames: int) -> None:
    found = DyCoke().reduce(video(frames), frames * CELLS // 2)
    sources = found.sources.tolist()
    assert sources == sorted(sources) and len(sources) <= frames * CELLS // 2
    assert torch.equal(found.embeds, video(frames).flat[found.sources])
    assert len(sources) == frames * CELLS // 2, "there was room for more"
    if frames > 1:
        assert per_frame(found.sources, frames)[-1] > 0


def test_four_frames_or_fewer_and_the_odd_one_are_a_matter_of_the_published_code_only() -> None:
    for frames in (1, 2, 3, 4):
        with pytest.raises(ValueError, match="more than four frames"):
            DyCoke(as_published=True).reduce(video(frames), 1000)
    published = DyCoke(as_published=True).reduce(video(9), 1000).sources
    assert per_frame(published, 9) == [20, 6, 6, 6, 20, 6, 6, 6, 0]
    assert published.tolist() != published.sort().values.tolist(), "the order is that of similarity"
    ours = DyCoke().reduce(video(9), 3 * 20 + 6 * 6).sources
    assert per_frame(ours, 9) == [20, 6, 6, 6, 20, 6, 6, 6, 20]
    assert per_frame(DyCoke(as_published=True).reduce(video(8), 1000).sources, 8)[6] == 20
    assert per_frame(DyCoke().reduce(video(8), 2 * 20 + 6 * 6).sources, 8)[6] == 6
    with pytest.raises(ValueError, match="cannot say 9 frames of 20 tokens in 39 rows"):
        DyCoke(as_published=True).reduce(video(9), 39)


def test_what_moves_is_kept_and_what_is_still_is_not() -> None:
    clip = video(8)
    found = DyCoke(ratio=0.9).reduce(clip, 2 * CELLS + 6 * 3)
    thinned = found.sources[(found.sources // CELLS) % 4 > 0]
    assert sorted((thinned % CELLS).tolist()) == sorted([0, 1, 2] * 6)
    assert len(found.embeds) < len(clip.flat)


def turned(degrees: float) -> Tensor:
    return torch.tensor([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])


def test_slow_drift_adds_up_against_the_last_kept_token() -> None:
    flicker = [0, 15, 0, 15]  # more than the drift from frame to frame, but it comes back
    drift = [0, 10, 20, 30]
    frames = torch.stack([torch.stack([turned(flicker[t]), turned(drift[t])]) for t in range(4)])
    before = cosine_similarity(frames[:-1], frames[1:], dim=2)
    assert bool((before[:, 0] < before[:, 1]).all()), "against the frame before, the drift would never be kept"
    thinning = Thinning(Plan(4, 2, 1.0, -2.0))
    assert [thinning.see(frame).tolist() for frame in frames] == [[0, 1], [0], [1], [1]]


def by_definition(clip: Clip, plan: Plan) -> list[int]:
    """Written once more, with a dictionary of what was last kept; windows without cuts."""
    last: dict[int, Tensor] = {}
    kept, thinned = [], 0
    for t, frame in enumerate(clip.embeds):
        if t % plan.window == 0:
            last = dict(enumerate(frame))
            kept += [t * CELLS + cell for cell in range(CELLS)]
            continue
        thinned += 1
        count = math.floor(thinned * plan.others + 1e-6) - math.floor((thinned - 1) * plan.others + 1e-6)
        alike = {cell: float(cosine_similarity(last[cell], frame[cell], dim=0)) for cell in range(CELLS)}
        for cell in sorted(sorted(alike, key=alike.__getitem__)[:count]):
            last[cell] = frame[cell]
            kept.append(t * CELLS + cell)
    return kept


@pytest.mark.parametrize("rows", [70, 111, 180])
def test_frame_by_frame_is_the_batch_form_and_the_definition(rows: int) -> None:
    clip = video(11, moving=9)
    plan = DyCoke().plan(clip.embeds, rows)
    thinning = Thinning(plan)
    online = [t * CELLS + int(cell) for t, frame in enumerate(clip.embeds) for cell in thinning.see(frame)]
    assert online == DyCoke().reduce(clip, rows).sources.tolist() == by_definition(clip, plan)


def test_a_scene_cut_makes_an_anchor() -> None:
    clip = video(8, cut=6)
    assert per_frame(DyCoke().reduce(clip, 3 * 20 + 5 * 8).sources, 8) == [20, 8, 8, 8, 20, 8, 20, 8]
    still = DyCoke(cut_below=-1).reduce(clip, 2 * 20 + 6 * 8).sources
    assert per_frame(still, 8) == [20, 8, 8, 8, 20, 8, 8, 8]


def test_fractions_of_a_token_are_not_lost() -> None:
    assert per_frame(DyCoke().reduce(video(8), 2 * 20 + 39).sources, 8) == [20, 6, 7, 6, 20, 7, 6, 7]


def test_below_the_floor_windows_grow_and_then_anchors_shrink() -> None:
    clip = video(64)
    assert DyCoke().plan(clip.embeds, 16 * 20 + 48 * 6).window == 4, "47.5 %, as published"
    assert DyCoke().plan(clip.embeds, 16 * 20 + 48 * 6 - 1).window == 5
    assert DyCoke().plan(clip.embeds, 2 * CELLS).window == 64
    for rows in (16 * CELLS, 2 * CELLS + 7, CELLS, 16, 3, 1):
        found = DyCoke().reduce(clip, rows)
        assert len(found.embeds) == rows
        assert per_frame(found.sources, 64)[0] <= max(1, rows / 2), "what changes later has its part"
    few = DyCoke().reduce(clip, 16).sources
    assert per_frame(few, 64)[0] == 8 and len((few // CELLS).unique()) == 9, "time is not forgotten"


def test_more_scenes_than_rows_are_one() -> None:
    torch.manual_seed(1)
    noise = Clip(torch.randn(6, CELLS, 16), GRID, torch.arange(6.0))
    assert per_frame(DyCoke().reduce(noise, 12).sources, 6) == [2] * 6, "each frame is a scene"
    assert len(DyCoke().reduce(noise, 3).embeds) == 3


def test_cells_may_be_numbered_otherwise() -> None:
    clip = video(7, moving=9)
    order = torch.randperm(CELLS, generator=torch.Generator().manual_seed(2))
    other = Clip(clip.embeds[:, order], GRID, clip.times_s)
    ours, theirs = DyCoke().reduce(clip, 80).sources, DyCoke().reduce(other, 80).sources
    assert torch.equal((theirs // CELLS * CELLS + order[theirs % CELLS]).sort().values, ours)


def test_state_is_flat_and_the_same_film_gives_the_same_tokens() -> None:
    film = video(12, cut=5).embeds.repeat(100, 1, 1)
    first, again = Thinning(Plan(4, CELLS, 2.5, 0.5)), Thinning(Plan(4, CELLS, 2.5, 0.5))
    sizes = set()
    for frame in film:
        assert torch.equal(first.see(frame), again.see(frame))
        sizes.add(sum(value.numel() for value in vars(first).values() if isinstance(value, Tensor)))
    assert sizes == {CELLS * 16 + 16}
