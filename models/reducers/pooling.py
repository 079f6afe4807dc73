"""Two ways to pool where cells are: a running mean over time, and attention of a region's mean on its own tokens.

Both pool as `TemporalMean` does: over stretches of time cell by cell, over neighbouring cells in raster order where
even one row per cell is too many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from models.reducers.clip import Clip, Reduced

if TYPE_CHECKING:
    from torch import Tensor


class RunningMean:
    """Exponential mean of frames: O(1) state, and a plain mean until there have been 1 / `pace` of them."""

    def __init__(self, pace: float) -> None:
        self.pace = pace
        self.seen = 0
        self.mean: Tensor | None = None  # (N, D) of all frames so far

    def see(self, frame: Tensor) -> Tensor:
        """Take in one frame (N, D); the mean as it is now."""
        self.seen += 1
        if self.mean is None:
            self.mean = frame.clone()
        else:
            self.mean = self.mean + max(self.pace, 1 / self.seen) * (frame - self.mean)
        return self.mean


@dataclass(frozen=True, slots=True)
class CausalMean:
    """A running mean per cell, put out every so many frames: no row knows a frame that came after it.

    The simple end of STORM (arXiv 2503.04130): there a trained scan, which runs in both directions, mixes what was
    before into each token ahead of pooling over time; here an exponential mean does, forwards only. Untrained.
    """

    longer: float = 1.0  # how many stretches back the mean looks: 1 is a row for its own stretch, mostly

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """At most `rows` means, each at the place of the newest token in it; with as many as tokens, the tokens."""
        frames, cells = clip.embeds.shape[:2]
        when, where, first = _regions(clip, rows)
        places, stretches = len(first), int(when[-1]) + 1
        running = RunningMean(min(1.0, stretches / frames / self.longer))
        made: list[Tensor] = []
        sizes = torch.bincount(where, minlength=places).to(clip.embeds.dtype)[:, None]
        for t, frame in enumerate(clip.embeds):
            pooled = torch.zeros(places, frame.shape[1], dtype=frame.dtype, device=frame.device)
            mean = running.see(pooled.index_add_(0, where, frame) / sizes)
            if t + 1 == frames or when[t + 1] != when[t]:
                made.append(mean)
        last = torch.bincount(when).cumsum(0) - 1  # frame at which each stretch ends
        sources = (last[:, None] * cells + first).reshape(-1)
        return Reduced(torch.cat(made), (when[:, None] * places + where).reshape(-1), sources)


@dataclass(frozen=True, slots=True)
class RegionAttention:
    """A coarse token that has looked at the fine ones of its own region, and of no other.

    The shape of QueCC (arXiv 2411.03312: each coarse token attends to its own 4 x 4 cells) and of CrossLMM (arXiv
    2505.17020: pooled tokens attend to all originals), without their weights: the region's mean is the query, so what
    is common in the region counts for more and single odd tokens for less. `sharpness` 0 is the plain mean.
    """

    sharpness: float | None = None  # of the softmax over cosines; None: the root of the width, as in attention

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """At most `rows` weighted means, each at the place of the first token in it; with as many as tokens, those."""
        flat, (when, where, first) = clip.flat, _regions(clip, rows)
        owners = (when[:, None] * len(first) + where).reshape(-1)
        count = int(owners.max()) + 1
        units = normalize(flat, dim=1)
        means = normalize(torch.zeros(count, flat.shape[1]).to(flat).index_add_(0, owners, flat), dim=1)
        sharpness = flat.shape[1] ** 0.5 if self.sharpness is None else self.sharpness
        # cosines are 1 at most, so that no exponent is above 0 and a region's own scale falls out of the quotient
        weight = (((units * means[owners]).sum(1) - 1) * sharpness).exp().clamp_min(torch.finfo(flat.dtype).tiny)
        total = torch.zeros(count).to(flat).index_add_(0, owners, weight)
        share = weight / total[owners]
        rows_made = torch.zeros(count, flat.shape[1]).to(flat).index_add_(0, owners, flat * share[:, None])
        begins = torch.zeros(int(when[-1]) + 1, dtype=torch.int64, device=flat.device)
        begins[1:] = torch.bincount(when).cumsum(0)[:-1]  # frame at which each stretch begins
        return Reduced(rows_made, owners, (begins[:, None] * clip.embeds.shape[1] + first).reshape(-1))


def _regions(clip: Clip, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """(T,) stretch of each frame, (N,) place of each cell, (places,) first cell of each place."""
    frames, cells = clip.embeds.shape[:2]
    device = clip.embeds.device
    places = min(cells, rows)
    stretches = min(frames, max(1, rows // places))
    when = torch.arange(frames, device=device) * stretches // frames
    where = torch.arange(cells, device=device) * places // cells
    first = torch.full((places,), cells, device=device)
    return when, where, first.scatter_reduce_(0, where, torch.arange(cells, device=device), "amin")
