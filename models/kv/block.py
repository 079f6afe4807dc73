"""Blocks: a stretch of time as the language model read it, once, for good."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torch.nn.functional import normalize

if TYPE_CHECKING:
    from torch import Tensor, device


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Keys before rotation, values and meaning of one segment. Never written again."""

    id: int  # rises with time; -1: the pinned prefix
    stamp: str  # the text that leads it
    raw: Tensor  # (layers, kv heads, n, d) keys before rotation; n = stamp tokens + F
    values: Tensor  # (layers, kv heads, n, d)
    fused: Tensor  # (F, D) what was read after the stamp; kept for COLD
    mass: Tensor  # (F,) patches per fused row
    cells: Tensor  # (F, rows*columns) share of a row's mass per grid cell
    grid: tuple[int, int]
    mean_key: Tensor  # (layers * kv heads * d,) unit: what the block is about, for novelty
    size: int = field(init=False)  # bytes held

    def __post_init__(self) -> None:
        """Worked out once: tiers look at all blocks each time."""
        object.__setattr__(self, "size", sum(tensor.nbytes for tensor in self.tensors()))

    def tensors(self) -> tuple[Tensor, ...]:
        """All that it holds."""
        return self.raw, self.values, self.fused, self.mass, self.cells, self.mean_key

    @property
    def tokens(self) -> int:
        """Stamp and fused rows."""
        return int(self.raw.shape[2])

    @property
    def rows_from(self) -> int:
        """Where the fused rows begin, after the stamp."""
        return self.tokens - int(self.fused.shape[0])

    def to(self, where: device) -> Block:
        """The same block elsewhere; bit for bit, and itself when it is there already."""
        if self.raw.device == where:
            return self
        names = ("raw", "values", "fused", "mass", "cells", "mean_key")
        return replace(self, **{name: getattr(self, name).to(where) for name in names})


def mean_key(raw: Tensor) -> Tensor:
    """Unit mean of raw keys over tokens, all layers and heads in one vector: (layers * kv heads * d,) float32."""
    return normalize(raw.float().mean(2).flatten(), dim=0)
