"""Density peaks: tokens with many near neighbours, and far from any token that has more, stand for those around them.

Source: Rodriguez and Laio 2014, with k nearest neighbours as HoliTom (arXiv 2505.21334) and others use it. `B` sets of
`n` tokens at once. Nothing is drawn by lot: of tokens of equal density the first counts as the denser one, so that of
equal tokens only the first can be a centre early. Densities and scores are logarithms: far tokens keep their order
where `exp` would say 0 to all of them. Published code adds random noise up to 1e-6 to the densities instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """How much each token is a peak."""

    density: Tensor  # (B, n) float64: log of exp(-mean squared distance to the k nearest, itself included)
    delta: Tensor  # (B, n) float64: distance to the nearest denser token; of the densest, the largest of its set

    @property
    def score(self) -> Tensor:
        """(B, n) float64: log(density * delta); minus infinity for a twin of a denser token."""
        return self.density + self.delta.log()

    def centres(self, count: int) -> Tensor:
        """(B, count) int64: the highest scores first; of equal scores the first token."""
        return self.score.argsort(dim=1, descending=True, stable=True)[:, :count]


def distances(tokens: Tensor, places: Tensor | None = None, spatial_weight: float = 0.0) -> Tensor:
    """(B, n, n) float64: Euclidean distance of tokens (B, n, D) over the root of D, the same in both directions.

    `spatial_weight` is added per cell of distance between `places` (n, 2) or (B, n, 2), so that groups stay local, as
    AiluRus (arXiv 2311.01197) has it; its code was never released, so the form of the term is ours.
    """
    far: Tensor = _euclidean(tokens) / float(tokens.shape[2]) ** 0.5
    if places is not None and spatial_weight:
        far = far + spatial_weight * _euclidean(places if places.dim() == 3 else places[None])
    return far


def peaks(far: Tensor, neighbours: int) -> Peaks:
    """Peaks from distances (B, n, n); `neighbours` includes the token itself and is at most n."""
    count = far.shape[1]
    nearest = far.topk(min(neighbours, count), dim=2, largest=False, sorted=True).values
    density = -nearest.square().mean(2)
    rank = density.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    denser = rank[:, None, :] < rank[:, :, None]
    delta = far.masked_fill(~denser, torch.inf).amin(2)
    return Peaks(density, torch.where(rank == 0, far.amax((1, 2))[:, None], delta))


def nearest_centre(far: Tensor, centres: Tensor) -> Tensor:
    """(B, n) int64: place within `centres` (B, c) of the nearest one, the first of equals; a centre is its own."""
    count = centres.shape[1]
    labels = far.gather(2, centres[:, None, :].expand(-1, far.shape[1], -1)).argmin(2)
    return labels.scatter(1, centres, torch.arange(count, device=far.device).expand(len(far), -1))


def merge(tokens: Tensor, centres: Tensor, labels: Tensor, beta: float | None) -> Tensor:
    """(B, c, D): `beta` of a centre and the rest from the mean of its other members; None: the mean of all of them.

    A centre without other members stays as it is.
    """
    width = tokens.shape[2]
    centre = tokens.gather(1, centres[..., None].expand(-1, -1, width))
    others = torch.ones_like(tokens[..., 0]).scatter(1, centres, 0.0)
    counts = torch.zeros_like(centre[..., 0]).scatter_add(1, labels, others)[..., None]
    total = torch.zeros_like(centre).scatter_add(1, labels[..., None].expand(-1, -1, width), tokens * others[..., None])
    if beta is None:
        return (centre + total) / (counts + 1)
    mixed = beta * centre + (1 - beta) * total / counts.clamp_min(1)
    return torch.where(counts > 0, mixed, centre)


def _euclidean(x: Tensor) -> Tensor:
    # Differences, not products: those are exactly 0 for equal tokens and the same from either side.
    x = x.double()
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
