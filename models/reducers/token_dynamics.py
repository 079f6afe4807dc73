"""Ours: the codes of the online token base, merged or split to a fixed or adaptive number of rows.

Source: Token Dynamics / VQToken (arXiv 2503.16980), made online: `models/token_base.py`, `models/segment.py`.
Its motion features and cross-dynamics attention come after: `models/dynamics_map.py`, `models/cross_dynamics.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from models import segment
from models.reducers.clip import Clip, Reduced
from models.token_base import TokenBase, codes_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class TokenDynamics:
    """`length` "fixed": exactly the rows asked for; "adaptive": as few as the distortion target allows."""

    length: Literal["fixed", "adaptive"] = "fixed"
    fewest: int = 1
    distortion: float = 0.05  # mean 1 - cosine that "adaptive" may spend on merging
    spawn_below: float = 0.85  # where a clip comes without codes: a token less like every code than this opens one
    base_codes: int = 512

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """The clip's codes as rows; a clip that no token base has seen gets one of its own."""
        slots = self._coded(clip) if clip.slots is None else clip.slots
        labels = segment.labels(
            clip.flat,
            slots.reshape(-1),
            clip.times_s,
            clip.grid,
            rows=rows,
            fewest=min(self.fewest, rows) if self.length == "adaptive" else rows,
            distortion=self.distortion if self.length == "adaptive" else 0.0,
            exact=self.length == "fixed",
        )
        count = int(labels.max()) + 1
        first = torch.full((count,), len(labels)).scatter_reduce_(0, labels, torch.arange(len(labels)), "amin")
        return Reduced(segment.means(clip.flat, labels, count), labels, first)

    def _coded(self, clip: Clip) -> Tensor:
        slots, _ = codes_of(clip.embeds, TokenBase(self.base_codes, clip.embeds.shape[2], self.spawn_below, 0.05))
        return slots
