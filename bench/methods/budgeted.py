"""A perception whose segments become rows by one share of their tokens, and that keeps the time it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models.perception import Perception, PerceptionConfig
from models.reducers.clip import Clip, Reduced, Reducer
from models.reducers.registry import OURS
from models.rows import Rows
from models.token_base import Assignment, TokenBase

FEWEST = 3  # rows of a whole segment: where a share gives fewer, segments are longer
Clock = Callable[[], float]  # seconds


def stretched(config: PerceptionConfig, share: float, cells: int, fps: float) -> PerceptionConfig:
    """Segments as they are, or, where a share of one is less than `FEWEST` rows, as long as it takes.

    A stretched segment closes by its length alone: closed early, its one row would be more than the share.
    """
    frames = max(1, min(config.segment_frames, round(config.segment_s * fps)))
    if share <= 0 or share * frames * cells >= FEWEST:
        return replace(config, fused_tokens=max(1, round(share * frames * cells)))
    frames = int(FEWEST / (share * cells)) + 1
    return replace(
        config,
        fused_tokens=FEWEST,
        segment_s=frames / fps,
        segment_frames=frames,
        map_frames=max(config.map_frames, frames + config.instant_frames),
        change_budget_fraction=float("inf"),
        cut_fraction=2.0,
    )


@dataclass(slots=True)
class Timed:
    """A reducer with a stopwatch; keeps what it was last given."""

    inner: Reducer
    clock: Clock
    spent_s: float = 0.0
    last: tuple[Clip, int] | None = None

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """What the reducer says."""
        started = self.clock()
        found = self.inner.reduce(clip, rows)
        self.spent_s += self.clock() - started
        self.last = clip, rows
        return found


class TimedBase(TokenBase):
    """A token base with a stopwatch."""

    def __init__(self, config: PerceptionConfig, dim: int, clock: Clock) -> None:
        super().__init__(config.base_codes, dim, config.spawn_below, config.forgetting)
        self._clock = clock
        self.spent_s = 0.0

    def assign(self, embeds: Tensor, mass: Tensor) -> Assignment:
        """As the token base does."""
        started = self._clock()
        found = super().assign(embeds, mass)
        self.spent_s += self._clock() - started
        return found


class Budgeted(Perception):
    """As deployed, but that a segment of n tokens becomes at most `share` x n rows, and one at least."""

    def __init__(self, config: PerceptionConfig, dim: int, grid: tuple[int, int], share: float, clock: Clock) -> None:
        super().__init__(config, dim, grid)
        self._share = share
        self._timed = Timed(self._reducer, clock)
        self._reducer = self._timed
        self.base: TimedBase = TimedBase(config, dim, clock)
        self.closed_rows = 0
        self.closed_segments = 0
        self.closed_frames = 0
        self._closing_s = 0.0

    @property
    def rows(self) -> int:
        """Rows of the open segment as it is now; with nothing open, of the longest."""
        if not self.open_frames:
            return self.config.fused_tokens
        asked = int(self._share * self.open_frames * self.grid[0] * self.grid[1] + 0.5)
        return max(1, min(asked, self.config.fused_tokens))

    def flush(self) -> Rows | None:
        """Close the open segment, and count."""
        before, frames = self._timed.spent_s, self.open_frames
        rows = super().flush()
        if rows is not None:
            self._closing_s += self._timed.spent_s - before
            self.closed_rows += len(rows.mass)
            self.closed_segments += 1
            self.closed_frames += frames
        return rows

    def rows_given(self) -> int:
        """Rows of everything seen, the open segment included."""
        opened = self.open_segment()
        return self.closed_rows + (0 if opened is None else len(opened.mass))

    def reducer_ms(self) -> float:
        """Milliseconds per frame of turning closed segments into rows; ours needs its codes for that, too."""
        frames = max(1, self.closed_frames)
        base_s = self.base.spent_s / max(1, self.frames_seen) if self.config.reducer == OURS else 0.0
        return 1e3 * (self._closing_s / frames + base_s)

    def reducer_flops(self) -> float:
        """Floating-point operations per frame in matrix products, as torch counts them; the rest is far less."""
        if self._timed.last is None:
            return 0.0
        clip, rows = self._timed.last
        with FlopCounterMode(display=False) as counted:
            self._timed.inner.reduce(clip, rows)
        found = counted.get_total_flops() / len(clip.embeds)
        if self.config.reducer == OURS:
            found += 2.0 * clip.embeds[0].numel() * self.base.capacity  # each token against every code
        return float(found)


def blocks_of(tokens: list[Any], config: PerceptionConfig, dim: int, grid: tuple[int, int]) -> int:
    """How many segments a stream has, the open one included; not a matter of how they become rows."""
    plain = Perception(replace(config, reducer="uniform", length="fixed", fused_tokens=1), dim, grid)
    with torch.no_grad():
        return 1 + sum(plain.see(one) is not None for one in tokens)
