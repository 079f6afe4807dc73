"""Rendered memory: rotated keys and values of many blocks side by side, shared by all forks by reference.

A slab only ever grows at its end; what a fork looks at is the stretch that was filled when it forked, so committing a
block neither copies nor disturbs it. Dropping blocks or moving positions makes a new slab, always from raw keys:
rotating a rotated key again loses 4.5 % after 100 times in bfloat16, from raw keys nothing is ever lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kernels import ops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from models.backbone import Backbone
    from models.kv.block import Block


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A stretch of a slab: what one view attends to. Keys are rotated."""

    keys: Tensor  # (layers, kv heads, tokens, d)
    values: Tensor  # (layers, kv heads, tokens, d)

    @property
    def tokens(self) -> int:
        """How many tokens can be attended to."""
        return int(self.keys.shape[2])

    def layer(self, index: int) -> tuple[Tensor, Tensor]:
        """(kv heads, tokens, d) keys and values of one layer."""
        return self.keys[index], self.values[index]


class Slab:
    """Room for `capacity` rendered tokens; filled from the front."""

    def __init__(self, backbone: Backbone, capacity: int) -> None:
        layers, heads, dim = backbone.shape
        self.backbone = backbone
        self.keys = backbone.like.new_empty(layers, heads, capacity, dim)
        self.values = torch.empty_like(self.keys)
        self.capacity = capacity
        self.length = 0

    @torch.no_grad()
    def append(self, blocks: Sequence[Block], starts: Sequence[int]) -> None:
        """Render blocks at their first positions, after what is there."""
        if not blocks:
            return
        positions = [start + i for block, start in zip(blocks, starts, strict=True) for i in range(block.tokens)]
        end = self.length + len(positions)
        if end > self.capacity:
            raise ValueError(f"{end} tokens do not fit a slab of {self.capacity}.")
        cos, sin = self.backbone.rotation(positions)
        ops.gather_rotate([block.raw for block in blocks], cos, sin, self.keys[:, :, self.length : end])
        at = self.length
        for block in blocks:
            self.values[:, :, at : at + block.tokens] = block.values.to(self.values.device)
            at += block.tokens
        self.length = end

    def view(self) -> Rendered:
        """What is filled now."""
        return Rendered(self.keys[:, :, : self.length], self.values[:, :, : self.length])

    def bytes(self) -> int:
        """Memory held, whether filled or not."""
        return 2 * self.keys.numel() * self.keys.element_size()
