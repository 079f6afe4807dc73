"""FastV (arXiv 2403.06764): after the first layers, seen rows that the last row hardly attends to are not looked at.

In our own words: after K complete layers, rows are ranked by the attention of the last row of the prompt, mean over
heads, in the layer just passed; the lowest `ratio` of them leave for all deeper layers. Rows that stay keep their
positions. The published setting is K = 2 of 32 layers and half of the rows; K is the same share of any other depth, and
one layer at least.

The published code has three forms. Ours is the one that removes rows; the one that masks them and ranks again at each
word saves nothing, and is here for parity only (`bench/parity/fastv.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.inner.method import complete, most_attended

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class FastV:
    """`ratio` of seen rows leaves after `depth` (share of layers)."""

    ratio: float = 0.5
    depth: float = 2 / 32
    words: bool = False
    merges: bool = False

    def after(self, layers: int) -> tuple[int, ...]:
        """One stage; none in a model of one layer."""
        done = complete(self.depth, layers)
        return (done - 1,) if done else ()

    def keep(self, attention: Tensor, whole: int) -> Tensor:  # noqa: ARG002  it counts what is there
        """The most attended to by the last row."""
        return most_attended(attention[-1], self.most(attention.shape[1]))

    def most(self, rows: int) -> int:
        """Halves go to the even number, as in the published code; one row at least."""
        return max(min(rows, 1), round(rows * (1 - self.ratio)))
