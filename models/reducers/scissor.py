"""LLaVA-Scissor: tokens that hang together by likeness are one row, in each frame and then over all frames.

Source: LLaVA-Scissor (arXiv 2506.21862), semantic connected components in two steps, and a last step in which every
token joins the row most like it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from models.reducers import scissor_components as graph
from models.reducers.clip import Clip, Reduced

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Connect = Callable[[Tensor], Tensor]  # unit vectors of B graphs (B, n, D) to (B, n): from 0 in each graph, or -1

ALL_ARE_ONE = -1.1  # every cosine is above
HALVINGS = 14


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """What each step found; T frames of N tokens."""

    within: Tensor  # (T, N) component of a token in its frame
    first: Tensor  # (M, D) means of the components of all frames, frame after frame
    across: Tensor  # (M,) component of these means
    second: Tensor  # (R, D) means of the means


def two_steps(embeds: Tensor, connect: Connect) -> Steps:
    """Components within each frame of (T, N, D), then over all; frames are independent of each other until then."""
    within = connect(normalize(embeds, dim=2))
    first = _means(embeds, within)
    across = connect(normalize(first, dim=1)[None])
    return Steps(within, first, across[0], _means(first[None], across))


def assign(flat: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Every token of (n, D) to the most similar row of (R, D): owners (n,), and what the rows become (R, D).

    A row is the mean of its tokens and of what it was before, which counts as one of them.
    """
    owners = (normalize(flat, dim=1) @ normalize(rows, dim=1).T).argmax(1)
    counts = torch.bincount(owners, minlength=len(rows)).to(flat.dtype)
    return owners, rows.index_add(0, owners, flat) / (counts + 1)[:, None]


@dataclass(frozen=True, slots=True)
class Scissor:
    """Semantic connected components: few rows where much is alike, many where little is.

    `tau`: similarity above which two tokens are linked (published 0.9, in code 0.95). With `fill` it is raised where
    rows are left. A clip is a closed segment; its frames could be taken one by one, up to the second step.
    Differs from the released code: no node is lost to a tree that is too deep, nodes are drawn by a seeded lot (and
    only where a frame has over 3000), rows come by place, and a row that no token chose in the end is left out.
    `as_published`: nodes may be lost, rows come by the hub of their component.
    """

    tau: float = 0.9
    epsilon: float = 0.05
    fill: bool = True
    seed: int = 0
    as_published: bool = False

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """At most `rows` rows: as many as the highest `tau` found by bisection gives without being more than that.

        Lower than some similarity everything is connected, so that one row is always possible.
        """
        embeds = clip.embeds.contiguous()
        found = self._fitting(embeds, rows)
        owners, means = assign(embeds.flatten(0, 1), found.second)
        chosen, owners = owners.unique(return_inverse=True)
        first = torch.full((len(chosen),), len(owners)).scatter_reduce_(0, owners, torch.arange(len(owners)), "amin")
        reduced = Reduced(means[chosen], owners, first)
        return reduced if self.as_published else reduced.in_order()

    def _fitting(self, embeds: Tensor, rows: int) -> Steps:
        most = min(rows, embeds.shape[0] * embeds.shape[1])
        best = self._steps(embeds, self.tau)
        low, high = self.tau, 1.0
        if len(best.second) > most:
            low, high = ALL_ARE_ONE, self.tau
            best = self._steps(embeds, low)
        elif not self.fill:
            return best
        for _ in range(HALVINGS):
            if len(best.second) == most:
                break
            middle = (low + high) / 2
            found = self._steps(embeds, middle)
            if len(found.second) <= most:
                low, best = middle, found
            else:
                high = middle
        return best

    def _steps(self, embeds: Tensor, tau: float) -> Steps:
        connect = published_components if self.as_published else connected
        return two_steps(embeds, partial(connect, tau=tau, epsilon=self.epsilon, seed=self.seed))


def connected(units: Tensor, tau: float, epsilon: float, seed: int) -> Tensor:
    """Components of B graphs (B, n, D), in each numbered by their first token."""
    graphs, count = units.shape[:2]
    nodes = graph.sampled(count, epsilon, seed)
    lowest = graph.components(graphs * count, graph.edges(units, nodes, tau))
    labels: Tensor = lowest.unique(return_inverse=True)[1].view(graphs, count)
    return labels - labels[:, :1]  # a graph's first token is in its first component


def published_components(units: Tensor, tau: float, epsilon: float, seed: int) -> Tensor:
    """Components of (B, n, D) as the released code has them, but for its lot, which is not seeded."""
    coin = torch.Generator().manual_seed(seed)
    size = graph.sample_size(units.shape[1], epsilon)
    lots = [torch.randperm(units.shape[1], generator=coin)[:size] for _ in units]
    return torch.stack([linked_as_published(some, tau, lot) for some, lot in zip(units, lots, strict=True)])


def linked_as_published(units: Tensor, tau: float, nodes: Tensor) -> Tensor:
    """Components of (n, D) in the order of their hubs; -1 for the nodes that the released code loses."""
    adjacent = units @ units.T > tau
    return graph.by_hub(graph.as_published(adjacent, nodes), adjacent.sum(1))


def _means(tokens: Tensor, labels: Tensor) -> Tensor:
    """Of the components (B, n) of B graphs (B, n, D): (M, D), graph after graph."""
    counts = labels.amax(1) + 1
    numbered = labels + (counts.cumsum(0) - counts)[:, None]
    held = labels >= 0
    total = tokens.new_zeros(int(counts.sum()), tokens.shape[2]).index_add_(0, numbered[held], tokens[held])
    return total / torch.bincount(numbered[held], minlength=len(total)).to(tokens.dtype)[:, None]
