"""Density peaks by the definition, in plain loops, and what must hold for tokens that are equal, alone or far apart."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.reducers.density_peaks import distances, merge, nearest_centre, peaks

usual = settings(max_examples=40, derandomize=True, deadline=None, database=None)


class Plain(NamedTuple):
    """One set, token by token."""

    density: list[float]
    delta: list[float]


def plain(tokens: Tensor, neighbours: int) -> Plain:
    """(n, D) by the formulas."""
    rows = [[math.dist(a, b) / len(a) ** 0.5 for b in tokens.tolist()] for a in tokens.tolist()]
    near = [sorted(row)[:neighbours] for row in rows]
    density = [math.exp(-sum(d * d for d in row) / len(row)) for row in near]
    denser = [
        [j for j in range(len(rows)) if (-density[j], j) < (-density[i], i)]  # of equal ones the first
        for i in range(len(rows))
    ]
    most = max(max(row) for row in rows)
    delta = [min((rows[i][j] for j in denser[i]), default=most) for i in range(len(rows))]
    return Plain(density, delta)


def noise(sets: int, count: int, width: int, seed: int) -> Tensor:
    return torch.randn(sets, count, width, generator=torch.Generator().manual_seed(seed))


@usual
@given(st.integers(1, 12), st.integers(1, 9), st.integers(1, 9), st.integers(0, 999))
def test_peaks_are_those_of_the_formulas(count: int, width: int, neighbours: int, seed: int) -> None:
    tokens = noise(2, count, width, seed)
    found = peaks(distances(tokens), neighbours)
    for number, one in enumerate(tokens):
        wanted = plain(one, min(neighbours, count))
        assert torch.allclose(found.density[number].exp(), torch.tensor(wanted.density, dtype=torch.float64))
        assert torch.allclose(found.delta[number], torch.tensor(wanted.delta, dtype=torch.float64))
    score = found.density.exp() * found.delta
    assert torch.allclose(found.score.exp(), score)
    chosen = found.centres(count)
    assert torch.equal(chosen.sort(1).values, torch.arange(count).expand(2, -1))
    assert bool((score.gather(1, chosen).diff(dim=1) <= 1e-12).all())


@usual
@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([None, 0.6, 1.0]), st.integers(0, 999))
def test_members_join_the_nearest_centre_and_are_blended(n: int, c: int, beta: float | None, seed: int) -> None:
    tokens = noise(2, n, 5, seed)
    far = distances(tokens)
    centres = peaks(far, 3).centres(min(c, n))
    labels = nearest_centre(far, centres)
    rows = merge(tokens, centres, labels, beta)
    for number in range(2):
        for place, centre in enumerate(centres[number].tolist()):
            members = [i for i in range(n) if labels[number, i] == place]
            assert centre in members
            others = tokens[number, [i for i in members if i != centre]]
            wanted = tokens[number, centre]
            if beta is None:
                wanted = tokens[number, members].mean(0)
            elif len(others):
                wanted = beta * wanted + (1 - beta) * others.mean(0)
            assert torch.allclose(rows[number, place], wanted, atol=1e-6)
        nearest = far[number][:, centres[number]].min(1).values
        assert torch.allclose(far[number].gather(1, centres[number][labels[number], None])[:, 0], nearest)


def test_of_equal_tokens_only_the_first_is_a_centre() -> None:
    three = noise(1, 3, 4, seed=1)
    tokens = three[:, [0, 1, 0, 2, 1, 0]]
    far = distances(tokens)
    found = peaks(far, 2)
    assert sorted(found.centres(3)[0].tolist()) == [0, 1, 3]
    centres = found.centres(6)  # and when all are asked for, each keeps to itself
    assert torch.equal(
        merge(tokens, centres, nearest_centre(far, centres), 0.6),
        tokens.gather(1, centres[..., None].expand(-1, -1, 4)),
    )


def test_far_tokens_keep_their_order_where_the_density_itself_is_nothing() -> None:
    tokens = torch.tensor([0.0, 1e9, 3e9, 6e9])[None, :, None]
    found = peaks(distances(tokens), 2)
    assert bool((found.density.exp() == 0).all())
    assert found.density.argsort(descending=True)[0, 0] == 0
    assert found.centres(2)[0].tolist() == [0, 1]


def test_density_peaks_find_three_heaps() -> None:
    heaps = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    truth = torch.arange(3).repeat(8)
    tokens = heaps[truth] + 0.3 * noise(1, 24, 2, seed=3)
    far = distances(tokens)
    centres = peaks(far, 5).centres(3)
    labels = nearest_centre(far, centres)[0]
    assert sorted(truth[centres[0]].tolist()) == [0, 1, 2]
    assert all(len(labels[truth == heap].unique()) == 1 for heap in range(3))


def test_with_a_spatial_weight_groups_stay_local() -> None:
    looks = noise(1, 2, 6, seed=5)
    tokens = looks[:, [0, 1, 1, 1, 1, 1, 1, 0]] + 0.01 * noise(1, 8, 6, seed=6)  # alike at both ends of a line
    places = torch.stack([torch.zeros(8), torch.arange(8.0)], 1)
    plain_far, local_far = distances(tokens), distances(tokens, places, spatial_weight=1.0)
    centres = torch.tensor([[0, 4]])
    assert nearest_centre(plain_far, centres)[0].tolist() == [0, 1, 1, 1, 1, 1, 1, 0]
    assert nearest_centre(local_far, centres)[0, 7] == 1
    assert torch.allclose(local_far, plain_far + torch.cdist(places, places).double())
    assert torch.equal(local_far, distances(tokens, places[None], spatial_weight=1.0))
    assert torch.equal(distances(tokens, places), plain_far)


@pytest.mark.parametrize("shift", [1e-20, 1.0, 1e12])
def test_distances_are_the_same_from_either_side_and_nothing_to_oneself(shift: float) -> None:
    far = distances(noise(2, 40, 7, seed=7) * shift)
    assert torch.equal(far, far.mT) and bool((far.diagonal(dim1=1, dim2=2) == 0).all())
    assert bool((far[:, ~torch.eye(40, dtype=torch.bool)] > 0).all())
