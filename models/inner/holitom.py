"""HoliTom's inner merging (arXiv 2505.21334): as FastV, deeper, and what leaves goes into what it is most like.

In our own words: before layer k the seen rows that the last row attends to most stay, with their positions. Each other
one is merged into the most cosine-similar row that stays. Published: k = 18 of 28 layers, half of the rows; k is the
same share of any other depth.

`as_published=True` folds one row after the other by halving, so that the last one folded weighs as much as all before
it together. The default is the plain mean of a group, which does not depend on order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from kernels import ops
from models.inner.fastv import FastV

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class HoliTom(FastV):
    """`ratio` of seen rows is merged away after `depth` (share of layers)."""

    depth: float = 18 / 28
    merges: bool = True


def others(count: int, kept: Tensor) -> Tensor:
    """Indices of (count) rows that are not among `kept`, ascending."""
    gone = torch.ones(count, dtype=torch.bool, device=kept.device)
    gone[kept] = False
    return gone.nonzero()[:, 0]


def nearest_kept(features: Tensor, kept: Tensor, gone: Tensor) -> Tensor:
    """Features (n, D) -> for each row of `gone` the place within `kept` of the most similar one; ties to the first."""
    units = normalize(features.float(), dim=1)
    return (units[gone] @ units[kept].T).argmax(1)


def fold(rows: Tensor, kept: Tensor, gone: Tensor, into: Tensor, *, as_published: bool = False) -> Tensor:
    """Rows (n, D) with `gone` merged into `kept`: (F, D), in the order of `kept`."""
    if as_published:
        made = rows[kept].clone()
        for source, target in zip(gone.tolist(), into.tolist(), strict=True):
            made[target] = (made[target] + rows[source]) / 2
        return made
    return means(rows[kept], rows[gone], into)


def means(kept: Tensor, gone: Tensor, into: Tensor) -> Tensor:
    """Rows (..., F, D) with each of (..., G, D) averaged into the one whose place `into` (G,) names."""
    total = kept.float().index_add(-2, into, gone.float())
    count = torch.bincount(into, minlength=kept.shape[-2]) + 1
    return (total / count[:, None]).to(kept)


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Rows of memory that leave, and where each goes. Rows of memory are rotated keys and values, at every layer."""

    kept: Tensor  # (F,) ids of rows that stay
    gone: Tensor  # (G,) ids of seen rows that leave
    into: Tensor  # (G,) places within `kept`
    turn: tuple[Tensor, Tensor]  # (G, d) cosine and sine: from the position of each to that of the row it goes into

    def merged(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """One layer's rotated keys and values (heads, n, d) -> (heads, F, d).

        A key moves to the position of its new place first, so that what is averaged are keys as they were before any
        rotation, as they would follow from an averaged row.
        """
        turned = ops.rotate(keys[:, self.gone].float(), *self.turn)
        return means(keys[:, self.kept], turned, self.into), means(
            values[:, self.kept], values[:, self.gone], self.into
        )


def groups(values: Tensor, kept: Tensor, chosen: Tensor, gone: Tensor, angles: tuple[Tensor, Tensor]) -> Groups:
    """Which row of memory goes where: by the values (heads, n, d) of the layer that is about to be entered.

    Rows of memory have no hidden state left; their values are its linear image, with no position in it. `chosen`: those
    of `kept` that were seen; `angles` (n, d): cosine and sine of where each row stands.
    """
    features = values.transpose(0, 1).flatten(1)
    target = chosen[nearest_kept(features, chosen, gone)]
    cos, sin = angles
    turn = (
        cos[target] * cos[gone] + sin[target] * sin[gone],  # of the difference of two angles
        sin[target] * cos[gone] - cos[target] * sin[gone],
    )
    return Groups(kept, gone, torch.searchsorted(kept, target), turn)
