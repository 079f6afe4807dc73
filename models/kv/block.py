"""Blocks: a stretch of time as the language model read it, once, for good."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    unit_key: Tensor | None = (
        None  # (layers * kv heads, d) float32 mean of its unit keys, where the policy compares keys
    )
    size: int = field(init=False)  # bytes held

    def __post_init__(self) -> None:
        """Worked out once: tiers look at all blocks each time."""
        object.__setattr__(self, "size", sum(tensor.nbytes for tensor in self.tensors()))

    def tensors(self) -> tuple[Tensor, ...]:
        """All that it holds."""
        held = self.raw, self.values, self.fused, self.mass, self.cells, self.mean_key
        return held if self.unit_key is None else (*held, self.unit_key)

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
        unit_key = None if self.unit_key is None else self.unit_key.to(where)
        return replace(self, unit_key=unit_key, **{name: getattr(self, name).to(where) for name in names})

    def with_unit_key(self) -> Block:
        """The same block, with the mean direction of its rows' keys; itself when it knows that already."""
        if self.unit_key is not None:
            return self
        return replace(self, unit_key=normalize(self.row_keys.float(), dim=-1).mean(2).flatten(0, 1))

    @property
    def row_keys(self) -> Tensor:
        """Raw keys of the fused rows, without the stamp's: (layers, kv heads, F, d)."""
        return self.raw[:, :, self.rows_from :]

    def layer_keys(self, layer: int) -> Tensor:
        """Raw keys of the fused rows at one layer: (kv heads, F, d)."""
        return self.raw[layer, :, self.rows_from :]

    def key_length(self) -> float:
        """Mean length of its rows' keys; turning them to a position does not change it."""
        return float(self.row_keys.float().norm(dim=-1).mean())


def mean_key(raw: Tensor) -> Tensor:
    """Unit mean of raw keys over tokens, all layers and heads in one vector: (layers * kv heads * d,) float32."""
    return normalize(raw.float().mean(2).flatten(), dim=0)


def typical(blocks: Sequence[Block]) -> list[float]:
    """How like everything at hand each block's keys are: mean cosine to the mean of all unit keys, per layer and head.

    What `models.kv.scorers.keydiff` gives token by token, summed up per block from what each block remembers of itself.
    """
    if not blocks:
        return []
    units = torch.stack([unit for block in blocks if (unit := block.unit_key) is not None])  # (B, layers * heads, d)
    rows = torch.tensor([float(len(block.mass)) for block in blocks], device=units.device)
    anchor = normalize((units * rows[:, None, None]).sum(0), dim=-1)
    found: list[float] = (units * anchor).sum(-1).mean(-1).tolist()
    return found
