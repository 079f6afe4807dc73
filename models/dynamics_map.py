"""The dynamics map: which code stood in which cell, for the last W frames.

A ring of (rows, columns) grids of code slots with their times and quantisation errors. It is what is left of *where and
when* after clustering; per row of a segment it yields mass, position, spread, velocity, entry and exit
(`kernels.ops.motion_statistics`), none of which depends on how codes are numbered. Merged codes are relabelled here at
once, so no cell ever names a dead code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

# fmt: off
MOTION_NAMES = (
    "log_mass", "presence", "mean_x", "mean_y", "spread_x", "spread_y", "velocity_x", "velocity_y", "entry", "exit",
    "at_start", "at_end", "first_x", "first_y", "last_x", "last_y", "cell_share", "mean_error", "path_length",
    "cell_change", "log_duration", "duration_share", "quarter_1", "quarter_2", "quarter_3", "quarter_4",
)
# fmt: on


class DynamicsMap:
    """W frames of code slots; the oldest is overwritten."""

    def __init__(self, frames: int, grid: tuple[int, int]) -> None:
        self.capacity = frames
        self.grid = grid
        self.slots = torch.full((frames, *grid), -1, dtype=torch.int16)  # (W, rows, columns), -1: nothing yet
        self.errors = torch.zeros(frames, *grid, dtype=torch.float16)
        self.times_s = torch.zeros(frames, dtype=torch.float64)
        self.frames_seen = 0

    def append(self, slots: Tensor, errors: Tensor, time_s: float) -> None:
        """One frame: (N,) slots and errors in raster order."""
        at = self.frames_seen % self.capacity
        self.slots[at] = slots.view(self.grid).to(torch.int16)
        self.errors[at] = errors.view(self.grid).to(torch.float16)
        self.times_s[at] = time_s
        self.frames_seen += 1

    def relabel(self, gone: int, kept: int) -> None:
        """A code was merged into another: every cell that named it names the other."""
        self.slots[self.slots == gone] = kept

    def forget(self, gone: Tensor) -> None:
        """Codes (n,) were retired: cells that named them name none."""
        if len(gone):
            self.slots[torch.isin(self.slots, gone.to(torch.int16))] = -1

    def last(self, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """(T, rows, columns) int64 slots, float32 errors, (T,) times of the last T frames, oldest first."""
        held = min(frames, self.capacity, self.frames_seen)
        order = torch.arange(self.frames_seen - held, self.frames_seen) % self.capacity
        return self.slots[order].long(), self.errors[order].float(), self.times_s[order]

    def bytes(self) -> int:
        """Memory held, constant."""
        return sum(t.numel() * t.element_size() for t in (self.slots, self.errors, self.times_s))

    def state_dict(self) -> dict[str, Tensor]:
        """All that is needed to go on exactly."""
        seen = torch.tensor(self.frames_seen, dtype=torch.int64)
        return {"slots": self.slots, "errors": self.errors, "times_s": self.times_s, "frames_seen": seen}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Raises ValueError when the state is of another shape."""
        if state["slots"].shape != self.slots.shape:
            raise ValueError(
                f"The snapshot's dynamics map is {tuple(state['slots'].shape)}, this one {tuple(self.slots.shape)}."
            )
        self.slots, self.errors = state["slots"].clone(), state["errors"].clone()
        self.times_s, self.frames_seen = state["times_s"].clone(), int(state["frames_seen"])
