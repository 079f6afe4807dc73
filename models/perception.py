"""One camera's way from tokens to rows: token base, dynamics map, the open segment, the instant window."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.functional import cosine_similarity

from models.dynamics_map import DynamicsMap
from models.instant import WholeFrames
from models.reducers.clip import Clip, rows_of
from models.reducers.registry import OURS, make_reducer
from models.reducers.token_dynamics import TokenDynamics
from models.rows import MOTION_FEATURES, Rows
from models.stillness import Said, nothing_new
from models.token_base import TokenBase, codes_of
from stream.flow import Tokens

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class PerceptionConfig:
    """Sizes and thresholds of online clustering; numbers from `docs/decisions/0010-perception-defaults.md`."""

    base_codes: int = 512
    spawn_below: float = 0.85  # a token whose best cosine is lower opens a code
    forgetting: float = 0.05  # per frame that hits a code
    idle_frames: int | None = None  # a code that none of so many frames went to is retired; None: never
    map_frames: int = 256
    segment_s: float = 8.0
    segment_frames: int = 64  # the most frames in a segment, whatever its length in seconds
    change_budget_fraction: float = 4.0  # a segment closes early once this many pictures' worth of cells have changed
    cut_fraction: float = 0.7  # share of cells that change at once on a cut
    length: Literal["fixed", "adaptive"] = "fixed"
    fused_tokens: int = 32
    fused_min: int = 4
    fused_max: int = 64
    distortion_target: float = 0.05
    instant_frames: int = 4
    reducer: str = OURS  # how a segment becomes rows; names in `models/reducers/registry.py`

    def __post_init__(self) -> None:
        """Raises ValueError with a sentence for sizes that cannot work."""
        if not 2 <= self.base_codes <= 32767:
            raise ValueError(f"memory.base_codes must be between 2 and 32767, not {self.base_codes}.")
        if not 1 <= self.segment_frames <= self.map_frames:
            raise ValueError(
                f"memory.map_frames ({self.map_frames}) must hold a whole segment ({self.segment_frames} frames)."
            )
        if not 1 <= self.fused_min <= self.fused_max:
            raise ValueError(
                f"memory.fused_min ({self.fused_min}) must be 1 or more and at most fused_max ({self.fused_max})."
            )
        if self.idle_frames is not None and self.idle_frames < 1:
            raise ValueError(f"memory.idle_frames must be 1 or more, not {self.idle_frames}.")
        make_reducer(self.reducer)
        if self.fused_tokens < 1 or self.instant_frames < 1 or self.segment_s <= 0:
            raise ValueError("memory.fused_tokens and instant_frames must be 1 or more and segment_s above 0.")

    @property
    def recent_frames(self) -> int:
        """The instant window, and the frames before it that tell how things in its first frame move."""
        return 2 * self.instant_frames - 1


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """One frame of the open segment or the instant window."""

    embeds: Tensor  # (N, D)
    time_s: float
    saliency: Tensor | None = None  # (N,) where the encoder tells


class Perception:
    """`see` a frame; now and then a segment closes and comes out as rows."""

    def __init__(self, config: PerceptionConfig, dim: int, grid: tuple[int, int]) -> None:
        self.config = config
        self.dim = dim
        self.grid = grid
        self.base = TokenBase(config.base_codes, dim, config.spawn_below, config.forgetting)
        self.map = DynamicsMap(config.map_frames, grid)
        self._whole = WholeFrames(grid)
        self._reducer = (
            TokenDynamics(config.length, config.fused_min, config.distortion_target)
            if config.reducer == OURS
            else make_reducer(config.reducer)
        )
        self.frames_seen = 0
        self.patches_seen = 0.0
        self._open: list[_Seen] = []  # at most segment_frames
        self._recent: deque[_Seen] = deque(maxlen=config.recent_frames)
        self._from_s = 0.0
        self._until_s = 0.0
        self._changed = 0.0  # pictures' worth of changed cells in the open segment
        self._said: Said | None = None  # by the last segment with rows: what "nothing new" is measured against

    @property
    def codes_alive(self) -> int:
        """Codes in use."""
        return int(self.base.alive.sum())

    @property
    def rows(self) -> int:
        """Rows of a segment: exactly (`fixed`), or at most (`adaptive`, and most of the other reducers)."""
        return self.config.fused_tokens if self.config.length == "fixed" else self.config.fused_max

    @property
    def open_frames(self) -> int:
        """Frames in the open segment."""
        return len(self._open)

    def see(self, tokens: Tokens) -> Rows | None:
        """Take in one frame; returns the rows of the segment that this frame closed, if it did.

        The frame itself opens the next segment: a segment never holds frames that came after its end.
        """
        if tokens.grid != self.grid or tokens.embeds.shape != (self.grid[0] * self.grid[1], self.dim):
            raise ValueError(
                f"Perception takes {self.grid} cells of width {self.dim}, not {tuple(tokens.embeds.shape)}."
            )
        time_s = tokens.span_s[1]
        change = self._change(tokens.embeds)
        closed = self.flush() if self._must_close(time_s, change) else None
        self._changed += change
        self._remember(tokens, time_s)
        return closed

    def hold(self, until_s: float) -> None:
        """Nothing has changed until `until_s`; the open segment lasts that long."""
        self._until_s = max(self._until_s, until_s)

    def flush(self) -> Rows | None:
        """Close the open segment now. Rows with no row at all mean: nothing new, extend the block before."""
        rows = self.open_segment()
        if rows is None:
            return None
        if self.config.length == "adaptive":
            if self._is_static(rows):
                rows = _none(rows)
            else:
                self._said = Said.by(rows)
        self._open, self._changed = [], 0.0
        if self.config.idle_frames is not None:  # only between segments: rows are made of codes that are alive
            self.map.forget(self.base.retire(self.config.idle_frames))
        return rows

    def open_segment(self) -> Rows | None:
        """The open segment as rows, provisional: it may still change."""
        if not self._open:
            return None
        slots, errors, times = self.map.last(len(self._open))
        cells = self.grid[0] * self.grid[1]
        clip = Clip(
            torch.stack([seen.embeds for seen in self._open]),
            self.grid,
            times,
            slots.view(len(self._open), cells),
            errors.view(len(self._open), cells),
            _saliency(self._open),
        )
        return rows_of(self._reducer.reduce(clip, self.rows), clip, (self._from_s, max(self._until_s, self._from_s)))

    def instant(self) -> list[Rows]:
        """The last frames at full tokens, oldest first: one row per cell, with the motion of its code.

        Of a code of these frames alone: one of the base may be of many things that were (record 55).
        """
        if not self._recent:
            return []
        config, frames = self.config, list(self._recent)
        codes = min(config.base_codes, len(frames) * self.grid[0] * self.grid[1])  # more could not be opened
        base = TokenBase(codes, self.dim, config.spawn_below, config.forgetting)
        slots, errors = (x.view(-1, *self.grid) for x in codes_of((seen.embeds for seen in frames), base))
        times_s = torch.tensor([seen.time_s for seen in frames], dtype=torch.float64)
        found = []
        for at in range(max(0, len(frames) - config.instant_frames), len(frames)):
            those = slice(max(0, at + 1 - config.instant_frames), at + 1)  # motion is that of the frames up to this one
            seen = frames[at]
            found.append(self._whole.rows(seen.embeds, seen.time_s, slots[those], errors[those], times_s[those]))
        return found

    def bytes(self) -> dict[str, int]:
        """Memory held, by part, at its fullest.

        `shown` is what is made of the last frames and the open segment for questions (beside the frames themselves),
        `said` what the last segment is remembered by.
        """
        cells, config = self.grid[0] * self.grid[1], self.config
        frame, row = cells * (self.dim + 1) * 4, self.dim * 4 + (MOTION_FEATURES + 1) * 4 + 8
        rows = self.rows
        return {
            "base": self.base.bytes(),
            "map": self.map.bytes(),
            "open": frame * config.segment_frames,
            "instant": frame * config.recent_frames + self._whole.bytes(),
            "shown": config.instant_frames * cells * row + rows * (row + frame // cells + cells * 4),
            "said": rows * (self.dim + cells) * 4 if config.length == "adaptive" else 0,
        }

    def state_dict(self) -> dict[str, Tensor]:
        """All that is needed to go on exactly."""
        state = {f"base.{k}": v for k, v in self.base.state_dict().items()} | {
            f"map.{k}": v for k, v in self.map.state_dict().items()
        }
        for name, seen in (("open", list(self._open)), ("recent", list(self._recent))):
            empty = torch.zeros(0, self.grid[0] * self.grid[1], self.dim)
            state[f"{name}.embeds"] = torch.stack([s.embeds for s in seen]) if seen else empty
            salient = _saliency(seen)
            state[f"{name}.saliency"] = empty[:, :, 0] if salient is None else salient
            state[f"{name}.times_s"] = torch.tensor([s.time_s for s in seen], dtype=torch.float64)
        numbers = [self.frames_seen, self.patches_seen, self._from_s, self._until_s, self._changed]
        state["numbers"] = torch.tensor(numbers, dtype=torch.float64)
        said = self._said or Said(torch.zeros(0, self.dim), torch.zeros(0, self.grid[0] * self.grid[1]))
        state["said.embeds"], state["said.places"] = said.embeds, said.places
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Raises ValueError when the state is of other sizes."""
        self.base.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("base.")})
        self.map.load_state_dict({k[4:]: v for k, v in state.items() if k.startswith("map.")})
        self._open = _seen(state, "open")
        self._recent = deque(_seen(state, "recent"), self.config.recent_frames)
        frames, self.patches_seen, self._from_s, self._until_s, self._changed = (float(n) for n in state["numbers"])
        self.frames_seen = int(frames)
        said = Said(state["said.embeds"].clone(), state["said.places"].clone())
        self._said = said if len(said.embeds) else None

    def _remember(self, tokens: Tokens, time_s: float) -> None:
        assigned = self.base.assign(tokens.embeds, tokens.mass)
        for gone, kept in assigned.merged:
            self.map.relabel(gone, kept)
        self.map.append(assigned.slots, assigned.errors, time_s)
        if not self._open:
            self._from_s = time_s
        self._until_s = max(self._until_s, time_s)
        seen = _Seen(tokens.embeds.float(), time_s, tokens.saliency)
        self._open.append(seen)
        self._recent.append(seen)
        self.frames_seen += 1
        self.patches_seen += float(tokens.mass.sum())

    def _change(self, embeds: Tensor) -> float:
        """Share of cells that no longer look like the frame before."""
        if not self._recent:
            return 0.0
        alike = cosine_similarity(embeds.float(), self._recent[-1].embeds, dim=1)
        return float((alike < self.config.spawn_below).float().mean())

    def _must_close(self, time_s: float, change: float) -> bool:
        if not self._open:
            return False
        config = self.config
        return (
            time_s - self._from_s >= config.segment_s
            or len(self._open) >= config.segment_frames
            or change >= config.cut_fraction
            or self._changed + change > config.change_budget_fraction
        )

    def _is_static(self, rows: Rows) -> bool:
        """Has the last segment with rows already said all of this one, within the distortion target?"""
        return self._said is not None and nothing_new(rows, self._said, self.config.distortion_target)


def _saliency(seen: Sequence[_Seen]) -> Tensor | None:
    """(T, N) of frames that all have it."""
    told = [frame.saliency for frame in seen if frame.saliency is not None]
    return torch.stack(told) if told and len(told) == len(seen) else None


def _seen(state: Mapping[str, Tensor], name: str) -> list[_Seen]:
    times_s = state[f"{name}.times_s"].tolist()
    salient = state.get(f"{name}.saliency", torch.zeros(0))  # snapshots made before there was any have none
    told = [row.clone() for row in salient] or [None] * len(times_s)
    return [_Seen(e.clone(), t, s) for e, t, s in zip(state[f"{name}.embeds"], times_s, told, strict=True)]


def _none(rows: Rows) -> Rows:
    """The same stretch of time with no row."""
    dim, cells = rows.embeds.shape[1], rows.cells.shape[1]
    return Rows(
        embeds=torch.zeros(0, dim),
        mass=torch.zeros(0),
        motion=torch.zeros(0, MOTION_FEATURES),
        cells=torch.zeros(0, cells),
        codes=torch.zeros(0, dtype=torch.int64),
        grid=rows.grid,
        span_s=rows.span_s,
        frames=rows.frames,
        patches=rows.patches,
    )
