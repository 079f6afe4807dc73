"""Tokens that hang together are one row; no token is lost; the budget moves the threshold."""

from __future__ import annotations

import math
from collections import deque

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from models.reducers import scissor_components as graph
from models.reducers.clip import Clip
from models.reducers.scissor import Scissor, assign, connected, two_steps
from tests.models.reducers.clips import camera, with_embeds


def walked(count: int, links: Tensor) -> list[int]:
    """The lowest node that each is connected to, by walking."""
    beside: list[set[int]] = [set() for _ in range(count)]
    for a, b in links.T.tolist():
        beside[a].add(b)
        beside[b].add(a)
    labels = [-1] * count
    for start in range(count):
        queue = deque([start] if labels[start] < 0 else [])
        while queue:
            node = queue.popleft()
            if labels[node] < 0:
                labels[node] = start
                queue.extend(beside[node])
    return labels


@pytest.mark.parametrize("seed", range(20))
def test_components_are_those_of_a_walk(seed: int) -> None:
    coin = torch.Generator().manual_seed(seed)
    links = torch.randint(0, 80, (2, 10 + 6 * seed), generator=coin)
    assert graph.components(80, links).tolist() == walked(80, links)


def test_a_long_chain_is_one_component_and_the_released_code_loses_some_of_it() -> None:
    order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    links = torch.stack([order[:-1], order[1:]])
    assert graph.components(500, links).tolist() == [0] * 500
    adjacent = torch.eye(500, dtype=torch.bool)
    adjacent[links[0], links[1]] = adjacent[links[1], links[0]] = True
    drawn = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    published = graph.as_published(adjacent, drawn)
    assert int((published < 0).sum()) > 0
    assert len(published[published >= 0].unique()) == 1


def test_only_sampled_nodes_are_asked_and_the_lot_is_a_fixed_one() -> None:
    assert graph.sample_size(3233, 0.05) == 3233 == graph.sample_size(3234, 0.05)
    nodes = graph.sampled(60, 0.3, seed=0)
    assert torch.equal(nodes, graph.sampled(60, 0.3, seed=0)) and len(nodes) == 46 == len(nodes.unique())
    assert not torch.equal(nodes, graph.sampled(60, 0.3, seed=1))
    units = normalize(torch.randn(1, 60, 4, generator=torch.Generator().manual_seed(3)), dim=2)
    links = graph.edges(units, nodes, 0.8)
    assert set(links[0].tolist()) == set(nodes.tolist())
    alike = units[0] @ units[0].T > 0.8
    assert links.shape[1] == int(alike[nodes].sum())
    assert connected(units, 0.8, 0.3, 0)[0].amax() > connected(units, 0.8, 0.05, 0)[0].amax()


def test_frames_one_by_one_are_the_frames_together() -> None:
    units = normalize(camera(9, (4, 4), seed=2).embeds, dim=2)
    together = connected(units, 0.9, 0.05, 0)
    assert torch.equal(together, torch.cat([connected(frame[None], 0.9, 0.05, 0) for frame in units]))
    assert bool((together[:, 0] == 0).all())


def test_similarities_are_held_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    units = normalize(camera(5, (4, 4), seed=2).embeds, dim=2)
    nodes = graph.sampled(16, 0.05, 0)
    whole = graph.edges(units, nodes, 0.7)
    for held in (1, 100, 600):
        monkeypatch.setattr(graph, "HELD", held)
        parts = graph.edges(units, nodes, 0.7)
        assert {tuple(pair) for pair in parts.T.tolist()} == {tuple(pair) for pair in whole.T.tolist()}


def test_each_row_is_the_mean_of_its_tokens_and_of_what_it_was() -> None:
    flat = normalize(torch.randn(30, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    before = flat[[0, 10, 20]] + 0.1
    owners, rows = assign(flat, before)
    for row in range(3):
        mine = flat[owners == row]
        assert torch.allclose(rows[row], (mine.sum(0) + before[row]) / (len(mine) + 1))


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("rows", [1, 2, 7, 30, 500])
def test_no_budget_is_exceeded_and_no_token_lost(frames: int, rows: int) -> None:
    clip = camera(frames, (3, 5), seed=frames)
    found = Scissor().reduce(clip, rows)
    assert len(found.embeds) <= rows
    assert float(found.mass.sum()) == len(clip.flat)
    assert found.sources.tolist() == sorted(found.sources.tolist())


def test_the_budget_moves_the_threshold() -> None:
    clip = camera(8, (4, 4), seed=1)
    counts = [len(Scissor(tau=tau, fill=False).reduce(clip, 128).embeds) for tau in (-0.5, 0.9, 0.995)]
    assert counts == sorted(counts) and counts[0] < counts[1] < counts[2]
    assert len(Scissor().reduce(clip, 60).embeds) > counts[1], "rows that are left raise the threshold"
    assert len(Scissor().reduce(clip, 4).embeds) == 4 < counts[1]


def test_a_scene_that_comes_back_is_one_row() -> None:
    there, gone = torch.eye(8)[0], torch.eye(8)[1]
    embeds = torch.stack([there.expand(4, 8), gone.expand(4, 8), there.expand(4, 8)])
    found = Scissor(fill=False).reduce(Clip(embeds, (2, 2), torch.arange(3.0)), 12)
    assert found.owners.tolist() == [0] * 4 + [1] * 4 + [0] * 4
    assert torch.equal(found.embeds, torch.stack([there, gone]))


def test_a_row_that_no_token_chose_is_left_out() -> None:
    # A ring hangs together, and its mean is in its hollow middle; each of it is nearer to one of those around it.
    clip = Clip(torch.cat([around(50, 24), around(80, 12)])[None], (6, 6), torch.zeros(1))
    found = two_steps(clip.embeds, lambda units: connected(units, 0.9, 0.05, 0))
    assert len(found.second) == 13
    reduced = Scissor(fill=False).reduce(clip, 36)
    assert len(reduced.embeds) == 12 and bool((reduced.mass >= 2).all())


def around(degrees: float, count: int) -> Tensor:
    """Unit vectors at an angle from the first axis, all around it."""
    turns, off = torch.arange(count) * math.tau / count, torch.tensor(math.radians(degrees))
    return torch.stack([off.cos().expand(count), off.sin() * turns.cos(), off.sin() * turns.sin()], 1)


def test_the_order_of_cells_and_of_frames_does_not_matter() -> None:
    clip = camera(6, (3, 4), seed=3)
    coin = torch.Generator().manual_seed(0)
    cells, frames = torch.randperm(12, generator=coin), torch.randperm(6, generator=coin)
    for other in (with_embeds(clip, clip.embeds[:, cells]), with_embeds(clip, clip.embeds[frames])):
        mine, theirs = (Scissor().reduce(one, 9).embeds for one in (clip, other))
        assert torch.cdist(mine, theirs).amin(1).max() < 1e-4 and len(mine) == len(theirs)


def test_as_published_rows_come_by_their_hubs() -> None:
    labels = graph.by_hub(torch.tensor([0, 1, 0, 1, -1, 0]), torch.tensor([1, 3, 2, 2, 9, 3]))
    assert labels.tolist() == [1, 0, 1, 0, -1, 1], "hub of the first is node 5, of the second node 1"
    clip = camera(8, (4, 4), seed=1)
    found, ours = Scissor(as_published=True).reduce(clip, 9), Scissor().reduce(clip, 9)
    assert found.sources.tolist() != sorted(found.sources.tolist())
    assert set(found.sources.tolist()) == set(ours.sources.tolist()), "the same components, in another order"
