"""Whole frames as rows: the instant window, one row per cell, each with the motion of the code that stands in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kernels import ops
from models.dynamics_map import MOTION_NAMES
from models.rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

# presence, velocity, entry and exit, path: a cell has none of its own, the code in it has
_OF_THE_CODE = (1, 6, 7, 8, 9, 10, 11, 18, 19, 20, 21)
_ERROR = MOTION_NAMES.index("mean_error")


class WholeFrames:
    """Rows of single frames on one grid. What is the same for every frame is worked out once."""

    def __init__(self, grid: tuple[int, int]) -> None:
        self.grid = grid
        rows, columns = grid
        here = torch.arange(rows * columns).view(1, rows, columns)
        nothing = torch.zeros(1, rows, columns)
        _, self._share, self._own = ops.motion_statistics(here, nothing, torch.zeros(1), rows * columns)

    def rows(self, embeds: Tensor, time_s: float, slots: Tensor, errors: Tensor, times_s: Tensor) -> Rows:
        """The frame `embeds` (N, D), the last of `slots` and `errors` (T, rows, columns) at `times_s` (T,)."""
        used, labels = slots.unique(return_inverse=True)
        _, _, by_code = ops.motion_statistics(labels, errors, times_s, len(used))
        motion = self._own.clone()
        motion[:, _ERROR] = errors[-1].reshape(-1).clamp(0, 2)
        motion[:, _OF_THE_CODE] = by_code[labels[-1].view(-1)][:, _OF_THE_CODE]
        cells = len(motion)
        return Rows(
            embeds=embeds,
            mass=torch.ones(cells),
            motion=motion,
            cells=self._share,
            codes=slots[-1].view(-1),
            grid=self.grid,
            span_s=(time_s, time_s),
            frames=1,
            patches=float(cells),
        )

    def bytes(self) -> int:
        """Memory held, constant."""
        return self._share.nbytes + self._own.nbytes
