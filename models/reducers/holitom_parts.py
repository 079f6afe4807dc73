"""What HoliTom reduces by itself, and how many rows each part has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from models.reducers.segmentation import Stretch

STEP = 0.15  # from one similarity threshold to the next lower one: between the two that were published


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Cells of a stretch that stay as they are, with one copy for all its frames; or those that change, in frames."""

    first: int
    last: int  # inclusive
    cells: Tensor  # (n,) int64, ascending; n is 1 or more
    static: bool

    @property
    def frames(self) -> int:
        """At least 1."""
        return self.last - self.first + 1

    @property
    def tokens(self) -> int:
        """Rows that it can have at most."""
        return len(self.cells) if self.static else self.frames * len(self.cells)

    def places(self, columns: int, *, over_time: bool) -> Tensor:
        """(n, 2) rows and columns of its cells in a grid; `over_time`: (frames * n, 2), frame after frame."""
        places = torch.stack([self.cells // columns, self.cells % columns], 1)
        return places.repeat(self.frames, 1) if over_time else places


def parts(stretches: Sequence[Stretch], *, joint: bool = False) -> list[Part]:
    """Of each stretch what is static, then frame by frame what changes; `joint`: what changes in all its frames."""
    found = []
    for one in stretches:
        static, changing = one.static.nonzero()[:, 0], (~one.static).nonzero()[:, 0]
        if len(static):
            found.append(Part(one.first, one.last, static, static=True))
        if len(changing):
            spans = [(one.first, one.last)] if joint else [(t, t) for t in range(one.first, one.last + 1)]
            found += [Part(first, last, changing, static=False) for first, last in spans]
    return found


def at_least(still: Tensor) -> int:
    """Fewer parts there cannot be, joint or not: a stretch ends where no cell is alike. `still` (T - 1, N) bool."""
    return 1 + int((~still.any(1)).sum())


def retained(ratio: float, total: int, saved: int) -> float:
    """A ratio of all tokens as one of those that are left when static cells have one copy; at most 1."""
    return min(ratio / ((total - saved) / total), 1.0)


def published_rows(found: Sequence[Part], ratio: float) -> list[int]:
    """Static parts are rounded (halves to even) and may be left with nothing, the others are rounded up."""
    return [round(part.tokens * ratio) if part.static else math.ceil(part.tokens * ratio) for part in found]


def shared_rows(found: Sequence[Part], rows: int) -> list[int]:
    """`rows`, or all there can be, shared as by `published_rows` while the ratio rises until they are taken.

    A part of n tokens has its k-th row from (k - 1) / n on, a static one from (k - 1/2) / n but its first at once. Of
    parts that would have one at the same ratio the earlier has it. There must be as many rows as parts.
    """
    sizes = torch.tensor([part.tokens for part in found])
    static = torch.tensor([part.static for part in found])
    owner = torch.arange(len(sizes)).repeat_interleave(sizes)
    turn = torch.arange(len(owner)) - (sizes.cumsum(0) - sizes)[owner]
    ratio = (turn + 0.5 * (static[owner] & (turn > 0))).double() / sizes[owner]
    counts: list[int] = torch.bincount(owner[ratio.argsort(stable=True)[:rows]], minlength=len(sizes)).tolist()
    return counts
