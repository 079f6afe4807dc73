"""What a watcher saw, as tracks: the ground on which questions are answered, apart from any one script.

A history is one or more runs laid end to end. A run is a stretch of one scene, sampled at the times of its frames. A
track is one thing during one run. Cutting and shifting need no script, so that histories can be composed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from stream.sources.simulated.kinds import Colour, Kind
from stream.sources.simulated.truth import Seen, visible
from stream.sources.simulated.world import Script

CLEAR = 0.6  # a thing is clearly there when this share of it shows
SLIVER = 0.08  # less than this counts as not there; between the two nobody may be asked about it
GLANCES = 2  # clear samples that make a thing seen
TICK_S = 1e-6  # times closer than this are the same
Side = Literal["left", "right"]


class Sample(NamedTuple):
    """A thing at the time of one frame."""

    t: float  # s
    x: float  # middle of its visible part, fraction of picture width
    y: float
    vx: float  # picture widths per s; 0 when it stands still
    shown: float  # 0..1


@dataclass(frozen=True, slots=True)
class Track:
    """One thing during one run: its samples, oldest first, at least one."""

    kind: Kind
    colour: Colour
    samples: tuple[Sample, ...]

    @property
    def enter_s(self) -> float:
        """First clear sample, s; the first one when none is clear."""
        return next((s.t for s in self.samples if s.shown >= CLEAR), self.samples[0].t)

    @property
    def leave_s(self) -> float:
        """Last sample that shows anything to speak of, s."""
        return next((s.t for s in reversed(self.samples) if s.shown >= SLIVER), self.samples[-1].t)

    @property
    def seen(self) -> bool:
        """Whether it was clearly there often enough to be known."""
        return sum(s.shown >= CLEAR for s in self.samples) >= GLANCES

    @property
    def trace(self) -> bool:
        """Whether anything of it ever showed."""
        return any(s.shown >= SLIVER for s in self.samples)


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of one scene, looked at every `step_s` seconds from `start_s` on."""

    start_s: float
    end_s: float
    step_s: float
    tracks: tuple[Track, ...]

    @property
    def last_s(self) -> float:
        """Time of the last look, s."""
        return self.start_s + int((self.end_s - self.start_s + TICK_S) / self.step_s) * self.step_s

    def until(self, end_s: float) -> Run:
        """What of it was known at `end_s`."""
        tracks = [replace(k, samples=tuple(s for s in k.samples if s.t <= end_s + TICK_S)) for k in self.tracks]
        return replace(self, end_s=min(end_s, self.end_s), tracks=tuple(k for k in tracks if k.samples))

    def moved(self, by_s: float) -> Run:
        """The same, `by_s` later."""
        tracks = [replace(k, samples=tuple(s._replace(t=s.t + by_s) for s in k.samples)) for k in self.tracks]
        return replace(self, start_s=self.start_s + by_s, end_s=self.end_s + by_s, tracks=tuple(tracks))

    def exit_side(self, track: Track) -> Side | None:
        """The edge by which a track of this run went out of the picture; None if that was not seen."""
        last = track.samples[-1]
        if last.t > self.last_s - self.step_s / 2:
            return None
        if last.vx < 0 and last.x < 0.3:
            return "left"
        return "right" if last.vx > 0 and last.x > 0.7 else None


@dataclass(frozen=True, slots=True)
class History:
    """Runs in order of time, not overlapping. "Now" is the last look of the last run."""

    runs: tuple[Run, ...]

    @classmethod
    def from_script(cls, script: Script, t0: float, t1: float, hz: float = 2.0) -> History:
        """What shows at t0, t0 + 1/hz, ... up to and including t1 (media time, s)."""
        t0, t1 = float(t0), float(t1)
        step, who, found = 1 / hz, dict[int, Seen](), dict[int, list[Sample]]()
        for k in range(int((t1 - t0 + TICK_S) * hz) + 1):
            t = t0 + k * step
            for seen in visible(script, t, least=0):
                sample = Sample(t, seen.x, seen.y, seen.velocity[0], seen.shown_fraction)
                who[seen.actor_id] = seen
                found.setdefault(seen.actor_id, []).append(sample)
        tracks = [Track(who[i].kind, who[i].colour, tuple(samples)) for i, samples in found.items()]
        return cls((Run(t0, t1, step, tuple(tracks)),))

    @classmethod
    def concat(cls, parts: Sequence[History], gap_s: float = 0.0) -> History:
        """Parts one after the other, each `gap_s` after the end of the one before. The first keeps its times."""
        runs: list[Run] = []
        for part in parts:
            by = runs[-1].end_s + gap_s - part.start_s if runs else 0.0
            runs += [run.moved(by) for run in part.runs]
        return cls(tuple(runs))

    @property
    def start_s(self) -> float:
        """Time of the first look, s."""
        return self.runs[0].start_s

    @property
    def now_s(self) -> float:
        """Time of the last look, s."""
        return self.runs[-1].last_s

    def until(self, now_s: float) -> History:
        """What was known at `now_s`: later looks and later runs are forgotten. The first run always stays."""
        begun = [run for i, run in enumerate(self.runs) if i == 0 or run.start_s <= now_s + TICK_S]
        return History((*begun[:-1], begun[-1].until(now_s)))

    def moved(self, by_s: float) -> History:
        """The same, `by_s` later."""
        return History(tuple(run.moved(by_s) for run in self.runs))
