"""PO, a standing instruction: "say so when there is a red car", asked once a second; an alert is a yes after a no.

Judged twice: by each answer as it comes, and by a change of answer only once two looks in a row agree on it. Who would
be woken by an alert looks again first; it costs a second of the two that there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from bench.watch.asks import Ask
from bench.watch.films import Film
from stream.sources.simulated.history import CLEAR, GLANCES, SLIVER, History
from stream.sources.simulated.kinds import COLOURS, Colour, Kind
from stream.sources.simulated.quiz import Item
from stream.sources.simulated.wording import PHRASES, article

WITHIN_S = 2.0  # an alert this near to an appearance is for it
FROM_S, POLLS = 20, 90  # when the instruction is given and for how many seconds it stands
TWICE = ", two looks agreeing"  # after a system's name
TRIES = 6  # at most, to find instructions that differ
PRESENT = 0.8  # how often it is about something that does appear


@dataclass(frozen=True, slots=True)
class Visit:
    """A thing came, and went."""

    clear_s: float  # when it was first clearly there: what an alert is for
    from_s: float  # when anything of it showed
    until_s: float


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the alerts."""

    appearances: int
    hits: int  # within 2 s
    late: int  # the first alert of a visit, outside of that
    duplicates: int
    false_alarms: int  # nothing of it was there
    delays_s: tuple[float, ...]
    watched_s: float

    @property
    def f1(self) -> float:
        """Of hits among alerts and appearances; 1 where there was nothing to say and nothing was said."""
        alerts = self.hits + self.late + self.duplicates + self.false_alarms
        return 2 * self.hits / (alerts + self.appearances) if alerts + self.appearances else 1.0


def visits(truth: History, kind: Kind, colour: Colour) -> list[Visit]:
    """When something of a kind and colour was there: stretches with any trace of it, clear for two looks at least."""
    found = []
    for run in truth.runs:
        shown: dict[float, float] = {}
        for track in (k for k in run.tracks if (k.kind, k.colour) == (kind, colour)):
            for s in track.samples:
                shown[s.t] = max(s.shown, shown.get(s.t, 0.0))
        count = round((run.last_s - run.start_s) / run.step_s) + 1
        looks = [(t, shown.get(t, 0.0)) for t in (run.start_s + k * run.step_s for k in range(count))]
        for there, group in groupby(looks, lambda look: look[1] >= SLIVER):
            stretch = list(group)
            clear = [t for t, share in stretch if share >= CLEAR]
            if there and len(clear) >= GLANCES:
                found.append(Visit(clear[0], stretch[0][0], stretch[-1][0]))
    return found


def instructions(film: Film, seed: int, rng: np.random.Generator, most: int) -> Iterator[tuple[list[Ask], list[Visit]]]:
    """Up to so many different ones: the polls of each and the visits that it is for. The first is drawn from `rng`."""
    said: set[str] = set()
    for draw in (rng, *(np.random.default_rng((seed, 2, again)) for again in range(TRIES))):
        if len(said) == most:
            return
        polls, found, text = instruct(film, draw, "standing" if not said else f"standing {len(said) + 1}")
        if polls and text not in said:
            said.add(text)
            yield polls, found


def instruct(film: Film, rng: np.random.Generator, group: str) -> tuple[list[Ask], list[Visit], str]:
    """The polls of one standing instruction, the visits that it is for, and what it says."""
    end = min(FROM_S + POLLS, film.seconds)
    coming = [named for named in _names(film.truth) if any(FROM_S + 2 < v.clear_s < end - 2 for v in _of(film, named))]
    coming = [named for named in coming if not any(v.from_s < FROM_S + 2 < v.until_s + 2 for v in _of(film, named))]
    absent = [(k, c) for k, _ in _names(film.truth) for c in COLOURS if (k, c) not in _names(film.truth)]
    pool = coming if coming and (rng.random() < PRESENT or not absent) else absent
    if not pool:
        return [], [], ""
    kind, colour = pool[int(rng.integers(len(pool)))]
    text = PHRASES["exists"][0].format(a=article(colour, kind))
    found = [v for v in _of(film, (kind, colour)) if FROM_S < v.clear_s < end]
    return list(_polls(text, end, group, found)), found, text


def _of(film: Film, named: tuple[Kind, Colour]) -> list[Visit]:
    return visits(film.truth, *named)


def _names(truth: History) -> list[tuple[Kind, Colour]]:
    return sorted({(k.kind, k.colour) for run in truth.runs for k in run.tracks if k.trace})


def _polls(text: str, end: float, group: str, found: Sequence[Visit]) -> Iterator[Ask]:
    for k in range(int(end) - FROM_S + 1):
        now = float(FROM_S + k)
        answer = "yes" if any(v.clear_s <= now <= v.until_s for v in found) else "no"
        yield Ask(now, Item("exists", "present", text, answer, (now, now), 0.0), "standing", group)


def tally(times_s: Sequence[float], said_yes: Sequence[bool], found: Sequence[Visit]) -> Tally:
    """Judge the polls of one instruction: an alert is the first yes, and each yes after a no."""
    alerts = [t for i, t in enumerate(times_s) if said_yes[i] and (i == 0 or not said_yes[i - 1])]
    spoken: set[int] = set()  # visits that had an alert
    delays: list[float] = []
    late = duplicates = false_alarms = 0
    for t in alerts:
        near = [i for i, v in enumerate(found) if abs(t - v.clear_s) <= WITHIN_S and i not in spoken]
        around = [i for i, v in enumerate(found) if v.from_s - WITHIN_S <= t <= v.until_s + WITHIN_S]
        if near:
            spoken.add(near[0])
            delays.append(t - found[near[0]].clear_s)
        elif set(around) - spoken:
            spoken.add(min(set(around) - spoken))
            late += 1
        elif around:
            duplicates += 1
        else:
            false_alarms += 1
    watched = times_s[-1] - times_s[0] if times_s else 0.0
    return Tally(len(found), len(delays), late, duplicates, false_alarms, tuple(delays), watched)


def sure(said_yes: Sequence[bool]) -> list[bool]:
    """The answers with every change put off until the next look agrees; nothing is said before the second look."""
    found: list[bool] = []
    for i, yes in enumerate(said_yes):
        before = found[-1] if found else False
        found.append(yes if i and said_yes[i - 1] == yes else before)
    return found


def together(tallies: Sequence[Tally]) -> Tally:
    """Several instructions as one."""
    return Tally(
        sum(t.appearances for t in tallies),
        sum(t.hits for t in tallies),
        sum(t.late for t in tallies),
        sum(t.duplicates for t in tallies),
        sum(t.false_alarms for t in tallies),
        tuple(d for t in tallies for d in t.delays_s),
        sum(t.watched_s for t in tallies),
    )
