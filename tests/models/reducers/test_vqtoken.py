"""VQToken: clusters without chance, lengths kept, as many as the video needs; and what was published."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from models.reducers import kmeans
from models.reducers.clip import Clip
from models.reducers.vq_attention import VQAttention
from models.reducers.vqtoken import VQToken, fewest, published_elbow, published_silhouette
from tests.models.reducers.clips import camera


def planted(groups: int, frames: int = 16, cells: int = 20, width: int = 48) -> tuple[Clip, Tensor]:
    """Tokens of so many clear groups, of all lengths, and whose is whose (T*N,)."""
    coin = torch.Generator().manual_seed(groups)
    looks = normalize(torch.randn(groups, width, generator=coin), dim=1)
    whose = torch.randperm(frames * cells, generator=coin) % groups
    lengths = 1 + 9 * torch.rand(frames * cells, 1, generator=coin)
    tokens = (looks[whose] + 0.01 * torch.randn(frames * cells, width, generator=coin)) * lengths
    return Clip(tokens.view(frames, cells, width), (4, 5), torch.arange(frames) * 1.0), whose


def partition(labels: Tensor) -> set[tuple[int, ...]]:
    return {tuple((labels == label).nonzero()[:, 0].tolist()) for label in labels.unique()}


@pytest.mark.parametrize("groups", [1, 2, 7, 25])
def test_clear_groups_become_the_rows(groups: int) -> None:
    clip, whose = planted(groups)
    found = VQToken().reduce(clip, groups)
    assert partition(found.owners) == partition(whose)
    first = found.owners == found.owners[0]
    assert torch.allclose(found.embeds[0], clip.flat[first].mean(0), atol=1e-5)


def test_lengths_are_kept_by_default_and_lost_as_published() -> None:
    clip, _ = planted(7)
    longer = Clip(clip.embeds * 3, clip.grid, clip.times_s)
    ours, theirs = VQToken(), VQToken(as_published=True)
    assert torch.allclose(ours.reduce(longer, 7).embeds, 3 * ours.reduce(clip, 7).embeds, atol=1e-4)
    assert torch.allclose(theirs.reduce(longer, 7).embeds, theirs.reduce(clip, 7).embeds, atol=1e-5)
    assert float(theirs.reduce(clip, 7).embeds.norm(dim=1).max()) <= 1 + 1e-5


@pytest.mark.parametrize("groups", [3, 9, 26])
def test_adaptive_length_follows_the_video_and_the_published_elbow_does_not(groups: int) -> None:
    clip, _ = planted(groups)
    assert len(VQToken(length="adaptive", distortion=0.005).reduce(clip, 32).embeds) == groups
    theirs = len(VQToken(length="adaptive", as_published=True).reduce(clip, 32).embeds)
    assert theirs <= 22
    assert theirs != groups


def test_the_adaptive_fit_keeps_its_promise() -> None:
    units = normalize(camera(9, (4, 4), seed=2).flat, dim=1)
    start = kmeans.spread(units, 60)
    found = fewest(lambda k: kmeans.fit(units, start[:k], 50, 1e-4), units, len(start), 0.02)
    means = normalize(found.means(units), dim=1)
    assert float((1 - (units * means[found.labels]).sum(1)).mean()) <= 0.02
    assert 1 < len(found.centres) < 60


def test_a_start_repeats_no_token_and_is_the_beginning_of_a_longer_one() -> None:
    units = normalize(camera(5, (3, 5), seed=1).flat, dim=1)
    start = kmeans.spread(units, 40)
    assert len(start.unique()) == 40
    assert torch.equal(kmeans.spread(units, 12), start[:12])
    twins = units[:4].repeat(5, 1)
    assert len(kmeans.spread(twins, 20)) == 4


def test_a_cluster_without_members_keeps_its_centre() -> None:
    units = normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), dim=1)
    found = kmeans.fit(units, torch.tensor([0, 1, 2]), 50, 1e-4)  # the second is a twin and never the nearest
    assert found.members.tolist() == [2, 0, 1]
    assert torch.equal(found.centres[1], units[1])
    assert torch.equal(found.means(units)[1], torch.zeros(2))


def test_the_published_lot_is_the_same_from_the_same_seed_alone() -> None:
    clip, _ = planted(25)
    first = VQToken(as_published=True).reduce(clip, 12)
    torch.manual_seed(99)
    assert torch.equal(VQToken(as_published=True).reduce(clip, 12).owners, first.owners)
    assert not torch.equal(VQToken(as_published=True, seed=1).reduce(clip, 12).owners, first.owners)


def test_the_published_elbow_reads_its_curve_as_if_it_began_at_two() -> None:
    curve = [100.0 - 10 * k for k in range(8)] + [29.0 - 0.1 * k for k in range(13)]  # bends at the eighth, K = 19
    assert published_elbow(curve) == 12
    assert published_elbow([*([50.0] * 18), 40.0, 40.0, 40.0]) == 21
    with pytest.raises(ValueError, match="three numbers"):
        published_elbow([2.0, 1.0])


@pytest.mark.parametrize(("tokens", "answer"), [(49, 16), (50, 12), (300, 12)])
def test_the_published_silhouette_says_the_same_of_every_video(tokens: int, answer: int) -> None:
    units = normalize(torch.randn(tokens, 8, generator=torch.Generator().manual_seed(tokens)), dim=1)
    assert published_silhouette(units) == answer


@pytest.mark.parametrize("frames", [1, 3, 5, 8, 13])
def test_attention_gives_a_row_per_code_and_follows_their_numbers(frames: int) -> None:
    torch.manual_seed(frames)
    labels, codes = torch.randint(0, 6, (frames, 10)), torch.randn(6, 16)
    names = torch.randperm(6)
    renamed = torch.empty_like(codes).index_copy_(0, names, codes)
    with torch.no_grad():
        ours = VQAttention(10, 16, 4).eval()
        plain, moved = ours(labels, codes), ours(names[labels], renamed)
        theirs = VQAttention(10, 16, 4, as_published=True).eval()
        theirs.load_state_dict(ours.state_dict())
        published = theirs(labels, codes)
        numbered = theirs(names[labels], renamed)
    assert plain.shape == (6, 16)
    assert torch.allclose(moved[names], plain, atol=1e-5)
    assert published.shape == (max(frames, 6), 16)
    assert not torch.allclose(numbered, published, atol=1e-3)
