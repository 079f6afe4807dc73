"""Rows: what a closed segment is made of before the language model reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MOTION_FEATURES = 26  # columns of `Rows.motion`; `models/dynamics_map.py` names them


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """F fused rows: the token base of one stretch of time with the motion of each row.

    One row stands for all patches of the stretch that were assigned to one code (or to several merged ones). Order
    is first appearance (t, y, x), so that with as many codes as patches the rows are the patches in raster order.
    """

    embeds: Tensor  # (F, D) float32: mass-weighted mean of the members, in the language model's width
    mass: Tensor  # (F,) float32: patches a row stands for; sums to `patches`
    motion: Tensor  # (F, MOTION_FEATURES) float32, independent of how codes are numbered
    cells: Tensor  # (F, rows*columns) float32: share of the row's mass per grid cell, each row sums to 1
    codes: Tensor  # (F,) int64: slot that gave the row most of its mass; means nothing once codes move on
    grid: tuple[int, int]  # (rows, columns)
    span_s: tuple[float, float]  # media time, s
    frames: int
    patches: float
