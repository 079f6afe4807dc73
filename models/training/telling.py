"""What rows must tell: where things were and how they moved, loudly enough to be heard.

That a line can read it off the fused rows is not enough. Measured on a language model trained without this
(docs/LOG.md): the velocity had a standard deviation of a tenth of a row's own, the first layer wrote over it, and
"which way is the car moving" stayed at chance. So the fused rows and their states where answers are read are both asked
for it, by directions of length one in rows normed as layers norm them: it must be as large as anything else there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, mse_loss, normalize, rms_norm

from models.dynamics_map import MOTION_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.rows import Rows
    from models.training.tokens import RunTokens

# fmt: off
TOLD = (
    "mean_x", "mean_y", "velocity_x", "velocity_y", "entry", "exit", "at_start", "at_end", "first_x", "last_x",
)
# fmt: on
_COLUMNS = [MOTION_NAMES.index(name) for name in TOLD]
_ENOUGH = 200  # runs whose rows say how much each of these differs


class Telling(nn.Module):
    """One direction for each of `TOLD`; thrown away afterwards."""

    mean: Tensor
    spread: Tensor

    def __init__(self, dim: int, runs: Sequence[RunTokens]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(len(TOLD), dim) / dim**0.5)
        self.bias = nn.Parameter(torch.zeros(len(TOLD)))
        usual = torch.cat([rows.motion[:, _COLUMNS].float() for run in runs[:_ENOUGH] for rows in _all_of(run)])
        self.register_buffer("mean", usual.mean(0))
        self.register_buffer("spread", usual.std(0).clamp_min(1e-3))

    def miss(self, rows: Tensor, motion: Tensor) -> Tensor:
        """Mean squared error over (n, D) rows of what their (n, MOTION_FEATURES) say, in standard deviations."""
        told = linear(rms_norm(rows.float(), rows.shape[-1:]), normalize(self.weight, dim=1), self.bias)
        return mse_loss(told, (motion[:, _COLUMNS].to(told) - self.mean) / self.spread)

    def fit(self, rows: Tensor, motion: Tensor, steps: int = 300) -> None:
        """Turn the directions to where (n, D) rows say it best already: from anywhere else they would pull at them."""
        optimiser = torch.optim.Adam([self.weight, self.bias], lr=0.01)
        for _ in range(steps):
            optimiser.zero_grad()
            self.miss(rows, motion).backward()
            optimiser.step()


def _all_of(run: RunTokens) -> list[Rows]:
    return [*run.segments, *(rows for moment in run.moments for rows in moment.instant)]
