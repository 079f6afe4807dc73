"""VQToken: the means of a clip's k-means clusters, and nothing else, go to the language model (arXiv 2503.16980).

The published model adds an attention over the map of labels, which must be trained: `models/reducers/vq_attention.py`.
Its training-free part, and what its committed code has switched on, is the codebook alone. Ours with the ideas of the
first version (a token base that lasts, a map of motion, cross-dynamics attention) is `token_dynamics.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.functional import normalize

from models.reducers import kmeans
from models.reducers.clip import Clip, Reduced, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from models.reducers.kmeans import Fit

FIRST = 12  # the fewest clusters that the published search looks at
NEIGHBOURS = 50  # tokens that its "silhouette" looks at
UNSCORED = 16  # what its "silhouette" answers where there are fewer tokens than that


@dataclass(frozen=True, slots=True)
class VQToken:
    """Clusters by direction, whose rows are the means of the tokens as they came.

    `length` "fixed": as many clusters as rows were asked for, or as many as there are different tokens; "adaptive": the
    fewest, found by halving, whose mean error (1 - cosine of a token to its cluster's mean) is at most `distortion`.
    Fewer rows need no other mechanism: there are just fewer clusters.

    `as_published`: clusters start from a lot (k-means++; here from a seed), rows are means of unit vectors, so that the
    tokens' lengths are lost, and "adaptive" fits every number of clusters from 12 to `rows` and then asks the elbow,
    which is misread (see `published_elbow`). The default starts without chance and keeps lengths.
    """

    length: Literal["fixed", "adaptive"] = "fixed"
    distortion: float = 0.05
    rounds: int = 50  # as published for a fixed length
    search_rounds: int = 100  # as published for each fit of a search
    tolerance: float = 1e-4
    as_published: bool = False
    seed: int = 0  # of the published lot

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """At most `rows` means; mass is kept."""
        units = normalize(clip.flat.contiguous(), dim=1)
        found = self._published(units, rows) if self.as_published else self._repaired(units, rows)
        if not self.as_published:
            return merged(clip, found.labels)
        return merged(Clip(units.view_as(clip.embeds), clip.grid, clip.times_s), found.labels)

    def _repaired(self, units: Tensor, rows: int) -> Fit:
        start = kmeans.spread(units, min(rows, len(units)))

        def fitted(clusters: int) -> Fit:
            return kmeans.fit(units, start[:clusters], self.rounds, self.tolerance)

        return fitted(len(start)) if self.length == "fixed" else fewest(fitted, units, len(start), self.distortion)

    def _published(self, units: Tensor, rows: int) -> Fit:
        chance = torch.Generator().manual_seed(self.seed)
        clusters, rounds = min(rows, len(units)), self.rounds
        if self.length == "adaptive" and clusters >= FIRST + 2:
            rounds = self.search_rounds
            starts = [kmeans.drawn(units, k, chance) for k in range(FIRST, clusters + 1)]
            scatters = [kmeans.fit(units, start, rounds, self.tolerance).scatter(units) for start in starts]
            clusters = published_elbow(scatters)
        return kmeans.fit(units, kmeans.drawn(units, clusters, chance), rounds, self.tolerance)


def fewest(fitted: Callable[[int], Fit], units: Tensor, most: int, distortion: float) -> Fit:
    """The fit of fewest clusters found by halving (1 to `most`) with a mean 1 - cosine of at most `distortion`.

    `fitted(K)` fits K clusters. Where even `most` err more, that fit. Error need not fall with every cluster more, so
    fewer might do; that the fit given back keeps to the target is certain.
    """
    low, best, high = 0, fitted(most), most
    if _error(best, units) > distortion:
        return best
    while high - low > 1:
        middle = (low + high) // 2
        tried = fitted(middle)
        if _error(tried, units) <= distortion:
            best, high = tried, middle
        else:
            low = middle
    return best


def _error(found: Fit, units: Tensor) -> float:
    means = normalize(found.means(units), dim=1)
    return float((1 - (units * means[found.labels]).sum(1)).mean())


def published_elbow(scatters: Sequence[float], first: int = FIRST) -> int:
    """The published number of clusters, given the scatter for `first`, `first` + 1 ... clusters.

    Where the curve bends most (largest second difference), but its position is taken as if the curve began at 2
    clusters, whereas it begins at `first`; so the answer is at least that and near it whatever the video shows. Raises
    ValueError for fewer than three scatters, where there is no bend.
    """
    if len(scatters) < 3:
        raise ValueError(f"an elbow needs the scatter of three numbers of clusters, not of {len(scatters)}.")
    bends = torch.tensor(scatters, dtype=torch.float64).diff(n=2)
    return max(first, int(bends.argmax()) + 4)


def published_silhouette(units: Tensor, first: int = FIRST, last: int = 32) -> int:
    """The published number of clusters by "silhouette": each is scored, the first of the best is taken.

    The score is the mean inner product of a token with its 50 nearest and does not look at clusters, so all are equal
    and `first` wins; with fewer tokens there is no score, and 16 stands.
    """
    if len(units) < NEIGHBOURS:
        return UNSCORED
    score = float((units @ units.T).topk(NEIGHBOURS, dim=1).values.mean())
    best, most = UNSCORED, -math.inf
    for clusters in range(first, last + 1):
        if score > most:
            best, most = clusters, score
    return best
