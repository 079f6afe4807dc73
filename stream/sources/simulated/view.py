"""A history as seen from its end: what is there, what is gone, what was never there, and what a named minute held."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from stream.sources.simulated.balance import Candidate, Named
from stream.sources.simulated.history import CLEAR, SLIVER, TICK_S, History, Run, Sample, Track
from stream.sources.simulated.kinds import COLOURS, KINDS, Colour, Fixture, Kind
from stream.sources.simulated.wording import UNSEEN, clock

GONE_S = 6.0  # how long a thing must be out of sight before the past tense is used
APART = 0.07  # picture widths between two things whose order from left to right is clear
BEFORE_S = 3.0  # one came clearly before the other
MINUTE_S, DAY_S = 60.0, 86400.0
WATCHED_S = 20.0  # of a minute that is asked about, so much was looked at, at least
TRIED, MINUTES = 12, 3  # minutes looked into for a question, and minutes offered


class Minute(NamedTuple):
    """A minute of the clock, with what showed in it."""

    span_s: tuple[float, float]  # s of the history
    clock: str  # "14:05", UTC
    tracks: list[tuple[Run, Track, Track]]  # of each thing that showed: its run, all of it, and what falls in here

    def of(self, kind: Kind, colour: Colour | None = None) -> list[tuple[Run, Track, Track]]:
        """What showed of a kind."""
        return [p for p in self.tracks if p[1].kind == kind and colour in {None, p[1].colour}]


class Switched(NamedTuple):
    """A change of door or light; `sure` when it was seen to happen."""

    t: float
    on: bool
    sure: bool


class View:
    """A history as seen from its end; second 0 of it is at the Unix time `wall_s`."""

    def __init__(self, history: History, wall_s: float = 0.0) -> None:
        self.runs, self.start, self.now, self.wall_s = history.runs, history.start_s, history.now_s, wall_s
        self.tracks: list[tuple[Run, Track]] = [(r, k) for r in history.runs for k in r.tracks if k.trace]
        last = [(k, k.samples[-1]) for k in history.runs[-1].tracks]
        self.last: list[tuple[Track, Sample]] = [(k, s) for k, s in last if s.t >= self.now - TICK_S]

    @cached_property
    def here(self) -> list[tuple[Track, Sample]]:
        """What is clearly there, from left to right."""
        return sorted(((k, s) for k, s in self.last if s.shown >= CLEAR), key=lambda p: p[1].x)

    @cached_property
    def unclear(self) -> set[Kind]:
        """Kinds of which something is half there, or hidden within the picture."""
        return {k.kind for k, s in self.last if s.shown < CLEAR and (s.shown >= SLIVER or APART < s.x < 1 - APART)}

    def only(self, kind: Kind) -> tuple[Track, Sample] | None:
        """The one thing of a kind that is there."""
        found = [p for p in self.here if p[0].kind == kind]
        return found[0] if len(found) == 1 and kind not in self.unclear else None

    def fixture(self, fixture: Fixture) -> bool | None:
        """Whether it is open or on; None where there is none, or one cannot tell."""
        glances = self.runs[-1].glances
        return glances[-1].of(fixture) if glances else None

    @cached_property
    def _by_name(self) -> dict[tuple[Kind, Colour], list[tuple[Run, Track]]]:
        found: dict[tuple[Kind, Colour], list[tuple[Run, Track]]] = {}
        for run, track in self.tracks:
            found.setdefault((track.kind, track.colour), []).append((run, track))
        return found

    @cached_property
    def _gone(self) -> set[int]:
        return {id(k) for _, k in self.tracks if k.seen and self.now - k.leave_s >= GONE_S}

    def of(self, kind: Kind, colour: Colour | None = None) -> list[tuple[Run, Track]]:
        """Every track of a kind, clear or not."""
        if colour is not None:
            return self._by_name.get((kind, colour), [])
        return [p for c in COLOURS for p in self._by_name.get((kind, c), ())]

    def gone(self, track: Track) -> bool:
        """Whether it was known and is out of sight long enough. `track` is one of `tracks`."""
        return id(track) in self._gone

    @cached_property
    def singular(self) -> list[tuple[Run, Track]]:
        """Known things that are gone, and of which there was only one of that kind and colour."""
        return [(r, k) for r, k in self.tracks if self.gone(k) and len(self.of(k.kind, k.colour)) == 1]

    def absent(self, rng: np.random.Generator, kinds: Sequence[Kind] = KINDS) -> list[tuple[Kind, Colour, str]]:
        """A thing of each kind that never showed, and whether that is a near miss or far off."""
        found = []
        for kind in kinds:
            there = {k.colour for _, k in self.of(kind)}
            if len(there) < len(COLOURS):
                found.append((kind, other(there, rng), "near" if there else "far"))
        return found

    def switches(self, fixture: Fixture) -> list[Switched]:
        """Its changes in order. What changed while nobody could see it changed at the latest by the time it showed."""
        found: list[Switched] = []
        known: bool | None = None
        for run in self.runs:
            watched = False
            for glance in run.glances:
                state = glance.of(fixture)
                if state is not None and known is not None and state != known:
                    found.append(Switched(glance.t, state, watched))
                known, watched = (known if state is None else state), state is not None
        return found

    def minutes(self, rng: np.random.Generator) -> list[Minute]:
        """Some minutes that are over, were watched long enough and lie within a day, so that the clock names them."""
        first = int(np.floor((self.wall_s + max(self.start, self.now - DAY_S + MINUTE_S)) / MINUTE_S))
        last = int(np.floor((self.wall_s + self.now - GONE_S) / MINUTE_S))  # the first that is not over
        found = []
        for index in rng.permutation(last - first)[:TRIED] if last > first else ():
            start = (first + int(index)) * MINUTE_S - self.wall_s
            if start >= self.now - DAY_S and self._watched(start) >= WATCHED_S - TICK_S:
                found.append(self._minute(start))
                if len(found) == MINUTES:
                    break
        return found

    def _watched(self, start: float) -> float:
        spans = ((max(r.start_s, start), min(r.last_s, start + MINUTE_S)) for r in self.runs)
        return sum(max(b - a, 0.0) for a, b in spans)

    def _minute(self, start: float) -> Minute:
        end, found = start + MINUTE_S, []
        for run, track in self.tracks:
            samples = track.samples
            if samples[0].t < end and samples[-1].t >= start:
                part = samples[bisect_left(samples, start, key=_time) : bisect_left(samples, end, key=_time)]
                inside = replace(track, samples=part) if part else None
                if inside is not None and inside.trace:
                    found.append((run, track, inside))
        return Minute((start, end), clock(self.wall_s + start), found)

    def present(self, answer: str, words: Mapping[str, str], named: Named, tracks: Sequence[Track]) -> Candidate:
        """A candidate that rests on the last look, and there on these tracks."""
        return Candidate("", answer, answer, words, (self.now, self.now), 0.0, named=named, shown=_names(tracks))

    def past(self, answer: str, words: Mapping[str, str], named: Named, tracks: Sequence[Track]) -> Candidate:
        """A candidate that rests on these tracks; on the whole history when there are none."""
        span = (self.start, self.now)
        if tracks:
            span = min(k.enter_s for k in tracks), max(k.leave_s for k in tracks)
        lag = self.now - (span[1] if tracks else self.start)
        return Candidate("", answer, answer, words, span, lag, named=named, shown=_names(tracks))

    def unseen(self, words: Mapping[str, str], named: Named, flavour: str) -> Candidate:
        """A candidate about what never showed."""
        return self.past(UNSEEN, words, named, ())._replace(there=False, flavour=flavour)


Maker = Callable[[View, np.random.Generator], list[Candidate]]  # finds what could be asked of one kind


def other(taken: set[Colour], rng: np.random.Generator) -> Colour:
    """Any colour but these."""
    free = [c for c in COLOURS if c not in taken]
    return free[int(rng.integers(len(free)))]


def _names(tracks: Sequence[Track]) -> tuple[tuple[str, str], ...]:
    return tuple((k.kind, k.colour) for k in tracks)


def _time(sample: Sample) -> float:
    return sample.t
