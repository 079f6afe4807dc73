"""B-VLLM: frames that say the same become one and lose nothing; rounds make true means; a question picks frames."""

from __future__ import annotations

import pytest
import torch

from models.reducers.b_vllm import BVllm, distinct, frames_for, in_rounds
from models.reducers.clip import DROPPED, Clip
from tests.models.reducers.clips import camera

ANGLES = torch.tensor([0.0, 0.3, 0.6, 2.0, 0.9])  # each of the first three and the last is near the one before
SELECTOR = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
NEAR = (1 + float(torch.tensor(0.4).cos())) / 2


def test_a_chain_ends_in_its_first_frame() -> None:
    features = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]).view(5, 1, 1)
    ours, theirs = distinct(SELECTOR, NEAR), distinct(SELECTOR, NEAR, as_published=True)
    assert ours.removed.tolist() == theirs.removed.tolist() == [False, True, True, False, True]
    assert ours.partner.tolist() == [0, 0, 1, 2, 2]
    assert ours.roots.tolist() == [0, 0, 0, 3, 0]
    assert ours.average(features).flatten().tolist() == [(1 + 2 + 4 + 16) / 4, 8]
    assert theirs.roots.tolist() == [0, 0, DROPPED, 3, DROPPED]
    assert theirs.average(features).flatten().tolist() == [1.5, 8]
    assert theirs.lost.tolist() == [2, 4]


def test_at_least_and_at_most_so_many_frames() -> None:
    assert distinct(SELECTOR, NEAR, most=1).roots.tolist() == [0] * 5
    assert distinct(SELECTOR, 1.0, most=2).kept.tolist() == [0, 3]
    assert distinct(SELECTOR, NEAR, fewest=5).kept.tolist() == [0, 1, 2, 3, 4]
    assert distinct(SELECTOR, -1.0).kept.tolist() == [0]


@pytest.mark.parametrize(("count", "target"), [(64, 12), (33, 20), (25, 12), (9, 1), (5, 5), (3, 8)])
def test_rounds_end_at_the_target_with_true_means(count: int, target: int) -> None:
    tokens = torch.randn(2, count, 8, generator=torch.Generator().manual_seed(count))
    found = in_rounds(tokens, target)
    assert found.rows.shape[1] == min(count, target) == found.lengths[-1]
    for b in range(2):
        for row in range(found.rows.shape[1]):
            assert torch.allclose(found.rows[b, row], tokens[b, found.owners[b] == row].mean(0), atol=1e-5)


def test_as_published_rounds_are_no_true_means() -> None:
    tokens = torch.randn(1, 64, 8, generator=torch.Generator().manual_seed(0))
    found = in_rounds(tokens, 5, as_published=True)
    means = torch.stack([tokens[0, found.owners[0] == row].mean(0) for row in range(5)])
    assert not torch.allclose(found.rows[0], means, atol=1e-2)
    assert torch.allclose(in_rounds(tokens, 1).rows[0, 0], tokens[0].mean(0), atol=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 24, 60])
def test_every_row_is_the_mean_of_its_tokens_and_none_is_lost(rows: int) -> None:
    clip = camera(16, (4, 4), seed=3)
    found = BVllm().reduce(clip, rows)
    assert len(found.embeds) == rows
    assert float(found.mass.sum()) == 256
    for row in range(rows):
        assert torch.allclose(found.embeds[row], clip.flat[found.owners == row].mean(0), atol=1e-4)


def test_as_published_frames_are_lost_in_chains() -> None:
    coin = torch.Generator().manual_seed(1)
    steps = torch.randn(12, 1, 16, generator=coin).cumsum(0)  # each frame is like the one before
    clip = Clip(steps + 0.05 * torch.randn(12, 6, 16, generator=coin), (2, 3), torch.arange(12.0))
    ours, theirs = BVllm().reduce(clip, 12), BVllm(as_published=True).reduce(clip, 12)
    assert float(ours.mass.sum()) == 72
    assert float(theirs.mass.sum()) < 72
    assert torch.equal(theirs.sources, theirs.sources.sort().values)


def test_a_still_clip_is_one_picture() -> None:
    picture = torch.randn(1, 6, 16, generator=torch.Generator().manual_seed(2))
    found = BVllm().reduce(Clip(picture.expand(10, 6, 16), (2, 3), torch.arange(10.0)), 6)
    assert torch.allclose(found.embeds, picture[0], atol=1e-5)
    assert found.mass.tolist() == [10.0] * 6


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
def test_short_clips(frames: int) -> None:
    clip = camera(frames, (2, 3), seed=frames)
    for rows in (1, 5, 100):
        found = BVllm().reduce(clip, rows)
        assert len(found.embeds) == min(rows, frames * 6)
        assert float(found.mass.sum()) == frames * 6


def test_a_question_picks_its_frames_in_order_of_time() -> None:
    coin = torch.Generator().manual_seed(4)
    frames, question = torch.randn(10, 6, 64, generator=coin), torch.randn(64, generator=coin)
    frames[7] += question
    frames[2] += 2 * question
    best, shares = frames_for(question, frames, 2)
    assert best.tolist() == [2, 7]
    assert shares.argmax() == 2
    assert abs(float(shares.sum()) - 1) < 1e-5
    assert frames_for(question, frames, 99)[0].tolist() == list(range(10))
    assert frames_for(question, frames[:1].expand(4, 6, 64), 2)[0].tolist() == [0, 1]
    sharper = frames_for(question, frames, 2, temperature=0.01)[1]
    assert float(sharper[2]) > float(shares[2])
