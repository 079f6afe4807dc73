"""Windows that are alike are one row, the key set stays, and no frame is made to wait for another."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from models.reducers.clip import Clip
from models.reducers.mustdrop import ALONE, MustDrop, key_set, window_cells, window_likeness
from tests.models.reducers.clips import camera

GRID = (6, 6)
CELLS = 36


EVERY = MustDrop(fill=False)  # merges all windows that are alike, needed or not


def tiled(like: list[list[int]], grid: tuple[int, int] = GRID) -> Clip:
    """Noise, but for the 3 x 3 windows named for each frame: there one token, with a little noise."""
    coin = torch.Generator().manual_seed(3)
    cells = window_cells(grid, 3)
    embeds = torch.randn(len(like), len(cells), 16, generator=coin)
    for frame, windows in zip(embeds, like, strict=True):
        for rank, window in enumerate(windows):
            here = cells == window
            frame[here] = torch.randn(16, generator=coin) + 0.02 * (rank + 1) * frame[here]
    return Clip(embeds, grid, torch.arange(float(len(like))))


def rows_of_frame(sources: Tensor, frames: int, cells: int = CELLS) -> list[int]:
    return torch.bincount(sources // cells, minlength=frames).tolist()


def test_likeness_is_the_mean_over_all_pairs() -> None:
    clip, cells = tiled([[2]]), window_cells(GRID, 3)
    assert cells.view(GRID).tolist() == [[0, 0, 0, 1, 1, 1]] * 3 + [[2, 2, 2, 3, 3, 3]] * 3
    likeness = window_likeness(clip.embeds, cells)[0]
    for window in range(4):
        inside = clip.embeds[0, cells == window]
        pairs = [float(cosine_similarity(a, b, dim=0)) for a, b in permutations(inside, 2)]
        assert float(likeness[window]) == pytest.approx(sum(pairs) / 72, abs=1e-5)


def test_a_like_window_is_the_mean_of_its_tokens_and_the_rest_stays() -> None:
    clip = tiled([[1]])
    found = EVERY.reduce(clip, 1000)
    here = window_cells(GRID, 3) == 1
    assert len(found.embeds) == CELLS - 8
    row = int(found.owners[3])
    assert torch.equal(found.owners == row, here) and float(found.mass[row]) == 9
    assert torch.allclose(found.embeds[row], clip.embeds[0, here].mean(0))
    alone = torch.arange(len(found.embeds)) != row
    assert torch.equal(found.embeds[alone], clip.flat[found.sources[alone]])
    assert len(MustDrop(threshold=1.01, fill=False).reduce(clip, 1000).embeds) == CELLS


def test_each_frame_merges_all_its_own_windows() -> None:
    clip = tiled([[0, 1, 3], [2], [1, 2]])
    assert rows_of_frame(EVERY.reduce(clip, 1000).sources, 3) == [12, 28, 20]
    published = MustDrop(as_published=True).reduce(clip, 1000)
    assert rows_of_frame(published.sources, 3) == [28, 28, 28], "as many as the frame with fewest"
    assert published.sources.view(3, 28)[:, 0].tolist() == [0, 36 + 18, 72 + 3], "the most alike comes first"


def test_frames_are_reduced_one_by_one() -> None:
    clip = tiled([[0, 1, 3], [2], []])
    together = EVERY.reduce(clip, 1000)
    alone = [EVERY.reduce(Clip(frame[None], GRID, torch.zeros(1)), 1000) for frame in clip.embeds]
    assert torch.equal(together.sources, torch.cat([one.sources + t * CELLS for t, one in enumerate(alone)]))
    assert torch.allclose(together.embeds, torch.cat([one.embeds for one in alone]))


def test_any_grid_has_windows() -> None:
    assert window_cells((4, 5), 3).view(4, 5).tolist() == [[0, 0, 0, 1, 1]] * 3 + [[2, 2, 2, 3, 3]]
    one = window_likeness(torch.ones(1, 16, 2), window_cells((4, 4), 3))[0]
    assert one.tolist() == [pytest.approx(1), pytest.approx(1), pytest.approx(1), ALONE]
    found = EVERY.reduce(Clip(torch.ones(2, 16, 4), (4, 4), torch.arange(2.0)), 1000)
    assert found.mass.tolist() == [9, 3, 3, 1] * 2
    with pytest.raises(ValueError, match=r"cannot tile a grid of \(4, 4\) by windows of 3"):
        MustDrop(as_published=True).reduce(camera(2, (4, 4), 1), 1000)


def test_the_key_set_is_what_is_attended_to_most() -> None:
    attention = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.7, 0.1, 0.1, 0.1]])
    assert key_set(attention, 0.3).tolist() == [[1, 3], [0, 1]]
    assert key_set(attention, 0.08).tolist() == [[1], [0]]
    looked = torch.ones(2, CELLS)
    looked[0, 30], looked[1, 5] = 9, 8
    clip = tiled([[0], []])
    clip = Clip(clip.embeds, GRID, clip.times_s, saliency=looked)
    found = MustDrop(key_rate=0.08, fill=False).reduce(clip, 1000)
    assert rows_of_frame(found.sources, 2) == [3, 3], "ceil(0.08 * 28) and ceil(0.08 * 36)"
    assert {30, CELLS + 5} <= set(found.sources.tolist())
    assert MustDrop().reduce(clip, 2).sources.tolist() == [30, CELLS + 5]
    assert MustDrop().reduce(clip, 1).sources.tolist() == [30], "its frame attends to it more"


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 64])
@pytest.mark.parametrize("rows", [1, 2, 7, 30, 5000])
def test_frames_share_what_rows_there_are(frames: int, rows: int) -> None:
    clip = tiled([[t % 4] if t % 3 else [] for t in range(frames)])
    merged = rows_of_frame(EVERY.reduce(clip, 10_000).sources, frames)
    found = EVERY.reduce(clip, rows)
    assert len(found.embeds) == min(rows, sum(merged))
    each = rows_of_frame(found.sources, frames)
    assert max(each) - min(each) <= 1 or any(one == most for one, most in zip(each, merged, strict=True))


def test_a_merged_window_competes_as_one_token() -> None:
    clip = tiled([[0]])
    looked = torch.ones(1, CELLS)
    looked[0, window_cells(GRID, 3) == 0] = 1.5
    looked[0, 35] = 2
    clip = Clip(clip.embeds, GRID, clip.times_s, saliency=looked)
    assert MustDrop().reduce(clip, 1).sources.tolist() == [35], "nine tokens of little do not outweigh one"
    assert MustDrop().reduce(clip, 2).mass.tolist() == [9, 1]


@pytest.mark.parametrize("rows", [72, 71, 64, 63, 56, 40, 39, 10, 1])
def test_no_more_windows_are_merged_than_rows_ask_for(rows: int) -> None:
    clip = tiled([[0, 1], [2, 3]])  # the first of each frame is the most alike
    found, windows = MustDrop().reduce(clip, rows), min(4, -(-(72 - rows) // 8))
    assert len(found.embeds) == min(rows, 72 - 8 * windows)
    merged = found.sources[found.mass == 9].tolist()
    if rows >= 40:
        assert len(merged) == windows
    if windows == 1:
        assert merged in ([0], [36 + 18])
    if windows == 2:
        assert merged == [0, 36 + 18]
