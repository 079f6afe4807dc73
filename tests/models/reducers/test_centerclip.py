"""CenterCLIP: medoids per segment, by distance or by graph; nothing by chance, nothing lost."""

from __future__ import annotations

import pytest
import torch

from models.reducers.centerclip import CenterClip, tower_tokens
from models.reducers.clip import Clip
from models.reducers.kmedoids import KMedoids
from models.reducers.spectral import Spectral
from tests.models.reducers.clips import camera


def part(clip: Clip, begin: int, end: int) -> Clip:
    return Clip(clip.embeds[begin:end], clip.grid, clip.times_s[begin:end])


def test_every_point_is_with_its_nearest_medoid_and_every_medoid_is_the_middle_of_its_cluster() -> None:
    x = torch.randn(5, 30, 8, generator=torch.Generator().manual_seed(1))
    found = KMedoids().fit(x, 6)
    apart = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    for b in range(5):
        assert torch.equal(found.at[b], found.at[b].sort().values)
        assert torch.equal(apart[b][:, found.at[b]].argmin(1), found.labels[b])
        for k in range(6):
            inside = (found.labels[b] == k).nonzero()[:, 0]
            cost = apart[b][inside][:, inside].sum(1)
            mine = cost[inside == found.at[b, k]]
            assert float(mine) <= float(cost.min()) + 1e-5


@pytest.mark.parametrize("count", [1, 4, 9, 20])
def test_medoids_are_different_tokens_even_among_twins(count: int) -> None:
    x = torch.ones(1, 9, 4)
    found = KMedoids().fit(x, count)
    assert len(found.at[0].unique()) == min(count, 9)
    assert len(found.labels[0].unique()) == min(count, 9)


def test_a_heavy_token_draws_the_medoid_to_itself() -> None:
    x = torch.tensor([[[0.0], [1.0], [2.0], [3.0], [4.0]]])
    assert KMedoids().fit(x, 1).at.tolist() == [[2]]
    assert KMedoids().fit(x, 1, torch.tensor([[1.0, 1.0, 1.0, 1.0, 9.0]])).at.tolist() == [[4]]


def test_the_first_pick_is_the_longest_before_lengths_are_made_equal() -> None:
    x = torch.randn(3, 40, 8, generator=torch.Generator().manual_seed(2))
    assert torch.equal(KMedoids(pre_norm=True).fit(x, 4).start[:, 0], x.norm(dim=2).argmax(1))
    assert not torch.equal(KMedoids(pre_norm=True).fit(x, 4).start, KMedoids().fit(x, 4).start)


def test_what_is_split_or_not_comes_to_the_same() -> None:
    x = torch.randn(7, 25, 6, generator=torch.Generator().manual_seed(3))
    alone, together = KMedoids(split_size=1).fit(x, 5), KMedoids(split_size=7).fit(x, 5)
    assert torch.equal(alone.at, together.at) and torch.equal(alone.labels, together.labels)


def test_a_graph_finds_rings_that_distance_cuts() -> None:
    angle = torch.arange(40) * (2 * torch.pi / 40)
    ring = torch.stack([angle.cos(), angle.sin()], dim=1)
    x, inner = torch.cat([ring, ring * 4])[None], torch.arange(80) < 40
    by_graph = Spectral("KNN", knn_k=5, sigma=0.5).fit(x, 2).labels[0]
    assert len(by_graph[inner].unique()) == len(by_graph[~inner].unique()) == 1
    assert by_graph[0] != by_graph[-1]
    by_distance = KMedoids().fit(x, 2).labels[0]
    assert len(by_distance[~inner].unique()) == 2


def test_forbidden_pairs_are_no_links() -> None:
    x = torch.randn(1, 12, 4, generator=torch.Generator().manual_seed(4))
    half = torch.arange(12) < 6
    allowed = half[:, None] == half
    assert float(Spectral().affinity(x, allowed)[0][~allowed].abs().max()) == 0
    labels = Spectral().fit(x, 2, allowed=allowed).labels[0]
    assert len(labels[half].unique()) == len(labels[~half].unique()) == 1
    assert labels[0] != labels[-1]


@pytest.mark.parametrize("algorithm", ["kmedoids", "spectral"])
def test_segments_closed_one_by_one_are_the_whole_clip(algorithm: str) -> None:
    clip = camera(9, (4, 4), seed=5)
    method = CenterClip(algorithm="spectral" if algorithm == "spectral" else "kmedoids")
    whole = method.reduce(clip, 30)
    parts = [method.reduce(part(clip, t, t + 3), 10) for t in (0, 3, 6)]
    assert torch.equal(whole.embeds, torch.cat([each.embeds for each in parts]))
    assert torch.equal(whole.owners, torch.cat([each.owners + 10 * i for i, each in enumerate(parts)]))
    assert torch.equal(whole.sources, torch.cat([each.sources + 48 * i for i, each in enumerate(parts)]))


def test_rows_are_tokens_or_means_of_the_same_clusters() -> None:
    clip = camera(9, (4, 4), seed=6)
    medoids, means = CenterClip().reduce(clip, 30), CenterClip(aggregation="means").reduce(clip, 30)
    assert torch.equal(medoids.embeds, clip.flat[medoids.sources])
    assert torch.equal(medoids.owners, means.owners)
    assert torch.allclose(means.embeds[7], clip.flat[means.owners == 7].mean(0), atol=1e-6)
    assert float(medoids.mass.sum()) == float(means.mass.sum()) == 9 * 16


@pytest.mark.parametrize(("rows", "segments", "each"), [(500, 6, 48), (48, 6, 8), (47, 5, 9), (8, 1, 8), (1, 1, 1)])
def test_few_rows_make_clusters_fewer_and_then_segments_longer(rows: int, segments: int, each: int) -> None:
    clip = camera(18, (4, 4), seed=7)
    found = CenterClip().reduce(clip, rows)
    assert len(found.embeds) == segments * each
    frame_of = torch.arange(18).repeat_interleave(16)
    segment = frame_of * segments // 18
    assert all(len(segment[found.owners == row].unique()) == 1 for row in range(len(found.embeds)))


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
def test_short_clips(frames: int) -> None:
    clip = camera(frames, (2, 3), seed=frames)
    for rows in (1, 5, 100):
        found = CenterClip().reduce(clip, rows)
        assert 1 <= len(found.embeds) <= min(rows, frames * 6)
        assert float(found.mass.sum()) == frames * 6


def test_a_tower_wants_equal_segments() -> None:
    with pytest.raises(ValueError, match="equal segments"):
        tower_tokens(torch.randn(5, 7, 4), 1, 2, 2, KMedoids(), "medoids")
