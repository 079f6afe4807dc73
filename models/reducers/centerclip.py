"""CenterCLIP: consecutive frames share a segment, and a segment keeps the medoids of its tokens (arXiv 2205.00823).

Published inside a text-video tower (`tower_tokens`); the reducer stands behind the projector, where all of them do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from models.reducers.clip import Clip, Reduced
from models.reducers.kmedoids import KMedoids, Medoids, rows_at
from models.reducers.spectral import Graph, Spectral

if TYPE_CHECKING:
    from torch import Tensor

Aggregation = Literal["medoids", "means"]
TOGETHER = 32  # segments clustered at once; one that has settled stays as it is while others go on


@dataclass(frozen=True, slots=True)
class CenterClip:
    """Tokens of `frames` consecutive frames are clustered together; a row is a cluster's medoid, or its mean.

    Fewer rows than `clusters` per segment: each segment has fewer clusters, down to `fewest`. Fewer still: segments
    keep `clusters` medoids, and those of neighbouring segments are clustered again, each counting for its tokens; so a
    long clip costs no more per frame than a short one. One row is the medoid of all medoids.

    A medoid is a real token, as the language model expects it, and stands for all tokens of its cluster: mass is kept
    either way. `frames` is the ratio of the paper's short films (12 frames, 4 segments); `clusters`, `sigma` and the
    knobs of `KMedoids` are published defaults. `pre_norm`, a choice in the published code, is on: behind a projector
    `sigma` means something for unit vectors only.
    """

    frames: int = 3
    clusters: int = 49
    fewest: int = 8
    algorithm: Literal["kmedoids", "spectral"] = "kmedoids"
    aggregation: Aggregation = "medoids"
    pre_norm: bool = True
    graph: Graph = "HeatKernel"
    knn_k: int = 10
    sigma: float = 2.0

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """At most `rows` rows: as many segments as there are, times as many clusters as fit."""
        frames, cells = clip.embeds.shape[:2]
        flat = clip.flat.contiguous()
        when = torch.arange(frames, device=flat.device).repeat_interleave(cells)
        at = owners = torch.arange(len(flat), device=flat.device)
        segments = -(-frames // self.frames)
        if segments > 1 and rows // segments < self.fewest:
            at, owners = self._cluster(flat, at, owners, when * segments // frames, self.clusters)
            segments = max(1, min(segments, rows // self.fewest))
        room = min(self.clusters, rows // segments)
        at, owners = self._cluster(flat, at, owners, when * segments // frames, room)
        if self.aggregation == "medoids":
            return Reduced(flat[at], owners, at)
        return Reduced(_means(flat, owners, len(at)), owners, at)

    def _cluster(
        self, flat: Tensor, at: Tensor, owners: Tensor, segment: Tensor, clusters: int
    ) -> tuple[Tensor, Tensor]:
        """One level: rows at tokens `at` (R,), owning tokens by `owners` (T*N,), become `clusters` per segment.

        Gives back both for the rows that are left; `segment` (T*N,) must not fall from one token to the next.
        """
        mass = torch.bincount(owners, minlength=len(at))
        into = torch.empty_like(at)  # the token that each row goes into
        sizes = torch.bincount(segment[at])
        for size in sizes[sizes > 0].unique().tolist():  # segments of one size are clustered side by side
            here = (sizes[segment[at]] == size).nonzero().view(-1, size)
            found = self._fit(flat[at[here]], clusters, mass[here])
            into[here] = at[here].gather(1, found.at).gather(1, found.labels)
        kept, numbered = into.unique(return_inverse=True)
        return kept, numbered[owners]

    def _fit(self, x: Tensor, clusters: int, mass: Tensor) -> Medoids:
        if self.algorithm == "kmedoids":
            return KMedoids(pre_norm=self.pre_norm, split_size=TOGETHER).fit(x, clusters, mass)
        places = KMedoids(split_size=TOGETHER)
        spectral = Spectral(self.graph, self.knn_k, self.sigma, pre_norm=self.pre_norm, medoids=places)
        return spectral.fit(x, clusters, mass)


def tower_tokens(
    x: Tensor, batch: int, segments: int, clusters: int, method: KMedoids | Spectral, aggregation: Aggregation
) -> tuple[Tensor, Medoids]:
    """As published, between two blocks of a tower: (1 + N, batch * T, D) to (1 + K, batch * segments, D).

    The class token comes first and becomes the mean of its segment's; then K medoids, or cluster means, as their
    medoids stand. The second part of the answer has a row per segment. Raises ValueError where frames do not fill
    segments evenly.
    """
    frames, rest = divmod(x.shape[1], batch * segments)
    if rest or not frames:
        raise ValueError(f"{x.shape[1]} frames do not make {batch} times {segments} equal segments.")
    each = x.transpose(0, 1).unflatten(0, (batch * segments, frames))  # (segments, T', 1 + N, D)
    patches = each[:, :, 1:].flatten(1, 2)
    found = method.fit(patches, clusters)
    if aggregation == "medoids":
        rows = rows_at(patches, found.at)
    else:
        count = found.at.shape[1]
        rows = torch.stack([_means(*one, count) for one in zip(patches, found.labels, strict=True)])
    return torch.cat([each[:, :, 0].mean(1, keepdim=True), rows], dim=1).transpose(0, 1), found


def _means(flat: Tensor, owners: Tensor, count: int) -> Tensor:
    """(count, D) mean of the tokens (n, D) that each row owns; every row owns one."""
    sums = torch.zeros(count, flat.shape[1], dtype=flat.dtype, device=flat.device).index_add_(0, owners, flat)
    return sums / torch.bincount(owners, minlength=count)[:, None]
