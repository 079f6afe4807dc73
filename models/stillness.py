"""Does a segment say anything that the one before it did not? Adaptive length asks this before it adds no token at all.

Looks alone do not tell: an actor that walks looks the same everywhere, and one that has left is missing from no row
that is still there. So rows are matched both ways, and matched rows must also have stood in the same cells for the same
share of the time, and must not have moved. When in doubt the segment is kept: a row too many costs little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn.functional import normalize

from models.dynamics_map import MOTION_NAMES

if TYPE_CHECKING:
    from torch import Tensor

    from models.rows import Rows

SAME_PLACE = 0.2  # share of its cells and time that a row may differ by and still be where it was
_STEP = 0.5  # cells that the middle of a row may move in all, and
_RESTLESS = 0.1  # cells that it may move per frame: what a cell on the edge between two codes does by itself
_PATH, _CHANGE = MOTION_NAMES.index("path_length"), MOTION_NAMES.index("cell_change")


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What the last committed segment said, as far as a later one is compared with it."""

    embeds: Tensor  # (F, D)
    places: Tensor  # (F, rows*columns) share of the segment's frames in which a cell was of this row

    @classmethod
    def by(cls, rows: Rows) -> Said:
        """What these rows say."""
        return cls(rows.embeds, rows.cells * (rows.mass / rows.frames)[:, None])


def nothing_new(rows: Rows, before: Said, distortion: float) -> bool:
    """Do `rows` look like `before`, and `before` like `rows`, within `distortion` (1 - cosine), place by place?"""
    side = max(rows.grid)
    if bool((rows.motion[:, _PATH] * side > _STEP).any()):
        return False
    if bool((rows.motion[:, _CHANGE] / 4 * side > _RESTLESS).any()):  # the feature is stored times four
        return False
    now = Said.by(rows)
    cosine = normalize(now.embeds.float(), dim=1) @ normalize(before.embeds.float(), dim=1).T
    for alike, these, those in ((cosine, now.places, before.places), (cosine.T, before.places, now.places)):
        best, partner = alike.max(1)
        if float((1 - best).max()) >= distortion:
            return False
        moved = (these - those[partner]).abs().sum(1)
        if bool((moved > SAME_PLACE * these.sum(1)).any()):
            return False
    return True
