"""What a watcher saw, as tracks: the ground on which questions are answered, apart from any one script.

A history is one or more runs laid end to end. A run is a stretch of one scene, sampled at the times of its frames. A
track is one thing during one run. Cutting and shifting need no script, so that histories can be composed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from stream.sources.simulated.kinds import Colour, Fixture, Kind
from stream.sources.simulated.truth import Seen, Side, everyone, fixtures_seen, leaving, visible
from stream.sources.simulated.world import Actor, Script

CLEAR = 0.6  # a thing is clearly there when this share of it shows
SLIVER = 0.08  # less than this counts as not there; between the two nobody may be asked about it
GLANCES = 2  # clear samples that make a thing seen
TICK_S = 1e-6  # times closer than this are the same


class Sample(NamedTuple):
    """A thing at the time of one frame."""

    t: float  # s
    x: float  # middle of its visible part, fraction of picture width
    y: float
    vx: float  # picture widths per s; 0 when it stands still
    shown: float  # 0..1
    mate: tuple[Kind, Colour] | None = None  # what it carries, or who carries it


class Glance(NamedTuple):
    """Door and light from the time of one frame on, until the next glance. None: there is none, or one cannot tell."""

    t: float  # s
    door: bool | None = None  # open
    light: bool | None = None  # on

    def of(self, fixture: Fixture) -> bool | None:
        """The state of the one or the other."""
        return self.door if fixture == "door" else self.light


class Exit(NamedTuple):
    """How a thing is going to leave, of which nothing may have been seen yet."""

    since_s: float  # from then on it goes straight to the edge
    leave_s: float  # when its middle passes the edge
    side: Side


@dataclass(frozen=True, slots=True)
class Track:
    """One thing during one run: its samples, oldest first, at least one."""

    kind: Kind
    colour: Colour
    samples: tuple[Sample, ...]
    number: str = ""  # on a truck
    exit: Exit | None = None  # the future, where it was asked for

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
    glances: tuple[Glance, ...] = ()  # one for each change of door or light, and the first; none: no such things

    @property
    def last_s(self) -> float:
        """Time of the last look, s."""
        return self.start_s + int((self.end_s - self.start_s + TICK_S) / self.step_s) * self.step_s

    def until(self, end_s: float) -> Run:
        """What of it was known at `end_s`."""
        tracks = [replace(k, samples=tuple(s for s in k.samples if s.t <= end_s + TICK_S)) for k in self.tracks]
        glances = tuple(g for g in self.glances if g.t <= end_s + TICK_S)
        kept = tuple(k for k in tracks if k.samples)
        return replace(self, end_s=min(end_s, self.end_s), tracks=kept, glances=glances)

    def moved(self, by_s: float) -> Run:
        """The same, `by_s` later."""
        tracks = tuple(_later(track, by_s) for track in self.tracks)
        glances = tuple(g._replace(t=g.t + by_s) for g in self.glances)
        return Run(self.start_s + by_s, self.end_s + by_s, self.step_s, tracks, glances)

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
    def from_script(
        cls, script: Script, t0: float, t1: float, hz: float = 2.0, *, ahead_s: float | None = None
    ) -> History:
        """What shows at t0, t0 + 1/hz, ... up to and including t1 (media time, s).

        Args:
            ahead_s: also tell how things will leave, up to that many seconds after t1; None: tell nothing of the
                future. Cutting such a history does not take this away.
        """
        t0, t1 = float(t0), float(t1)
        step, who, found, glances = 1 / hz, dict[int, Seen](), dict[int, list[Sample]](), list[Glance]()
        for k in range(int((t1 - t0 + TICK_S) * hz) + 1):
            t = t0 + k * step
            look = visible(script, t, least=0)
            for seen in look:
                sample = Sample(t, seen.x, seen.y, seen.velocity[0], seen.shown_fraction, seen.mate)
                who[seen.actor_id] = seen
                found.setdefault(seen.actor_id, []).append(sample)
            glance = _glance(script, t, look)
            if not glances or glance[1:] != glances[-1][1:]:
                glances.append(glance)
        cast = everyone(script, t0, t1)
        exits = {} if ahead_s is None else {i: _exit(script, cast[i], t1 + ahead_s) for i in found}
        tracks = tuple(
            Track(who[i].kind, who[i].colour, tuple(samples), who[i].number, exits.get(i))
            for i, samples in found.items()
        )
        return cls((Run(t0, t1, step, tracks, tuple(glances)),))

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


def _later(track: Track, by_s: float) -> Track:
    samples = tuple(s._replace(t=s.t + by_s) for s in track.samples)
    e = track.exit
    leaves = None if e is None else Exit(e.since_s + by_s, e.leave_s + by_s, e.side)
    return replace(track, samples=samples, exit=leaves)


def _glance(script: Script, t: float, look: Sequence[Seen]) -> Glance:
    state = fixtures_seen(script, t, look)
    return Glance(t, state.get("door"), state.get("light"))


def _exit(script: Script, actor: Actor, until_s: float) -> Exit | None:
    leave_s, side = leaving(script, actor)
    return Exit(actor.path[-2].t, leave_s, side) if leave_s <= until_s else None
