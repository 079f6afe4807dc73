"""Questions in the past tense: about things that are gone, and about what never came."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np

from stream.sources.simulated.balance import Candidate
from stream.sources.simulated.history import CLEAR, GLANCES, Sample, Track
from stream.sources.simulated.kinds import COLOURS, KINDS, PLURALS, Colour, Fixture, Kind
from stream.sources.simulated.questions_present import LEGIBLE
from stream.sources.simulated.view import BEFORE_S, GONE_S, Maker, View
from stream.sources.simulated.wording import (
    FIXTURE_WHEN,
    NOTHING,
    NUMBERS,
    PHRASES,
    WHEN,
    article,
    definite,
    digits,
    leaving_side,
)

ALONE = 0.3  # how often the last of a kind is asked about where it was the only one


def _seen(v: View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for kind in KINDS:
        for colour in sorted({k.colour for _, k in v.of(kind)}):
            mine = [k for _, k in v.of(kind, colour)]
            if any(k.seen for k in mine) and all(v.now - k.leave_s >= GONE_S for k in mine):
                known = [k for k in mine if k.seen]
                yes = v.past("yes", {"a": article(colour, kind)}, ((kind, colour),), known[-1:])
                found.append(yes._replace(topic=kind))
    for kind, colour, flavour in v.absent(rng):
        no = v.past("no", {"a": article(colour, kind)}, ((kind, colour),), ())
        found.append(no._replace(topic=kind, there=False, flavour=flavour))
    return found


def _past_colour(v: View, _rng: np.random.Generator) -> list[Candidate]:
    found = []
    for run, k in v.singular:
        if len(v.of(k.kind)) == 1:
            candidate = v.past(k.colour, {"kind": k.kind}, ((k.kind, None),), (k,))._replace(topic=k.kind)
            # Only what went out by an edge "left"; a scene that was cut off says nothing of that.
            left = run.exit_side(k) is not None
            found.append(candidate if left else candidate._replace(phrases=PHRASES["past_colour"][2:]))
    never = [kind for kind in KINDS if not v.of(kind)]
    return found + [v.unseen({"kind": k}, ((k, None),), "")._replace(topic=k) for k in never]


def _last_colour(v: View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for kind in KINDS:
        tracks = sorted((k for _, k in v.of(kind)), key=lambda k: k.leave_s)
        if not tracks or not all(v.gone(k) for k in tracks) or (len(tracks) == 1 and rng.random() > ALONE):
            continue
        if len(tracks) == 1 or tracks[-1].leave_s - tracks[-2].leave_s >= BEFORE_S:
            candidate = v.past(tracks[-1].colour, {"kind": kind}, ((kind, None),), tracks[-1:])
            found.append(candidate._replace(topic=kind))
    return found


def _last_seen(v: View, _rng: np.random.Generator) -> list[Candidate]:
    """What left last, whatever it was, where nothing left since and nothing like it is there; "nothing" of nothing."""
    if not v.tracks and not v.last:
        return [v.past(NOTHING, {}, (), ())._replace(drawer=NOTHING, there=False)]
    here = {id(k) for k, _ in v.here}
    gone = sorted((k for _, k in v.tracks if id(k) not in here), key=lambda k: k.leave_s)
    if v.unclear or not gone or not v.gone(gone[-1]):
        return []
    last, before = gone[-1], gone[-2:-1]
    if any(last.leave_s - k.leave_s < BEFORE_S for k in before):
        return []
    if any((k.kind, k.colour) == (last.kind, last.colour) for k, _ in v.here):
        return []
    return [v.past(article(last.colour, last.kind), {}, (), (last,))._replace(drawer=last.colour)]


def _order(v: View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for (_, a), (_, b) in combinations(v.singular, 2):
        first, second = (a, b) if a.enter_s < b.enter_s else (b, a)
        if second.enter_s - first.enter_s < BEFORE_S:
            continue
        names = [definite(k.colour, k.kind) for k in (first, second)]
        named = tuple((k.kind, k.colour) for k in (first, second))
        for drawer, this, that in (("first", *names), ("second", *names[::-1])):
            order = named if drawer == "first" else named[::-1]
            candidate = v.past(names[0], {"this": this, "that": that}, order, (first, second))
            found.append(candidate._replace(drawer=drawer))
    return [found[int(i)] for i in rng.permutation(len(found))[:16]]


def _past_count(v: View, _rng: np.random.Generator) -> list[Candidate]:
    found = []
    for kind in KINDS:
        tracks = [k for _, k in v.of(kind)]
        alike = len({k.colour for k in tracks}) < len(tracks)  # are two red cars two cars, or one that came back?
        if len(tracks) < len(NUMBERS) and not alike and all(v.gone(k) for k in tracks):
            candidate = v.past(NUMBERS[len(tracks)], {"plural": PLURALS[kind]}, ((kind, None),), tracks)
            found.append(candidate._replace(topic=kind, there=bool(tracks)))
    return found


def _past_where(v: View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for run, k in v.singular:
        side = run.exit_side(k)
        if side:
            candidate = v.past(leaving_side(side), _the(k.kind, k.colour), ((k.kind, k.colour),), (k,))
            found.append(candidate._replace(topic=k.kind))
    return found + _never(v, v.absent(rng))


def _never(v: View, absent: list[tuple[Kind, Colour, str]]) -> list[Candidate]:
    return [v.unseen(_the(k, c), ((k, c),), flavour)._replace(topic=k) for k, c, flavour in absent]


def _the(kind: Kind, colour: Colour) -> dict[str, str]:
    return {"the": definite(colour, kind)}


def _past_number(v: View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for _, k in v.singular:
        if k.kind != "truck" or sum(s.shown >= LEGIBLE for s in k.samples) < GLANCES:
            continue
        candidate = v.past(digits(k.number), {"thing": f"{k.colour} truck"}, (("truck", k.colour),), (k,))
        candidate = candidate._replace(topic="named", drawer=k.number[0])
        found.append(candidate)
        if len(v.of("truck")) == 1:
            found.append(candidate._replace(topic="one", words={"thing": "truck"}, named=(("truck", None),)))
    for _, colour, flavour in v.absent(rng, ("truck",)):
        never = v.unseen({"thing": f"{colour} truck"}, (("truck", colour),), flavour)._replace(topic="named")
        found.append(never)
        if flavour == "far":
            found.append(never._replace(topic="one", words={"thing": "truck"}, named=(("truck", None),)))
    return found


def _who_left(v: View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for _, box in (p for p in v.tracks if p[1].kind == "box" and len(v.of("box", p[1].colour)) == 1):
        downs = [(a, b) for a, b in pairwise(box.samples) if a.mate and not b.mate]
        if len(downs) != 1:
            continue
        (before, after), (kind, colour) = downs[0], downs[0][0].mate or ("person", "red")
        people = v.of(kind, colour)
        if len(people) != 1 or not v.gone(people[0][1]) or not _watched(people[0][1], box, before, after):
            continue
        found.append(v.past(definite(colour, kind), _the("box", box.colour), (("box", box.colour),), people[0][1:]))
        found[-1] = found[-1]._replace(drawer=colour, span_s=(before.t, after.t), lag_s=v.now - after.t)
    found = [c for c in found if c.lag_s >= GONE_S]
    return found + [c._replace(topic="") for c in _never(v, v.absent(rng, ("box",)))]


def _watched(person: Track, box: Track, before: Sample, after: Sample) -> bool:
    """Whether both were clearly there as the box was put down."""
    shown = [s.shown for k in (person, box) for s in k.samples if before.t <= s.t <= after.t]
    return len(shown) == 4 and min(shown) >= CLEAR


def _when(v: View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for kind in KINDS:
        for colour in COLOURS:
            mine = v.of(kind, colour)
            if not mine or not all(v.gone(k) for _, k in mine):
                continue
            run, last = max(mine, key=lambda p: p[1].leave_s)
            once = len(mine) == 1 and run.exit_side(last) is not None  # else it is not clear which leaving is meant
            candidate = v.past(WHEN, _the(kind, colour), ((kind, colour),), (last,))
            candidate = candidate._replace(topic=kind, time_s=last.leave_s)
            found.append(candidate if once else candidate._replace(phrases=PHRASES["when"][2:]))
    return found + _never(v, v.absent(rng)) + _switched(v, "door") + _switched(v, "light")


def _switched(v: View, fixture: Fixture) -> list[Candidate]:
    found, changes = [], v.switches(fixture)
    for on in (False, True):
        phrases, same = FIXTURE_WHEN[fixture, on], [c for c in changes if c.on == on]
        if not same:
            never = v.unseen({}, ((fixture, None),), "near" if changes else "far")
            found.append(never._replace(topic=fixture, phrases=phrases))
        elif same[-1].sure and v.now - same[-1].t >= GONE_S:
            t = same[-1].t
            seen = v.past(WHEN, {}, ((fixture, None),), ())._replace(topic=fixture, phrases=phrases)
            found.append(seen._replace(time_s=t, span_s=(t, t), lag_s=v.now - t))
    return found


MAKERS: dict[str, Maker] = {
    "seen": _seen,
    "past_colour": _past_colour,
    "order": _order,
    "past_count": _past_count,
    "past_where": _past_where,
    "past_number": _past_number,
    "who_left": _who_left,
    "last_colour": _last_colour,
    "last_seen": _last_seen,
    "when": _when,
}
