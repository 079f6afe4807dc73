"""What stands out stays, what is like it joins it, and nothing is lost or counted twice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from models.reducers.clip import Clip
from models.reducers.prumerge import PruMerge, clusters, outlier_margins
from models.reducers.prumerge_published import class_attention, most_attended, neighbours_of, plus, rows_of
from tests.models.reducers.clips import camera, with_embeds

GRID = (6, 8)
CELLS = 48


def staring(frames: int, looked_at: list[int]) -> Clip:
    """A clip whose tower looked at a few cells, a little more at the first of them."""
    coin = torch.Generator().manual_seed(5)
    saliency = 1 + 0.1 * torch.rand(frames, CELLS, generator=coin)
    for rank, cell in enumerate(looked_at):
        saliency[:, cell] = 20.0 - rank
    embeds = torch.randn(frames, CELLS, 16, generator=coin)
    return Clip(embeds, GRID, torch.arange(float(frames)), saliency=saliency)


def test_outliers_are_above_the_quartiles_of_their_own_frame() -> None:
    values = torch.cat([torch.arange(1.0, 9.0), torch.tensor([14.0, 15.0])])
    margins = outlier_margins(torch.stack([values, 100 * values]))
    low, high = 3.25, 7.75
    assert torch.allclose(margins[0], (values - high) / (high - low))
    assert torch.allclose(margins[0], margins[1])
    assert (margins > 1.5).nonzero().tolist() == [[0, 9], [1, 9]]


def test_what_stands_out_has_a_row_in_every_frame() -> None:
    found = PruMerge(plus=False, fill=False).reduce(staring(3, [7, 20]), 1000)
    assert {7, 20, 55, 68, 103, 116} <= set(found.sources.tolist())
    assert len(found.embeds) <= 9, "outliers, and one row of what is left of each frame"
    assert float(found.mass.sum()) == 3 * CELLS


def test_frames_are_reduced_one_by_one() -> None:
    clip = staring(5, [3, 11, 30])
    for reducer in (PruMerge(fill=False), PruMerge(plus=False, fill=False)):
        together = reducer.reduce(clip, 1000)
        alone = [
            reducer.reduce(Clip(frame[None], GRID, torch.zeros(1), saliency=saliency[None]), 1000)
            for frame, saliency in zip(clip.embeds, clip.saliency if clip.saliency is not None else (), strict=True)
        ]
        assert torch.equal(together.sources, torch.cat([one.sources + t * CELLS for t, one in enumerate(alone)]))
        assert torch.allclose(together.embeds, torch.cat([one.embeds for one in alone]), atol=1e-6)


def test_a_row_is_the_mean_of_its_tokens_by_attention() -> None:
    clip = staring(2, [7, 20])
    found, weights = PruMerge().reduce(clip, 20), clip.attention().reshape(-1)
    for row, embed in enumerate(found.embeds):
        mine = found.owners == row
        expected = (weights[mine, None] * clip.flat[mine]).sum(0) / weights[mine].sum()
        assert torch.allclose(embed, expected, atol=1e-6)


def test_only_the_nearest_join_and_each_joins_one() -> None:
    units = normalize(torch.randn(CELLS, 8, generator=torch.Generator().manual_seed(2)), dim=1)
    chosen = torch.tensor([4, 30])
    joined = clusters(units, chosen, 5)
    alike = units[chosen] @ units.T
    for rank, own in enumerate(chosen.tolist()):
        mine = set((joined == rank).nonzero()[:, 0].tolist()) - {own}
        others = [cell for cell in alike[rank].argsort(descending=True).tolist() if cell not in {4, 30}]
        assert mine <= set(others[:5]) and joined[own] == rank
    both = joined >= 0
    assert torch.equal(joined[both], alike[:, both].argmax(0))
    assert 6 <= int(both.sum()) <= 12
    assert clusters(units, chosen[:0], 5).tolist() == [-1] * CELLS


def test_plus_keeps_positions_all_over_the_frame() -> None:
    clip = staring(2, [40, 41, 42, 43])
    with_plus = PruMerge(fill=False).chosen(clip.attention(), 1000)
    without = PruMerge(plus=False, fill=False).chosen(clip.attention(), 1000)
    added = set(with_plus.tolist()) - set(without.tolist())
    stride = CELLS // (3 * len(without[without < CELLS]))
    assert added == {t * CELLS + c for t in (0, 1) for c in range(0, CELLS, stride)} - set(without.tolist())
    half = PruMerge(fill=False).chosen(clip.attention(), len(without) + 6)
    assert set(without.tolist()) <= set(half.tolist()) and len(half) == len(without) + 6
    assert {int(one) // CELLS for one in half if int(one) not in without} == {0, 1}, "thinned over the whole clip"


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("rows", [1, 2, 3, 9, 40, 1000])
def test_the_budget_is_used_and_not_exceeded(frames: int, rows: int) -> None:
    clip = staring(frames, [7, 20, 33])
    found = PruMerge().reduce(clip, rows)
    assert len(found.embeds) <= rows
    rests = min(frames, max(1, rows // 2))  # of which some are not needed, where all that is left has joined
    assert len(found.embeds) >= min(rows - rests, frames * CELLS)
    assert float(found.mass.sum()) == frames * CELLS


def test_what_stands_out_most_stays_longest() -> None:
    found = PruMerge().reduce(staring(2, [20, 7]), 4)
    assert set(found.owners[found.sources].tolist()) == {0, 1, 2, 3}
    assert {20, CELLS + 20} <= set(found.sources.tolist()), "two for what is left, two that stand out most"
    shared = PruMerge().reduce(staring(4, [20]), 2)
    assert len(shared.embeds) == 2 and float(shared.mass.max()) > 3 * CELLS / 2, "what is left is shared by frames"


def test_equal_attention_has_no_outlier() -> None:
    clip = camera(3, (4, 4), seed=1)
    level = Clip(clip.embeds, clip.grid, clip.times_s, saliency=torch.ones(3, 16))
    found = PruMerge(fill=False).reduce(level, 30)
    assert torch.allclose(found.embeds, clip.embeds.mean(1), atol=1e-5)
    assert found.sources.tolist() == [0, 16, 32]


def test_cells_may_be_numbered_otherwise() -> None:
    clip = staring(3, [7, 20])
    order = torch.randperm(CELLS, generator=torch.Generator().manual_seed(1))
    saliency = clip.saliency
    assert saliency is not None
    other = Clip(clip.embeds[:, order], GRID, clip.times_s, saliency=saliency[:, order])
    mine, theirs = (PruMerge(plus=False).reduce(one, 12).embeds for one in (clip, other))
    assert len(mine) == len(theirs) and float(torch.cdist(mine, theirs).amin(1).max()) < 1e-5


def test_as_published_rows_come_by_attention_and_are_no_means() -> None:
    clip = staring(2, [30, 7, 20])
    found = PruMerge(as_published=True, plus=False).reduce(clip, 8)
    assert found.sources.tolist()[:3] == [30, 7, 20] and found.sources.tolist()[4:7] == [78, 55, 68]
    assert float(found.mass.sum()) == 2 * CELLS
    weights = clip.attention()[0]
    left = torch.ones(CELLS, dtype=torch.bool)
    left[[30, 7, 20]] = False
    assert torch.allclose(found.embeds[3], (weights[left, None] * clip.embeds[0, left]).sum(0))
    assert len(PruMerge(as_published=True, plus=False).reduce(clip, 5).embeds) == 4


@pytest.mark.parametrize(
    ("reducer", "clip", "rows", "sentence"),
    [
        (PruMerge(as_published=True), staring(1, [1]), 40, "one frame of 576"),
        (PruMerge(as_published=True, plus=False), staring(4, [1]), 3, "cannot say 4 frames in 3 rows"),
        (PruMerge(as_published=True, plus=False), camera(1, (4, 4), 1), 9, "needs more than 32 patches"),
    ],
)
def test_where_the_released_code_breaks_ours_says_so(reducer: PruMerge, clip: Clip, rows: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        reducer.reduce(clip, rows)


def test_as_published_no_outlier_or_too_many_leave_no_stride() -> None:
    kept = torch.zeros(1, 1, dtype=torch.int64)
    for ratio in (0.0, 0.4):
        with pytest.raises(ValueError, match="finds no stride"):
            plus(kept, ratio, 576)
    assert plus(kept, 0.05, 576)[0, :3].tolist() == [0, 6, 12]


def test_attention_of_the_class_token_and_sums_by_hand() -> None:
    torch.manual_seed(0)
    queries, keys, tokens = (torch.randn(1, 41, 4) for _ in range(3))
    attention = class_attention(queries, keys)
    by_hand = (keys[0] @ queries[0, 0] / 2).softmax(0)[1:]
    assert torch.allclose(attention[0], by_hand)
    kept = most_attended(attention, 0.05)
    assert kept[0].tolist() == by_hand.argsort(descending=True)[:2].tolist()
    near = neighbours_of(keys[:, 1:], kept, 32)
    assert near.shape == (1, 2, 32) and int(kept[0, 0]) not in near[0, 0].tolist()
    row = rows_of(tokens[:, 1:], attention, kept, near)[0, 1]
    assert torch.allclose(row, expected_row(tokens[0, 1:], by_hand, int(kept[0, 1]), near[0, 1]), atol=1e-6)


def expected_row(tokens: Tensor, weights: Tensor, own: int, others: Tensor) -> Tensor:
    total = tokens[own].clone()
    for other in others.tolist():
        total += weights[other] * tokens[other]
    return total


def test_another_feature_space_changes_nothing_but_the_features() -> None:
    clip = staring(3, [7, 20])
    found, turned = PruMerge().reduce(clip, 12), PruMerge().reduce(with_embeds(clip, -clip.embeds), 12)
    assert torch.equal(found.owners, turned.owners) and torch.equal(found.embeds, -turned.embeds)
