"""ToMe over a clip: the same rows as rounds of matching by hand, down to one, by place."""

from __future__ import annotations

import pytest
import torch

from models.reducers.matching import at_most, match
from models.reducers.tome import ToMe
from tests.models.reducers.clips import camera


def test_rows_are_weighted_means_of_successive_rounds() -> None:
    clip = camera(5, (3, 5), seed=1)
    x, mass, owners = clip.flat[None], torch.ones(1, 75), torch.arange(75)[None]
    for r in (37, 19, 9):  # 75 tokens, 38, 19, 10
        matching = match(x, r)
        x, mass = matching.merge(x, mass)
        owners = matching.owners.gather(1, owners)
    found = ToMe().reduce(clip, 10)
    assert torch.equal(found.embeds, x[0]) and torch.equal(found.mass, mass[0])
    assert torch.equal(found.owners, owners[0])


@pytest.mark.parametrize("rows", [1, 2, 9, 38, 74, 75])
@pytest.mark.parametrize("as_published", [False, True])
def test_exactly_the_rows_asked_for_and_each_the_mean_of_its_tokens(rows: int, as_published: bool) -> None:
    clip = camera(5, (3, 5), seed=2)
    found = ToMe(as_published=as_published).reduce(clip, rows)
    assert len(found.embeds) == rows and float(found.mass.sum()) == 75
    for row, embed in enumerate(found.embeds):
        assert torch.allclose(embed, clip.flat[found.owners == row].mean(0), atol=1e-5)


def test_a_long_clip_becomes_one_row() -> None:
    clip = camera(64, (4, 4), seed=3)
    found = ToMe().reduce(clip, 1)
    assert found.mass.tolist() == [1024]
    assert torch.allclose(found.embeds[0], clip.flat.mean(0), atol=1e-4)


def test_all_tokens_stay_where_that_many_rows_may_be() -> None:
    clip = camera(3, (2, 3), seed=4)
    found = ToMe().reduce(clip, 18)
    assert torch.equal(found.embeds, clip.flat) and torch.equal(found.sources, torch.arange(18))


def test_as_published_places_are_lost() -> None:
    clip = camera(5, (3, 5), seed=5)
    ours, theirs = ToMe().reduce(clip, 60), ToMe(as_published=True).reduce(clip, 60)
    assert torch.equal(ours.sources, ours.sources.sort().values)
    assert not torch.equal(theirs.sources, theirs.sources.sort().values)
    assert torch.equal(ours.embeds, theirs.in_order().embeds)  # one round merges the same
    assert not torch.equal(ToMe().reduce(clip, 10).owners, ToMe(as_published=True).reduce(clip, 10).in_order().owners)


def test_what_is_alike_in_different_frames_is_one_row() -> None:
    clip = camera(4, (1, 7), seed=6)
    still = clip.embeds.clone()
    still[:] = 100 * torch.eye(16)[:7]  # seven things that stay where they are
    found = ToMe().reduce(type(clip)(still, clip.grid, clip.times_s), at_most(28) // 2)
    assert len({tuple(sorted((found.owners == row).nonzero()[:, 0] % 7)) for row in range(7)}) == 7
    assert torch.equal(found.owners.view(4, 7), found.owners.view(4, 7)[:1].expand(4, 7))
