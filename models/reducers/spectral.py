"""Spectral clustering: tokens that hang together in a graph of likeness share a cluster, however long its shape.

Source: CenterCLIP (arXiv 2205.00823), with Ng, Jordan and Weiss' normalised Laplacian.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.functional import normalize

from models.reducers.kmedoids import KMedoids, Medoids, distances

if TYPE_CHECKING:
    from torch import Tensor

Graph = Literal["HeatKernel", "KNN"]


@dataclass(frozen=True, slots=True)
class Spectral:
    """The knobs, with their published defaults."""

    graph: Graph = "HeatKernel"  # every pair is linked; "KNN": a pair is, if either is among the other's strongest
    knn_k: int = 10  # links that "KNN" gives a token, one to itself included
    sigma: float = 2.0  # distance at which likeness is exp(-1/2)
    norm_p: float = 2.0  # exponent of the distance
    pre_norm: bool = False  # tokens get unit length first
    medoids: KMedoids = field(default_factory=KMedoids)  # finds the clusters among the tokens' places in the graph

    def fit(self, x: Tensor, clusters: int, mass: Tensor | None = None, allowed: Tensor | None = None) -> Medoids:
        """Medoids of (B, n, D) tokens, as `KMedoids.fit`; `allowed` (n, n) or (B, n, n): which pairs may be linked.

        The K smoothest functions on the graph (eigenvectors of least eigenvalue) give each token K coordinates, which
        get unit length; medoids are found among these. All are equally long, so the first pick is the token most in
        the middle of the graph (highest degree), and not the one that rounding makes longest, as in the published code.
        """
        links = self.affinity(x, allowed)
        _, vectors = torch.linalg.eigh(laplacian(links))
        places = normalize(vectors[:, :, :clusters], dim=2)
        return self.medoids.fit(places, clusters, mass, first=links.sum(2).argmax(1))

    def affinity(self, x: Tensor, allowed: Tensor | None = None) -> Tensor:
        """(B, n, n) float64 likeness of each pair of (B, n, D), 1 for a token and itself, 0 where there is no link."""
        links = torch.exp(
            -distances(x, "euclidean", self.norm_p, pre_norm=self.pre_norm).square() / (2 * self.sigma**2)
        )
        if self.graph == "KNN":
            strongest = links.topk(min(self.knn_k, links.shape[2]), dim=2).indices
            mine = torch.zeros_like(links).scatter_(2, strongest, 1.0)
            links = links * torch.maximum(mine, mine.mT)
        return links if allowed is None else links * allowed.to(links.dtype)


def laplacian(links: Tensor) -> Tensor:
    """(B, n, n) symmetric normalised Laplacian: the identity minus each link over the root of both degrees."""
    scale = links.sum(2).clamp_min(1e-12).rsqrt()
    identity = torch.eye(links.shape[1], dtype=links.dtype, device=links.device)
    return identity - scale[:, :, None] * links * scale[:, None]
