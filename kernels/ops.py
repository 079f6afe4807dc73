"""The only door to the kernels: one switch, `use("auto" | "reference")`, and one implementation per function.

Fast paths (Triton, flash-attn) register here when they exist, each with its twin in `kernels/reference.py` and a test
that both agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from kernels import fused, reference
from kernels.reference import gather_rotate, look, motion_statistics, move_codes, nearest_code, rotate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["attend", "gather_rotate", "look", "motion_statistics", "move_codes", "nearest_code", "rotate", "use"]

_FEW = 16  # new rows up to which the plain form is as fast
_chosen: list[Literal["auto", "reference"]] = ["auto"]


def use(which: Literal["auto", "reference"]) -> None:
    """Choose for the whole process: the fastest path that is here, or the plain one."""
    _chosen[0] = which


def attend(
    query: Tensor, parts: Sequence[tuple[Tensor, Tensor]], scale: float, watch: int
) -> tuple[Tensor, Tensor | None]:
    """Exact attention of new rows over several key segments; see `kernels.reference.attend`."""
    if _chosen[0] == "reference" or query.shape[1] <= _FEW:
        return reference.attend(query, parts, scale, watch)
    return fused.attend(query, parts, scale, watch)
