"""K-medoids: clusters whose centre is one of their tokens, as it is. All of it is without chance.

Source: CenterCLIP (arXiv 2205.00823), "k-medoids++": the start is Katsavounidis, Kuo and Zhang's, the longest token and
then always the one farthest from all picks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.functional import normalize, one_hot

if TYPE_CHECKING:
    from torch import Tensor

Distance = Literal["euclidean", "cosine"]


@dataclass(frozen=True, slots=True, eq=False)
class Medoids:
    """K clusters of n tokens, B times; clusters are numbered by the place of their medoids."""

    at: Tensor  # (B, K) int64: medoids, ascending
    labels: Tensor  # (B, n) int64: number of the nearest medoid, the lowest where equal
    start: Tensor  # (B, K) int64: where the search began, in the order of picking


@dataclass(frozen=True, slots=True)
class KMedoids:
    """The knobs, with their published defaults."""

    distance: Distance = "euclidean"
    norm_p: float = 2.0  # exponent of a distance of the Euclidean type
    pre_norm: bool = False  # tokens get unit length first
    threshold: float = 1e-6  # medoids that move less than this altogether have arrived
    rounds: int = 100
    split_size: int = 4  # so many of a batch end together, when their mean movement is below the threshold

    def fit(self, x: Tensor, clusters: int, mass: Tensor | None = None, first: Tensor | None = None) -> Medoids:
        """Medoids of (B, n, D) tokens: `clusters` of them, or n where there are no more tokens.

        `mass` (B, n): how much a token counts in the choice of a medoid, 1 each where it is not given. `first` (B,)
        int64: the first pick, the longest token where it is not given; with `pre_norm` that is the one longest before,
        so that it is no matter of rounding, as it is in the published code. No token is picked twice, twins or not.
        """
        mass = torch.ones_like(x[..., 0]) if mass is None else mass
        first = x.norm(dim=2).argmax(1) if first is None else first
        parts = zip(*(each.split(self.split_size) for each in (x, mass, first)), strict=True)
        found = [self._fit(points, min(clusters, x.shape[1]), weights, begin) for points, weights, begin in parts]
        return Medoids(*(torch.cat([getattr(part, name) for part in found]) for name in ("at", "labels", "start")))

    def _fit(self, x: Tensor, clusters: int, mass: Tensor, first: Tensor) -> Medoids:
        apart = distances(x, self.distance, self.norm_p, pre_norm=self.pre_norm)
        # a point is nearer to itself than even to its twins, so a medoid stays in its own cluster
        apart.diagonal(dim1=1, dim2=2).sub_(1.0)
        start = _farthest(apart, first, clusters)
        medoids = start
        for _ in range(self.rounds):
            moved = _central(apart, _nearest(apart, medoids), clusters, mass.to(apart.dtype))
            movement = (rows_at(x, moved) - rows_at(x, medoids)).norm(p=self.norm_p, dim=2).sum(1).mean()
            medoids = moved
            if float(movement) < self.threshold:
                break
        medoids = medoids.sort(dim=1).values
        return Medoids(medoids, _nearest(apart, medoids), start)


def distances(x: Tensor, distance: Distance, norm_p: float, *, pre_norm: bool) -> Tensor:
    """(B, n, n) float64 between all pairs of (B, n, D), exactly symmetric, so that two alone in a cluster are equal."""
    points = x.double()
    if pre_norm:
        points = normalize(points, dim=2)
    if distance == "cosine":
        units = normalize(points, dim=2)
        apart = 1 - units @ units.mT
    elif norm_p == 2.0:
        squares = points.square().sum(2)
        apart = (squares[:, :, None] + squares[:, None] - 2 * (points @ points.mT)).clamp_min(0).sqrt()
    else:
        apart = torch.cdist(points, points, norm_p)
    apart = (apart + apart.mT) / 2
    apart.diagonal(dim1=1, dim2=2).zero_()
    return apart


def _farthest(apart: Tensor, first: Tensor, count: int) -> Tensor:
    """(B, count) int64: always the point farthest from its nearest pick, the earliest where equal."""
    picks = [first]
    nearest = _column(apart, first)
    while len(picks) < count:
        picks.append(nearest.argmax(1))
        nearest = torch.minimum(nearest, _column(apart, picks[-1]))
    return torch.stack(picks, dim=1)


def _column(apart: Tensor, at: Tensor) -> Tensor:
    return apart.gather(1, at[:, None, None].expand(-1, 1, apart.shape[2]))[:, 0]


def _nearest(apart: Tensor, medoids: Tensor) -> Tensor:
    """(B, n) int64: the number of each point's nearest medoid."""
    return apart.gather(1, medoids[..., None].expand(-1, -1, apart.shape[2])).argmin(1)


def _central(apart: Tensor, labels: Tensor, clusters: int, mass: Tensor) -> Tensor:
    """(B, K) int64: the member with the least distance to all members; the first point where there is no member."""
    members = one_hot(labels, clusters).to(apart.dtype)  # (B, n, K)
    sums = apart @ (members * mass[..., None])  # (B, n, K) distance of each point to each cluster's members
    return torch.where(members > 0, sums, float("inf")).argmin(1)


def rows_at(x: Tensor, at: Tensor) -> Tensor:
    """(B, n, D) at places (B, K): (B, K, D)."""
    return x.gather(1, at[..., None].expand(-1, -1, x.shape[2]))
