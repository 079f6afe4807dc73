"""Questions about a minute that is named by the clock, as "Was there a red car at 14:05?", and what it held."""

from __future__ import annotations

import numpy as np

from stream.sources.simulated.balance import Candidate
from stream.sources.simulated.history import Run, Track
from stream.sources.simulated.kinds import COLOURS, KINDS, PLURALS, Colour, Kind
from stream.sources.simulated.view import Maker, Minute, View, other
from stream.sources.simulated.wording import NUMBERS, article, definite, leaving_side


def timed(v: View, minute: Minute, candidate: Candidate, kind: Kind) -> Candidate:
    """A candidate as one about that minute; where it rests on nothing, it rests on all of the minute."""
    candidate = candidate._replace(
        topic=kind, words={**candidate.words, "clock": minute.clock}, minute_s=minute.span_s, time_s=None
    )
    if candidate.shown:
        return candidate
    return candidate._replace(span_s=minute.span_s, lag_s=v.now - minute.span_s[1])


def leaves(run: Run, whole: Track, inside: Track) -> str | None:
    """On which side a thing that was clearly seen left within the minute, if it did; `inside`: its part of it."""
    return run.exit_side(whole) if inside.seen and inside.leave_s == whole.leave_s else None


def _missing(v: View, minute: Minute, rng: np.random.Generator) -> list[tuple[Kind, Colour, str]]:
    """Things that did not show in a minute: near ones that did in another or whose kind did, and far ones."""
    found = []
    for kind in KINDS:
        inside = {k.colour for _, k, _ in minute.of(kind)}
        elsewhere = sorted({k.colour for _, k in v.of(kind)} - inside)
        if elsewhere:
            found.append((kind, elsewhere[int(rng.integers(len(elsewhere)))], "near"))
        if len(inside) + len(elsewhere) < len(COLOURS):
            found.append((kind, other(inside | set(elsewhere), rng), "near" if inside else "far"))
    return found


def _seen_at(v: View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for minute in v.minutes(rng):
        for _, _, k in minute.tracks:
            if k.seen:
                yes = v.past("yes", {"a": article(k.colour, k.kind)}, ((k.kind, k.colour),), (k,))
                found.append(timed(v, minute, yes, k.kind))
        for kind, colour, flavour in _missing(v, minute, rng):
            no = v.past("no", {"a": article(colour, kind)}, ((kind, colour),), ())
            found.append(timed(v, minute, no._replace(there=False, flavour=flavour), kind))
    return found


def _colour_at(v: View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for minute in v.minutes(rng):
        for kind in KINDS:
            inside, words, named = minute.of(kind), {"kind": kind}, ((kind, None),)
            if len(inside) == 1 and inside[0][2].seen:
                track = inside[0][2]
                found.append(timed(v, minute, v.past(track.colour, words, named, (track,)), kind))
            elif not inside:
                flavour = "near" if v.of(kind) else "far"
                found.append(timed(v, minute, v.unseen(words, named, flavour), kind))
    return found


def _count_at(v: View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for minute in v.minutes(rng):
        for kind in KINDS:
            tracks = [k for _, _, k in minute.of(kind)]
            alike = len({k.colour for k in tracks}) < len(tracks)
            if len(tracks) < len(NUMBERS) and not alike and all(k.seen for k in tracks):
                words, named = {"plural": PLURALS[kind]}, ((kind, None),)
                candidate = v.past(NUMBERS[len(tracks)], words, named, tracks)._replace(there=bool(tracks))
                found.append(timed(v, minute, candidate, kind))
    return found


def _where_at(v: View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for minute in v.minutes(rng):
        for run, whole, k in minute.tracks:
            side = leaves(run, whole, k)
            if side and len(minute.of(k.kind, k.colour)) == 1:
                words, named = {"the": definite(k.colour, k.kind)}, ((k.kind, k.colour),)
                found.append(timed(v, minute, v.past(leaving_side(side), words, named, (k,)), k.kind))
        for kind, colour, flavour in _missing(v, minute, rng):
            never = v.unseen({"the": definite(colour, kind)}, ((kind, colour),), flavour)
            found.append(timed(v, minute, never, kind))
    return found


MAKERS: dict[str, Maker] = {
    "seen_at": _seen_at,
    "colour_at": _colour_at,
    "count_at": _count_at,
    "where_at": _where_at,
}
