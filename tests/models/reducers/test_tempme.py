"""TempMe's tree: frame by frame is all at once, of any number of frames, with a state that does not grow."""

from __future__ import annotations

import pytest
import torch

from models.reducers.tempme import ClipTree, Shares, TempMe, removed
from models.reducers.tome import Pile, pile_of
from tests.models.reducers.clips import camera


def whole_tree(frames: torch.Tensor, shares: Shares) -> Pile:
    """The batch form: all clips of a level before any of the next; what is left over at a level stays open."""
    cells = frames.shape[1]
    clips = [pile_of(frame, cells * number) for number, frame in enumerate(frames)]
    left: list[Pile] = []
    while clips:
        if len(clips) % 2:
            left.append(clips.pop())
        clips = [shares.join(*pair, cells)[0] for pair in zip(clips[::2], clips[1::2], strict=True)]
    return Pile(*(torch.cat(column) for column in zip(*(clip.parts for clip in reversed(left)), strict=True)))


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 7, 8, 12, 13, 31])
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (3, 5)])
def test_frame_by_frame_is_the_whole_tree_bit_for_bit(frames: int, grid: tuple[int, int]) -> None:
    clip = camera(frames, grid, seed=frames)
    tree = ClipTree()
    for frame in clip.embeds:
        tree.push(frame)
    for ours, theirs in zip(tree.open().parts, whole_tree(clip.embeds, Shares()).parts, strict=True):
        assert torch.equal(ours, theirs)
    assert sum(level is not None for level in tree.levels) == frames.bit_count()


def test_two_clips_lose_their_shares() -> None:
    clip = camera(2, (4, 5), seed=1)
    tree = ClipTree()
    assert tree.push(clip.embeds[0]) == []
    across, within = tree.push(clip.embeds[1])
    assert (across.shape[1], within.shape[1]) == (removed(40, 0.3), removed(28, 0.1)) == (12, 2)
    assert len(tree.open().embeds) == 26 and float(tree.open().mass.sum()) == 40
    assert bool((across[0] // 20 != across[1] // 20).any()), "nothing was merged across the two"


def test_the_state_is_bounded_by_the_logarithm_of_time() -> None:
    frames = camera(16, (2, 3), seed=2).embeds
    tree, most = ClipTree(), 0
    for number in range(600):
        tree.push(frames[number % 16])
        assert all(level is None or len(level.embeds) <= 4 * 6 for level in tree.levels)
        most = max(most, len(tree.open().embeds))
        assert len(tree.levels) == (number + 1).bit_length()
    assert most <= 10 * 24 < 600 * 6
    assert float(tree.open().mass.sum()) == 600 * 6  # and nothing was forgotten


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("as_published", [False, True])
def test_each_row_is_the_mean_of_its_tokens(frames: int, rows: int, as_published: bool) -> None:
    clip = camera(frames, (2, 3), seed=frames)
    found = TempMe(as_published=as_published).reduce(clip, rows)
    assert 1 <= len(found.embeds) <= rows and float(found.mass.sum()) == 6 * frames
    for row, embed in enumerate(found.embeds):
        assert torch.allclose(embed, clip.flat[found.owners == row].mean(0), atol=1e-5)


def test_a_generous_budget_still_gives_the_tree() -> None:
    clip = camera(8, (4, 4), seed=3)
    assert len(TempMe().reduce(clip, 1000).embeds) == 35  # of 128: 16 and 16 become 21, 42 become 27, 54 become 35
    assert len(TempMe(across=0.0, within=0.0).reduce(camera(4, (4, 4), seed=3), 1000).embeds) == 64


def test_as_published_places_are_lost() -> None:
    clip = camera(4, (3, 5), seed=5)
    ours, theirs = TempMe().reduce(clip, 100), TempMe(as_published=True).reduce(clip, 100)
    assert torch.equal(ours.sources, ours.sources.sort().values)
    assert not torch.equal(theirs.sources, theirs.sources.sort().values)


def test_shares_are_limited_to_half_of_what_takes_part() -> None:
    assert removed(20, 0.3) == 6
    assert removed(26, 0.3, 2) == 7
    assert removed(20, 0.9, 4) == 8
    assert removed(1, 0.9) == 0


def test_an_empty_tree_says_so() -> None:
    with pytest.raises(ValueError, match="push one first"):
        ClipTree().open()
