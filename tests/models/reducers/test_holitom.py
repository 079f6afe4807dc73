"""HoliTom as a reducer: who owns what, how rows are shared, few rows, few frames, and the published form."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.reducers.clip import Clip, Reduced
from models.reducers.holitom import HoliTom
from models.reducers.holitom_parts import Part, at_least, parts, published_rows, retained, shared_rows
from models.reducers.segmentation import best_stretches, likeness
from tests.models.reducers.clips import camera, clips

usual = settings(max_examples=40, derandomize=True, deadline=None, database=None)
GRID = (3, 4)


def still_life(frames: int, moving: int, seed: int = 0) -> Clip:
    """Cells that stay but for noise, and the first `moving` cells new in each frame; saliency by lot."""
    coin = torch.Generator().manual_seed(seed)
    cells = GRID[0] * GRID[1]
    embeds = torch.randn(1, cells, 8, generator=coin) + 0.02 * torch.randn(frames, cells, 8, generator=coin)
    embeds[:, :moving] = torch.randn(frames, moving, 8, generator=coin)
    return Clip(embeds, GRID, torch.arange(frames).float(), saliency=torch.rand(frames, cells, generator=coin))


def a_part(static: bool, tokens: int) -> Part:
    return Part(0, 0, torch.arange(tokens), static=static)


def check(found: Reduced, clip: Clip, rows: int) -> None:
    assert 1 <= len(found.embeds) <= min(rows, len(clip.flat))
    assert torch.equal(found.owners[found.sources], torch.arange(len(found.embeds)))
    assert bool(found.embeds.isfinite().all())


def test_static_cells_are_merged_and_of_the_others_the_most_salient_stay() -> None:
    clip = still_life(6, moving=3)
    found = HoliTom(beta=None).reduce(clip, 9)  # 3 of 9 static cells, and of each frame 1 of the 3 that change
    owners = found.owners.view(6, -1)
    assert torch.equal(owners[:, 3:], owners[:1, 3:].expand(6, -1)), (
        "a static cell is not of the same row in all frames"
    )
    assert len(owners[:, 3:].unique()) == 3
    for row in owners[0, 3:].unique():
        assert torch.allclose(found.embeds[row], clip.embeds[owners == row].mean(0), atol=1e-6)
    assert clip.saliency is not None
    most = clip.saliency[:, :3].argmax(1)
    kept = owners[:, :3] >= 0
    assert torch.equal(kept, torch.nn.functional.one_hot(most, 3).bool()), "not the most salient one stayed"
    assert torch.equal(found.embeds[owners[:, :3][kept]], clip.embeds[:, :3][kept])
    assert float(found.mass.sum()) == 9 * 6 + 6


def test_a_static_row_is_its_centre_for_the_most_part() -> None:
    clip = still_life(6, moving=3)
    found = HoliTom().reduce(clip, 9)
    owners, means = found.owners.view(6, -1)[0], clip.embeds.mean(0)
    sizes = []
    for row in owners[3:].unique().tolist():
        centre = int(found.sources[row])
        members = [cell for cell in range(3, 12) if owners[cell] == row and cell != centre]
        wanted = 0.6 * means[centre] + 0.4 * means[members].mean(0) if members else means[centre]
        assert torch.allclose(found.embeds[row], wanted, atol=1e-6)
        sizes.append(len(members))
    assert sum(sizes) == 6


@usual
@given(clips(), st.integers(1, 300), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.4]))
def test_every_static_token_has_a_row(clip: Clip, rows: int, clustered: float, spatial: float) -> None:
    method = HoliTom(clustered=clustered, spatial_weight=spatial)
    found = method.reduce(clip, rows)
    check(found, clip, rows)
    owners = found.owners.view(len(clip.embeds), -1)
    whole = parts(best_stretches(likeness(clip.embeds) > method.tau))
    if len(whole) > rows:
        return  # another threshold than the method's own was taken
    for part in whole:
        mine = owners[part.first : part.last + 1, part.cells]
        if part.static:
            assert bool((mine >= 0).all()) and torch.equal(mine, mine[:1].expand(part.frames, -1))
        else:
            held = mine[mine >= 0]
            assert len(held) >= 1, "a frame that changes has no row"
            if not clustered:
                assert len(held.unique()) == len(held), "tokens that change were merged"
    assert len(found.embeds) == min(rows, sum(part.tokens for part in whole))


def test_clusters_take_in_what_attention_leaves() -> None:
    clip = still_life(4, moving=12)  # nothing is static
    found = HoliTom(clustered=0.5).reduce(clip, 16)
    assert float(found.mass.sum()) == 48, "with clusters nothing is dropped"
    owners = found.owners.view(4, 12)
    assert clip.saliency is not None
    for t in range(4):
        salient = clip.saliency[t].argsort(descending=True)[:2]
        assert torch.equal(found.embeds[owners[t, salient]], clip.embeds[t, salient])
        assert len(owners[t].unique()) == 4
    assert not torch.equal(found.owners, HoliTom().reduce(clip, 16).owners)


def test_spatial_weight_keeps_static_groups_together() -> None:
    clip = still_life(4, moving=0, seed=2)

    def spread(found: Reduced) -> float:
        rows = found.owners[:12]
        places = torch.stack([torch.arange(12) // 4, torch.arange(12) % 4], 1).float()
        return sum(float(torch.cdist(places[rows == row], places[rows == row]).sum()) for row in rows.unique())

    assert spread(HoliTom(spatial_weight=5.0).reduce(clip, 4)) < spread(HoliTom().reduce(clip, 4))


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 17, 63, 64])
def test_too_few_rows_for_every_frame(rows: int) -> None:
    clip = still_life(64, moving=2)
    found = HoliTom().reduce(clip, rows)
    check(found, clip, rows)
    owners = found.owners.view(64, 12)
    if rows == 1:  # all is static
        assert float(found.mass[0]) == 64 * 12
    else:  # what changes was pruned over the whole stretch, the rest is in some row
        assert bool((owners[:, 2:] >= 0).all())
        assert len(found.embeds) == rows


def test_few_rows_and_many_cuts_lower_the_threshold() -> None:
    clip = still_life(16, moving=12)
    found = HoliTom().reduce(clip, 5)
    check(found, clip, 5)
    assert float(found.mass.sum()) > 5, "frames that are unlike were not merged"


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
def test_few_frames(frames: int) -> None:
    clip = camera(frames, (2, 3), seed=frames)
    for rows in range(1, 6 * frames + 2):
        check(HoliTom().reduce(clip, rows), clip, rows)


def test_one_centre_is_the_densest_token_and_not_the_first() -> None:
    clip = still_life(3, moving=0)
    embeds = clip.embeds.clone()
    embeds[:, 0] += 20  # far from all others
    found = HoliTom().reduce(Clip(embeds, GRID, clip.times_s), 1)
    assert int(found.sources[0]) != 0 and float(found.mass[0]) == 36


# How rows are shared.


@usual
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 40)), min_size=1, max_size=12),
    st.fractions(0, 1, max_denominator=997),
)
def test_the_share_is_the_published_one_at_the_ratio_that_takes_all_rows(
    shapes: list[tuple[bool, int]], ratio: Fraction
) -> None:
    found = [a_part(*shape) for shape in shapes]
    exact = [part.tokens * ratio + (Fraction(1, 2) if part.static else 0) for part in found]
    assume(ratio > 0 and all(each.denominator > 1 for each in exact))  # not where it just jumps
    wanted = published_rows(found, float(ratio))
    assume(all(wanted))  # a static part that is rounded away has a row in ours
    assert shared_rows(found, sum(wanted)) == wanted


@usual
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), min_size=1, max_size=12), st.integers(0, 500))
def test_all_rows_are_taken_and_each_part_has_one(shapes: list[tuple[bool, int]], more: int) -> None:
    found = [a_part(*shape) for shape in shapes]
    rows = len(found) + more
    counts = shared_rows(found, rows)
    assert sum(counts) == min(rows, sum(part.tokens for part in found))
    assert all(1 <= count <= part.tokens for count, part in zip(counts, found, strict=True))


def test_published_rows_round_halves_to_even_and_up() -> None:
    found = [a_part(True, 5), a_part(True, 3), a_part(False, 5), a_part(True, 1)]
    assert published_rows(found, 0.5) == [2, 2, 3, 0]
    assert retained(0.1, 100, 50) == pytest.approx(0.2) and retained(0.9, 100, 50) == 1.0


def test_there_are_at_least_as_many_parts_as_said() -> None:
    for seed in range(20):
        clip = camera(16, (3, 4), seed)
        for tau in (0.2, 0.8, 0.99):
            still = likeness(clip.embeds) > tau
            whole = best_stretches(still)
            assert at_least(still) <= len(parts(whole, joint=True)) <= len(parts(whole))


# As published.


def plain_order(found: Reduced, whole: list[Part], cells: int) -> list[int]:
    """Which part each row is of."""
    of: dict[tuple[int, int], int] = {}
    for number, part in enumerate(whole):
        for t in range(part.first, part.last + 1):
            of.update({(t, int(cell)): number for cell in part.cells})
    return [of[divmod(int(source), cells)] for source in found.sources]


def test_as_published_static_rows_come_first_and_no_row_is_another() -> None:
    clip = still_life(8, moving=4)
    published = HoliTom(as_published=True).at_ratio(clip, 0.25)
    whole = parts(best_stretches(likeness(clip.embeds) > 0.8))
    order = plain_order(published, whole, 12)
    assert order == sorted(order) and whole[0].static and order.count(0) > 1
    ours = HoliTom().reduce(clip, len(published.embeds))
    ordered = published.in_order()
    assert len(ours.embeds) == len(ordered.embeds)
    assert not torch.equal(published.sources, ordered.sources)


def test_as_published_a_budget_is_never_exceeded() -> None:
    clip = still_life(8, moving=4)
    for rows in range(9, 97, 5):
        check(HoliTom(as_published=True).reduce(clip, rows), clip, rows)


def test_as_published_a_static_part_may_be_left_with_nothing_ours_is_not() -> None:
    clip = still_life(8, moving=10)
    published = HoliTom(as_published=True).at_ratio(clip, 0.05)
    whole = parts(best_stretches(likeness(clip.embeds) > 0.8))
    assert any(part.static for part in whole)
    owners = published.owners.view(8, 12)
    assert bool((owners[:, 10:] == -1).all())
    ours = HoliTom().reduce(clip, len(published.embeds) + 1).owners.view(8, 12)
    assert bool((ours[:, 10:] >= 0).all())


@pytest.mark.parametrize(
    ("clip", "rows", "sentence"),
    [(still_life(1, 0), 4, "two frames or more"), (still_life(8, 12), 7, "cannot have 7 rows of these 8 frames")],
)
def test_what_the_published_form_cannot_do_is_said(clip: Clip, rows: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        HoliTom(as_published=True).reduce(clip, rows)
    check(HoliTom().reduce(clip, rows), clip, rows)


def test_no_clusters_as_published() -> None:
    with pytest.raises(ValueError, match="no clusters of changing tokens"):
        HoliTom(as_published=True, clustered=0.2)


def test_ceil_and_ratio_of_a_frame() -> None:
    clip = still_life(5, moving=12)
    for ratio in (0.1, 0.3, 0.9):
        made: Tensor = HoliTom(as_published=True).at_ratio(clip, ratio).embeds
        assert len(made) == 5 * math.ceil(12 * ratio)
