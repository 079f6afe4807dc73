"""Questions in the present tense: about the last look."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from stream.sources.simulated.balance import Candidate
from stream.sources.simulated.history import CLEAR, TICK_S, Sample, Track
from stream.sources.simulated.kinds import COLOURS, KINDS, PLURALS, Fixture
from stream.sources.simulated.view import APART, Maker, View, other
from stream.sources.simulated.wording import (
    NOTHING,
    NUMBERS,
    PLACES,
    UNSEEN,
    WAYS,
    article,
    definite,
    digits,
    leaving_side,
    listing,
)

SLOW = 0.04  # picture widths per s; slower than this, but moving, is not asked about
THIRD = 0.03  # no one is asked where a thing is that stands this near to a border between thirds
LEGIBLE = 0.85  # a number can be read when this share of the truck shows
STEADY_S = 1.0  # how long a thing has done what it is said to be doing
SOON_S = 0.5  # what leaves sooner than this is leaving, not about to
AHEAD_S = 6.0  # how far the future is asked about


def _what(v: View, _rng: np.random.Generator) -> list[Candidate]:
    if v.unclear or any(b.x - a.x < APART for (_, a), (_, b) in pairwise(v.here)):
        return []
    tracks = [k for k, _ in v.here]
    found = v.present(listing([(k.colour, k.kind) for k in tracks]), {}, (), tracks)
    return [found._replace(drawer=NUMBERS[len(tracks)])]


def _colour(v: View, _rng: np.random.Generator) -> list[Candidate]:
    found = []
    for kind in KINDS:
        only, words, named = v.only(kind), {"kind": kind}, ((kind, None),)
        if only:
            found.append(v.present(only[0].colour, words, named, only[:1])._replace(topic=kind))
        elif kind not in v.unclear and not any(k.kind == kind for k, _ in v.here):
            found.append(v.present(UNSEEN, words, named, ())._replace(topic=kind, there=False))
    return found


def _count(v: View, _rng: np.random.Generator) -> list[Candidate]:
    found = []
    for kind in (kind for kind in KINDS if kind not in v.unclear):
        tracks = [k for k, _ in v.here if k.kind == kind]
        candidate = v.present(NUMBERS[len(tracks)], {"plural": PLURALS[kind]}, ((kind, None),), tracks)
        found.append(candidate._replace(topic=kind, there=bool(tracks)))
    return found


def _where(v: View, _rng: np.random.Generator) -> list[Candidate]:
    found = [p for p in map(v.only, KINDS) if p and min(abs(p[1].x - 1 / 3), abs(p[1].x - 2 / 3)) > THIRD]
    return [
        v.present(PLACES[int(s.x * 3)], {"kind": k.kind}, ((k.kind, None),), (k,))._replace(topic=k.kind)
        for k, s in found
        if 0 <= s.x < 1
    ]


def _moving(v: View, _rng: np.random.Generator) -> list[Candidate]:
    found = []
    for track, last in (p for p in map(v.only, KINDS) if p):
        recent = _recent(v, track)
        ways = {0 if s.vx == 0 else (1 if s.vx > 0 else -1) for s in recent}
        if len(recent) < 2 or len(ways) > 1 or 0 < abs(last.vx) < SLOW:
            continue
        way = WAYS[2] if last.vx == 0 else WAYS[int(last.vx > 0)]
        candidate = v.present(way, {"kind": track.kind}, ((track.kind, None),), (track,))
        found.append(candidate._replace(topic=track.kind))
    return found


def _recent(v: View, track: Track) -> list[Sample]:
    return [s for s in track.samples if s.t >= v.now - STEADY_S - TICK_S]


def _exists(v: View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for kind in (k for k in KINDS if k not in v.unclear):
        there = {k.colour: k for k, _ in v.here if k.kind == kind}
        for colour in sorted(there):
            yes = v.present("yes", {"a": article(colour, kind)}, ((kind, colour),), (there[colour],))
            found.append(yes._replace(topic=kind))
        colour = other(set(there), rng)
        no = v.present("no", {"a": article(colour, kind)}, ((kind, colour),), ())
        found.append(no._replace(topic=kind, there=False, flavour="near" if there else "far"))
    return found


def _number(v: View, rng: np.random.Generator) -> list[Candidate]:
    if "truck" in v.unclear:
        return []
    trucks = {k.colour: (k, s) for k, s in v.here if k.kind == "truck"}
    found = []
    for colour, (track, last) in sorted(trucks.items()):
        if last.shown >= LEGIBLE:
            for topic, words, asked in (("one", "truck", None), ("named", f"{colour} truck", colour)):
                if topic == "named" or len(trucks) == 1:
                    candidate = v.present(digits(track.number), {"thing": words}, (("truck", asked),), (track,))
                    found.append(candidate._replace(topic=topic, drawer=track.number[0]))
    colour = other(set(trucks), rng)
    near = v.present(UNSEEN, {"thing": f"{colour} truck"}, (("truck", colour),), ())._replace(there=False)
    found.append(near._replace(topic="named", flavour="near" if trucks else "far"))
    if not trucks:
        found.append(near._replace(topic="one", flavour="far", words={"thing": "truck"}, named=(("truck", None),)))
    return found


def _fixture(v: View, fixture: Fixture, names: tuple[str, str]) -> list[Candidate]:
    state = v.fixture(fixture)
    if state is None:
        return []
    found = v.present("yes" if state else "no", {}, ((fixture, None),), ())
    return [found._replace(shown=((fixture, names[state]),))]


def _door(v: View, _rng: np.random.Generator) -> list[Candidate]:
    return _fixture(v, "door", ("closed", "open"))


def _light(v: View, _rng: np.random.Generator) -> list[Candidate]:
    return _fixture(v, "light", ("off", "on"))


def _carrying(v: View, _rng: np.random.Generator) -> list[Candidate]:
    found = []
    clear = {(k.kind, k.colour): k for k, s in v.here}
    for person, last in v.here:
        mates = {s.mate for s in _recent(v, person)}
        if person.kind != "person" or "person" in v.unclear or len(mates) > 1:
            continue
        words, named = {"the": definite(person.colour, "person")}, (("person", person.colour),)
        if last.mate is None:
            found.append(v.present(NOTHING, words, named, ()))
        elif last.mate in clear:
            box = clear[last.mate]
            found.append(v.present(article(box.colour, box.kind), words, named, (box,))._replace(drawer=box.colour))
    return found


def _leaving(v: View, _rng: np.random.Generator) -> list[Candidate]:
    found = []
    for track, last in (p for p in map(v.only, KINDS) if p):
        e = track.exit
        if e is None or e.since_s > v.now - STEADY_S or not SOON_S < e.leave_s - v.now <= AHEAD_S:
            continue
        if abs(last.vx) >= SLOW:
            candidate = v.present(leaving_side(e.side), {"kind": track.kind}, ((track.kind, None),), (track,))
            found.append(candidate._replace(topic=track.kind))
    return found


MAKERS: dict[str, Maker] = {
    "what": _what,
    "colour": _colour,
    "count": _count,
    "where": _where,
    "moving": _moving,
    "exists": _exists,
    "number": _number,
    "door": _door,
    "light": _light,
    "carrying": _carrying,
    "leaving": _leaving,
}
assert CLEAR <= LEGIBLE <= 1
assert len(COLOURS) > 4  # one is always free for a near miss
