"""Questions that name a kind and no colour, as people mostly do: "Have you seen a dog?", "When did the dog leave?".

Each maker stands for one of the same name that names a colour too; `either` lets them take turns.
"""

from __future__ import annotations

import numpy as np

from stream.sources.simulated.balance import Candidate, Named
from stream.sources.simulated.kinds import KINDS, Kind
from stream.sources.simulated.questions_past import MAKERS as PAST
from stream.sources.simulated.questions_present import MAKERS as PRESENT
from stream.sources.simulated.questions_timed import leaves, timed
from stream.sources.simulated.view import GONE_S, Maker, View
from stream.sources.simulated.wording import PHRASES, WHEN, article, definite, leaving_side

SHARE = 0.3  # of the questions that could name a colour


def either(coloured: Maker, plain: Maker) -> Maker:
    """A maker that names colours or, in its share of the calls, none; the answers of each are kept even."""

    def make(v: View, rng: np.random.Generator) -> list[Candidate]:
        found = plain(v, rng) if rng.random() < SHARE else []
        return [c._replace(topic=f"any {c.topic}") for c in found] or coloured(v, rng)

    return make


def _any(kind: Kind) -> Named:
    return ((kind, None),)


def _a(kind: Kind) -> dict[str, str]:
    return {"a": article(None, kind)}


def _the(kind: Kind) -> dict[str, str]:
    return {"the": definite(None, kind)}


def _exists(v: View, _rng: np.random.Generator) -> list[Candidate]:
    found = []
    for kind in (kind for kind in KINDS if kind not in v.unclear):
        here = [k for k, _ in v.here if k.kind == kind]
        answer = v.present("yes" if here else "no", _a(kind), _any(kind), here)
        found.append(answer._replace(topic=kind, there=bool(here)))
    return found


def _seen(v: View, _rng: np.random.Generator) -> list[Candidate]:
    found = []
    for kind in KINDS:
        mine = [k for _, k in v.of(kind)]
        known = [k for k in mine if k.seen]
        if known and all(v.now - k.leave_s >= GONE_S for k in mine):
            found.append(v.past("yes", _a(kind), _any(kind), known[-1:])._replace(topic=kind))
        elif not mine:
            found.append(v.past("no", _a(kind), _any(kind), ())._replace(topic=kind, there=False))
    return found


def _past_where(v: View, _rng: np.random.Generator) -> list[Candidate]:
    found = []
    for run, k in v.singular:
        side = run.exit_side(k)
        if side and len(v.of(k.kind)) == 1:
            left = v.past(leaving_side(side), _the(k.kind), _any(k.kind), (k,))
            found.append(left._replace(topic=k.kind))
    return found + _never(v)


def _when(v: View, rng: np.random.Generator) -> list[Candidate]:
    """Of what came more than once only the last time is asked for, in so many words."""
    found = []
    for kind in KINDS:
        mine = v.of(kind)
        if not mine:
            seen, once = v.unseen(_the(kind), _any(kind), "far")._replace(topic=kind), True
        elif all(v.gone(k) for _, k in mine):
            run, last = max(mine, key=lambda p: p[1].leave_s)
            once = len(mine) == 1 and run.exit_side(last) is not None
            seen = v.past(WHEN, _the(kind), _any(kind), (last,))._replace(topic=kind, time_s=last.leave_s)
        else:
            continue
        one_of_many = rng.random() < 1 / 2
        if one_of_many:
            seen = seen._replace(words={"the": article(None, kind)})
        found.append(seen if once and not one_of_many else seen._replace(phrases=PHRASES["when"][2:]))
    return found


def _who_left(v: View, rng: np.random.Generator) -> list[Candidate]:
    boxes = v.of("box")
    if not boxes:
        return [v.unseen(_the("box"), _any("box"), "far")]
    known = [c for c in PAST["who_left"](v, rng) if c.there] if len(boxes) == 1 else []
    return [c._replace(words=_the("box"), named=_any("box")) for c in known]


def _carrying(v: View, rng: np.random.Generator) -> list[Candidate]:
    if v.only("person") is None:
        return []
    return [c._replace(words=_the("person"), named=_any("person")) for c in PRESENT["carrying"](v, rng)]


def _seen_at(v: View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for minute in v.minutes(rng):
        for kind in KINDS:
            mine = [k for _, _, k in minute.of(kind)]
            known = [k for k in mine if k.seen]
            if known:
                found.append(timed(v, minute, v.past("yes", _a(kind), _any(kind), known[-1:]), kind))
            elif not mine:
                no = v.past("no", _a(kind), _any(kind), ())._replace(there=False)
                found.append(timed(v, minute, no, kind))
    return found


def _where_at(v: View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for minute in v.minutes(rng):
        for kind in KINDS:
            mine = minute.of(kind)
            if not mine:
                found.append(timed(v, minute, v.unseen(_the(kind), _any(kind), "far"), kind))
            elif len(mine) == 1 and (side := leaves(*mine[0])):
                found.append(timed(v, minute, v.past(leaving_side(side), _the(kind), _any(kind), mine[0][2:]), kind))
    return found


def _never(v: View) -> list[Candidate]:
    return [v.unseen(_the(k), _any(k), "far")._replace(topic=k) for k in KINDS if not v.of(k)]


MAKERS: dict[str, Maker] = {
    "exists": _exists,
    "carrying": _carrying,
    "seen": _seen,
    "past_where": _past_where,
    "who_left": _who_left,
    "when": _when,
    "seen_at": _seen_at,
    "where_at": _where_at,
}
