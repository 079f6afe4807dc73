"""Questions about a history with their true answers. Nothing later than now is looked at.

Questions in the present tense are about the last look. Questions in the past tense are about things that have been gone
for at least `GONE_S`, so that the last pictures do not tell. Whatever would be unclear to a person - half in the
picture, hidden, two of the same - is not asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from typing import Literal

import numpy as np

from stream.sources.simulated.balance import Balance, Candidate
from stream.sources.simulated.history import CLEAR, SLIVER, TICK_S, History, Run, Sample, Track
from stream.sources.simulated.kinds import COLOURS, KINDS, PLURALS, Colour, Kind
from stream.sources.simulated.wording import NUMBERS, PHRASES, PLACES, WAYS, article, definite, listing
from stream.sources.simulated.world import Script

GONE_S = 6.0  # how long a thing must be out of sight before the past tense is used
APART = 0.07  # picture widths between two things whose order from left to right is clear
SLOW = 0.04  # picture widths per s; slower than this, but moving, is not asked about
BEFORE_S = 3.0  # one came clearly before the other
THIRD = 0.03  # no one is asked where a thing is that stands this near to a border between thirds
Mode = Literal["present", "past"]

# Kind of question: tense, and the floor of blind guessing when the balance is perfect. What a set of questions really
# gives away is to be measured on that set: rare answers (four of a kind, say) run short in few or quiet histories.
MODES: dict[str, Mode] = {
    "what": "present",  # open; "nothing" is one in five
    "colour": "present",  # 1/8
    "count": "present",  # 1/5 where all counts occur; boxes come one at a time: 1/2
    "where": "present",  # 1/3
    "moving": "present",  # 1/3
    "exists": "present",  # 1/2
    "seen": "past",  # 1/2
    "past_colour": "past",  # 1/8
    "order": "past",  # 1/2
    "past_count": "past",  # 1/5; long histories have few zeros
    "past_where": "past",  # 1/2
    "when": "past",  # open: `time_s` is the answer
}
KINDS_ASKED: tuple[str, ...] = tuple(kind for kind in MODES if kind != "when")


@dataclass(frozen=True, slots=True)
class Item:
    """A question about a history and its one true answer."""

    kind: str
    mode: Mode
    text: str
    answer: str  # "" for `when`
    evidence_span: tuple[float, float]  # when there was something to see that tells, s of the history
    lag_s: float  # now minus the end of that
    time_s: float | None = None  # `when`: the time asked for, s of the history

    @property
    def there(self) -> bool:
        """Whether what the question names was there at all."""
        return self.answer not in ("no", NUMBERS[0])


class _View:
    """A history as seen from its end."""

    def __init__(self, history: History) -> None:
        self.runs, self.start, self.now = history.runs, history.start_s, history.now_s
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

    def of(self, kind: Kind, colour: Colour | None = None) -> list[tuple[Run, Track]]:
        """Every track of a kind, clear or not."""
        return [p for p in self.tracks if p[1].kind == kind and colour in {None, p[1].colour}]

    def gone(self, track: Track) -> bool:
        """Whether it was known and is out of sight long enough."""
        return track.seen and self.now - track.leave_s >= GONE_S

    @cached_property
    def singular(self) -> list[tuple[Run, Track]]:
        """Known things that are gone, and of which there was only one of that kind and colour."""
        return [(r, k) for r, k in self.tracks if self.gone(k) and len(self.of(k.kind, k.colour)) == 1]

    def past(self, topic: str, drawer: str, answer: str, words: dict[str, str], tracks: Sequence[Track]) -> Candidate:
        """A candidate that rests on these tracks; on the whole history when there are none."""
        span = (self.start, self.now)
        if tracks:
            span = min(k.enter_s for k in tracks), max(k.leave_s for k in tracks)
        return Candidate(topic, drawer, answer, words, span, self.now - (span[1] if tracks else self.start))

    def present(self, topic: str, drawer: str, answer: str, words: dict[str, str]) -> Candidate:
        """A candidate that rests on the last look."""
        return Candidate(topic, drawer, answer, words, (self.now, self.now), 0.0)


def ask(
    history: History,
    rng: np.random.Generator,
    count: int = 8,
    kinds: Sequence[str] = KINDS_ASKED,
    balance: Balance | None = None,
) -> list[Item]:
    """At most `count` different questions about what was seen until the history's end, kinds taken in turn.

    Pass one `Balance` to all calls of a training run or a test set: answers are then even over all of them. Fewer
    come back where little happened or where asking more would tip the balance.
    """
    view, balance = _View(history), Balance() if balance is None else balance
    items: dict[str, Item] = {}
    for _ in range(4):
        for kind in rng.permutation(list(kinds)):
            if len(items) >= count:
                return list(items.values())
            chosen = balance.choose(str(kind), _MAKERS[str(kind)](view, rng), rng)
            if chosen:
                item = _put(str(kind), chosen, rng)
                items.setdefault(item.text, item)
    return list(items.values())


def ask_about(
    script: Script, seen_from: float, now: float, rng: np.random.Generator, count: int = 8, *, hz: float = 2.0
) -> list[Item]:
    """Questions about one script watched from `seen_from` to `now` (media time, s)."""
    return ask(History.from_script(script, seen_from, now, hz), rng, count)


def _put(kind: str, c: Candidate, rng: np.random.Generator) -> Item:
    phrases = c.phrases or PHRASES[kind]
    text = phrases[int(rng.integers(len(phrases)))].format(**c.words)
    return Item(kind, MODES[kind], text, c.answer, c.span_s, c.lag_s, c.time_s)


def _what(v: _View, _rng: np.random.Generator) -> list[Candidate]:
    if v.unclear or any(b.x - a.x < APART for (_, a), (_, b) in pairwise(v.here)):
        return []
    return [v.present("", NUMBERS[len(v.here)], listing([(k.colour, k.kind) for k, _ in v.here]), {})]


def _colour(v: _View, _rng: np.random.Generator) -> list[Candidate]:
    found = [p[0] for p in map(v.only, KINDS) if p]
    return [v.present(k.kind, k.colour, k.colour, {"kind": k.kind}) for k in found]


def _count(v: _View, _rng: np.random.Generator) -> list[Candidate]:
    counts = {kind: sum(k.kind == kind for k, _ in v.here) for kind in KINDS if kind not in v.unclear}
    return [v.present(kind, NUMBERS[n], NUMBERS[n], {"plural": PLURALS[kind]}) for kind, n in counts.items()]


def _where(v: _View, _rng: np.random.Generator) -> list[Candidate]:
    found = [p for p in map(v.only, KINDS) if p and min(abs(p[1].x - 1 / 3), abs(p[1].x - 2 / 3)) > THIRD]
    places = [(k.kind, PLACES[int(s.x * 3)]) for k, s in found if 0 <= s.x < 1]
    return [v.present(kind, place, place, {"kind": kind}) for kind, place in places]


def _moving(v: _View, _rng: np.random.Generator) -> list[Candidate]:
    found = []
    for track, last in (p for p in map(v.only, KINDS) if p):
        speeds = [s.vx for s in track.samples if s.t >= v.now - 1 - TICK_S]
        ways = {0 if x == 0 else (1 if x > 0 else -1) for x in speeds}
        if len(speeds) < 2 or len(ways) > 1 or 0 < abs(last.vx) < SLOW:
            continue
        way = WAYS[2] if last.vx == 0 else WAYS[int(last.vx > 0)]
        found.append(v.present(track.kind, way, way, {"kind": track.kind}))
    return found


def _exists(v: _View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for kind in (k for k in KINDS if k not in v.unclear):
        there = {k.colour for k, _ in v.here if k.kind == kind}
        found += [v.present(kind, "yes", "yes", {"a": article(c, kind)}) for c in sorted(there)]
        other = _other(there, rng)
        no = v.present(kind, "no", "no", {"a": article(other, kind)})
        found.append(no._replace(flavour="near" if there else "far"))
    return found


def _seen(v: _View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for kind in KINDS:
        tracks = [k for _, k in v.of(kind)]
        there = {k.colour for k in tracks}
        for colour in sorted(there):
            mine = [k for k in tracks if k.colour == colour]
            if any(k.seen for k in mine) and all(v.now - k.leave_s >= GONE_S for k in mine):
                known = [k for k in mine if k.seen]
                found.append(v.past(kind, "yes", "yes", {"a": article(colour, kind)}, known[-1:]))
        if len(there) < len(COLOURS):
            no = v.past(kind, "no", "no", {"a": article(_other(there, rng), kind)}, ())
            found.append(no._replace(flavour="near" if there else "far"))
    return found


def _past_colour(v: _View, _rng: np.random.Generator) -> list[Candidate]:
    found = []
    for run, k in v.singular:
        if len(v.of(k.kind)) == 1:
            candidate = v.past(k.kind, k.colour, k.colour, {"kind": k.kind}, (k,))
            # Only what went out by an edge "left"; a scene that was cut off says nothing of that.
            left = run.exit_side(k) is not None
            found.append(candidate if left else candidate._replace(phrases=PHRASES["past_colour"][2:]))
    return found


def _order(v: _View, rng: np.random.Generator) -> list[Candidate]:
    found = []
    for (_, a), (_, b) in combinations(v.singular, 2):
        first, second = (a, b) if a.enter_s < b.enter_s else (b, a)
        if second.enter_s - first.enter_s < BEFORE_S:
            continue
        names = [definite(k.colour, k.kind) for k in (first, second)]
        for drawer, this, that in (("first", *names), ("second", *names[::-1])):
            found.append(v.past("", drawer, names[0], {"this": this, "that": that}, (first, second)))
    return [found[int(i)] for i in rng.permutation(len(found))[:16]]


def _past_count(v: _View, _rng: np.random.Generator) -> list[Candidate]:
    found = []
    for kind in KINDS:
        tracks = [k for _, k in v.of(kind)]
        alike = len({k.colour for k in tracks}) < len(tracks)  # are two red cars two cars, or one that came back?
        if len(tracks) < len(NUMBERS) and not alike and all(v.gone(k) for k in tracks):
            number = NUMBERS[len(tracks)]
            found.append(v.past(kind, number, number, {"plural": PLURALS[kind]}, tracks))
    return found


def _past_where(v: _View, _rng: np.random.Generator) -> list[Candidate]:
    sides = [(k, run.exit_side(k)) for run, k in v.singular]
    known = [(k, f"on the {side}") for k, side in sides if side]
    return [v.past(k.kind, where, where, {"the": definite(k.colour, k.kind)}, (k,)) for k, where in known]


def _when(v: _View, _rng: np.random.Generator) -> list[Candidate]:
    left = [k for run, k in v.singular if run.exit_side(k)]
    asked = [(k, v.past(k.kind, "", "", {"the": definite(k.colour, k.kind)}, (k,))) for k in left]
    return [c._replace(time_s=k.leave_s) for k, c in asked]


def _other(taken: set[Colour], rng: np.random.Generator) -> Colour:
    free = [c for c in COLOURS if c not in taken]
    return free[int(rng.integers(len(free)))]


_MAKERS: dict[str, Callable[[_View, np.random.Generator], list[Candidate]]] = {
    "what": _what,
    "colour": _colour,
    "count": _count,
    "where": _where,
    "moving": _moving,
    "exists": _exists,
    "seen": _seen,
    "past_colour": _past_colour,
    "order": _order,
    "past_count": _past_count,
    "past_where": _past_where,
    "when": _when,
}
