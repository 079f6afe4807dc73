"""MustDrop's stages in the language model (arXiv 2411.10803): a row leaves only if no word cares for it.

In our own words: after some layers, the attention of the question's words on seen rows, mean over heads, is judged
twice. A row leaves only if its sum over the words is below a share of the total *and* no single word gives it much.
When the question has been read, all layers from the first stage on hold the rows of the last stage alone, for the words
of the answer.

Published: after layers 2, 6, 10 and 14 of 32 (here: the same shares of the depth, stages that fall together being
one), both thresholds 0.001 for 576 rows (here: times 576 / rows, so that they stand in the same relation to the mean).
The published code numbers positions anew after each stage; ours stay, because the rows of memory are rotated for all
questions alike. Its key rows, chosen by the vision tower and never dropped, are an argument of `stage`; memory has no
such tower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.inner.method import complete

if TYPE_CHECKING:
    from torch import Tensor

_PUBLISHED_ROWS = 576


@dataclass(frozen=True, slots=True)
class MustDrop:
    """Thresholds for 576 rows, and the shares of layers that are complete at each stage."""

    total: float = 0.001  # of the sum over all rows and words
    single: float = 0.001  # of one word's attention
    depths: tuple[float, ...] = (3 / 32, 7 / 32, 11 / 32, 15 / 32)
    words: bool = True
    merges: bool = False

    def after(self, layers: int) -> tuple[int, ...]:
        """Stages of a model; those that fall on one layer are one."""
        return tuple(sorted({done - 1 for share in self.depths if (done := complete(share, layers))}))

    def keep(self, attention: Tensor, whole: int) -> Tensor:
        """What passes either threshold; the one most attended to always does."""
        scale = _PUBLISHED_ROWS / max(1, whole)
        kept = dual_filter(attention, self.total * scale, self.single * scale)
        if not len(kept) and attention.shape[1]:
            kept = attention.sum(0).argmax()[None]
        return kept

    def most(self, rows: int) -> int:
        """All may pass."""
        return rows


def dual_filter(attention: Tensor, total: float, single: float) -> Tensor:
    """Attention (q, V) of words on seen rows -> indices that stay, ascending."""
    received = attention.sum(0)
    faint = (received < total * received.sum()) & (attention.amax(0) < single)
    return (~faint).nonzero()[:, 0]


def stage(attention: Tensor, total: float, single: float, keys: Tensor) -> Tensor:
    """`dual_filter`, and rows that always stay: indices, ascending."""
    kept: Tensor = torch.cat([dual_filter(attention, total, single), keys]).unique()
    return kept
