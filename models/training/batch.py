"""A batch of histories as the language stage reads it: all that needs no weights, so that it can be made beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.training.histories import History, Shown
from models.training.packing import Packed, Packer
from models.training.pointing import Look, Pointer

if TYPE_CHECKING:
    from torch import Tensor

    from models.training.lessons import Item

ABSENT = 3.0  # weight of an answer about what was not there: to invent is worse than to miss
NEVER = 5.0  # of a "no" to whether it was ever seen: most of what was invented (docs/LOG.md)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows, words and where to look."""

    shown: Shown
    packed: Packed
    looks: list[Look]
    weights: Tensor  # (m,) of each answer token
    kinds: list[str]  # of each question
    modes: list[str]

    def to(self, device: torch.device) -> Batch:
        """The same there."""
        looks = [look.to(device) for look in self.looks]
        weights = self.weights.to(device)
        return Batch(self.shown.to(device), self.packed.to(device), looks, weights, self.kinds, self.modes)


def make_batch(histories: list[History], packer: Packer, pointer: Pointer) -> Batch:
    """Lay out, and find what is to be looked at."""
    packed = packer.pack(histories)
    looks = pointer.looks(histories, packed.laid, packed.ids.shape[1])
    items = [item for h in histories for item in h.items]
    weights = torch.tensor([_weight(item) for item in items])[packed.owner]
    packed.laid = []
    return Batch(
        Shown.of(histories), packed, looks, weights, [item.kind for item in items], [item.mode for item in items]
    )


def _weight(item: Item) -> float:
    if item.there:
        return 1.0
    return NEVER if item.kind == "seen" else ABSENT
