"""Which nodes of a graph hang together, from the edges of some of its nodes, and how the released code finds out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

HELD = 1 << 22  # similarities held at once


def sample_size(count: int, epsilon: float) -> int:
    """How many of `count` nodes are asked for their neighbours: ln(n) / epsilon², or all, as up to 3233 at 0.05."""
    return min(count, math.ceil(math.log(count) / epsilon**2))


def sampled(count: int, epsilon: float, seed: int) -> Tensor:
    """(m,) int64 ascending: the nodes that are asked, by a lot that depends on nothing but `count` and `seed`."""
    size = sample_size(count, epsilon)
    if size == count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:size].sort().values


def edges(units: Tensor, nodes: Tensor, tau: float) -> Tensor:
    """(2, E) int64: from a sampled node to each whose cosine with it is strictly above `tau`.

    `units` (B, n, D) are B graphs without links between them; `nodes` (m,) of each are sampled, and node i of graph b
    has number b * n + i.
    """
    graphs, count = units.shape[:2]
    step = max(1, HELD // max(1, count * len(nodes)))
    found = []
    for first in range(0, graphs, step):
        for some in nodes.split(max(1, HELD // (step * count))):
            part = units[first : first + step]
            graph, start, to = (part[:, some] @ part.mT > tau).nonzero(as_tuple=True)
            base = (graph + first) * count
            found.append(torch.stack([base + some[start], base + to]))
    return torch.cat(found, 1)


def components(count: int, links: Tensor) -> Tensor:
    """(count,) int64: the lowest node that each node is connected to, over links (2, E) in either direction.

    Labels sink: each node takes the lowest label two links around, its root with it, then its label's label.
    """
    start, to = links
    labels = torch.arange(count, device=links.device)
    while True:
        around = labels.scatter_reduce(0, start, labels[to], "amin")
        around = around.scatter_reduce(0, to, around[start], "amin")
        sunk = labels.scatter_reduce(0, labels, around, "amin").minimum(around)
        sunk = sunk[sunk]
        if torch.equal(sunk, labels):
            return labels
        labels = sunk


def by_hub(labels: Tensor, degrees: Tensor) -> Tensor:
    """The same components numbered from 0 by their node of highest degree, the first where several are; -1 stays."""
    hubs = {}
    for label in labels[labels >= 0].unique().tolist():
        members = (labels == label).nonzero()[:, 0]
        hubs[label] = int(members[degrees[members].argmax()])
    rank = {label: number for number, label in enumerate(sorted(hubs, key=hubs.__getitem__))}
    return torch.tensor([rank.get(label, -1) for label in labels.tolist()], dtype=torch.int64)


def as_published(adjacent: Tensor, nodes: Tensor) -> Tensor:
    """(n,) int64: the root of each node as the released code has it, -1 where it loses one. `adjacent` (n, n) bool.

    Union by rank, paths halved when a root is looked up. A node is then taken for a member where its parent *is* the
    root; but one look-up for each sampled node, in the order of `nodes`, does not always make a deep tree that flat.
    """
    parents, ranks = list(range(len(adjacent))), [0] * len(adjacent)
    for node in nodes.tolist():
        for other in adjacent[node].nonzero()[:, 0].tolist():
            high, low = _root(parents, node), _root(parents, other)
            if high == low:
                continue
            if ranks[high] < ranks[low]:
                high, low = low, high
            parents[low] = high
            ranks[high] += ranks[high] == ranks[low]
    for node in nodes.tolist():
        _root(parents, node)
    return torch.tensor([parent if parents[parent] == parent else -1 for parent in parents])


def _root(parents: list[int], node: int) -> int:
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node
