"""Three plain ways to have fewer rows: what every cleverer method must beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from models.reducers.clip import Clip, Reduced, kept, merged


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every so many tokens in raster order through time, the first included."""

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """Exactly `rows` tokens as they are, or all there are."""
        count = len(clip.flat)
        return kept(clip, torch.arange(min(rows, count)) * count // min(rows, count))


@dataclass(frozen=True, slots=True)
class Random:
    """Tokens by lot; the same lot for the same number of tokens."""

    seed: int = 0

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """Exactly `rows` tokens as they are, or all there are."""
        coin = torch.Generator().manual_seed(self.seed)
        return kept(clip, torch.randperm(len(clip.flat), generator=coin)[:rows])


@dataclass(frozen=True, slots=True)
class TemporalMean:
    """Means over stretches of time, cell by cell, as in STORM's training-free pooling (arXiv 2503.04130).

    Where even one mean per cell is too much, neighbouring cells in raster order share one.
    """

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """At most `rows` means."""
        frames, cells = clip.embeds.shape[:2]
        places = min(cells, rows)
        stretches = min(frames, max(1, rows // places))
        when = torch.arange(frames) * stretches // frames
        where = torch.arange(cells) * places // cells
        return merged(clip, (when[:, None] * places + where).reshape(-1))
