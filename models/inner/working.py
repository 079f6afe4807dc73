"""The rows of one layer that are in focus while an answer is said, gathered into private tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    Part = tuple[Tensor, Tensor]  # keys and values (kv heads, n, d)


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Which they are. One does for all layers that hold the same rows."""

    ids: Tensor  # (F,) ascending
    shared: Tensor  # places among the layer's shared rows
    prompt: Tensor  # places among the layer's rows of the prompt
    rows: int  # of the prompt, in focus or not

    def gather(self, shared: Part, tail: Part) -> Part:
        """Copies (kv heads, F, d) of one layer's rows; what is set aside stays where it is."""
        places = (self.shared, self.prompt)
        keys, values = (
            torch.cat([part[i].index_select(1, at) for part, at in zip((shared, tail), places, strict=True)], 1)
            for i in (0, 1)
        )
        return keys, values


def cut(ids: Tensor, active: Tensor, front: int) -> Cut:
    """What of a layer's `ids`, those below `front` being shared, is `active` (all ids,) bool."""
    mine = ids[ids >= front]
    shared = active[ids[: len(ids) - len(mine)]].nonzero()[:, 0]
    return Cut(ids[active[ids]], shared, active[mine].nonzero()[:, 0], len(mine))
