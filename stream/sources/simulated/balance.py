"""Keeps answers even, so that guessing from the question alone does not pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from stream.sources.simulated.kinds import COLOURS
from stream.sources.simulated.wording import DIGITS, NOTHING, NUMBERS, PLACES, UNSEEN, WAYS, WHEN

Named = tuple[tuple[str, str | None], ...]  # (kind or fixture, colour where one is given)


class Candidate(NamedTuple):
    """A question that could be asked, and the drawer of the balance it belongs to."""

    topic: str  # what the question is about, in its own words: blind guessing knows this much
    drawer: str  # the answer, or the class of answers it belongs to
    answer: str
    words: Mapping[str, str]  # for the phrase
    span_s: tuple[float, float]  # when there was something to see that tells
    lag_s: float  # now minus the end of that
    time_s: float | None = None
    phrases: Sequence[str] | None = None  # instead of those of the kind
    flavour: str = ""  # of what was not there: near, when that kind was in another colour or at another time, or far
    there: bool = True  # whether what is named was there at all
    named: Named = ()  # what the question names
    shown: tuple[tuple[str, str], ...] = ()  # the things from which the answer is read
    minute_s: tuple[float, float] | None = None  # the minute that is named, s of the history


YES_NO, SIDES = ("yes", "no"), ("on the left", "on the right")
# The drawers of each kind of question; each is to get as many questions as the others.
DRAWERS: dict[str, Sequence[str]] = {
    "what": NUMBERS,  # by how many things the answer lists
    "colour": COLOURS,
    "count": NUMBERS,
    "where": PLACES,
    "moving": WAYS,
    "exists": YES_NO,
    "number": DIGITS,  # by the first of the two
    "door": YES_NO,
    "light": YES_NO,
    "carrying": (NOTHING, *COLOURS),
    "leaving": SIDES,
    "seen": YES_NO,
    "past_colour": COLOURS,
    "order": ("first", "second"),
    "past_count": NUMBERS,
    "past_where": SIDES,
    "past_number": DIGITS,
    "who_left": COLOURS,
    "last_colour": COLOURS,
    "last_seen": (NOTHING, *COLOURS),
    "when": (WHEN,),
    "seen_at": YES_NO,
    "colour_at": COLOURS,
    "count_at": NUMBERS,
    "where_at": SIDES,
}
# How often each was asked before anything was asked: what is easy to find starts behind.
PRIORS: dict[str, dict[str, float]] = {
    "what": {"zero": 6, "one": 4, "two": 2},
    "count": {"zero": 6, "one": 3, "two": 1},
    "moving": {"it is standing still": 1},
    "exists": {"no": 5, "far": 24},
    "seen": {"no": 2, "far": 12},
    "past_count": {"zero": 7, "one": 5, "two": 2},
    "carrying": {NOTHING: 4},
    "last_seen": {NOTHING: 4},
    "seen_at": {"no": 2, "far": 12},
    "count_at": {"zero": 7, "one": 5, "two": 2},
}
FOR_ONE_UNSEEN = 4  # questions about what was there, for each that is answered "not seen"
UNSEEN_LEAD = 4.0  # so far, in questions about what was there, either may run ahead of the other
EVERY = "every"  # all topics of a kind together
FLAVOURS = ("near", "far")
ENOUGH = 512.0  # answers of a topic after which old ones begin to count less
SLACK, SPARE, STRICT = 1.0, 2.0, 8  # how far ahead of the mean a drawer may run before it is held back, and how hard


class Balance:
    """Counts the answers given so far, per kind and topic. Its state is bounded: topics and drawers are few."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], dict[str, float]] = {}
        self._given: dict[tuple[str, str], dict[str, float]] = {}  # there or not, where both can be asked about

    def choose(self, kind: str, candidates: Sequence[Candidate], rng: np.random.Generator) -> Candidate | None:
        """One of the candidates, of a topic drawn evenly and of the drawer that lags most; None where that is ahead."""
        absent = [c for c in candidates if c.drawer == UNSEEN]
        never = [c for c in absent if self._owed(kind, c.topic) > -UNSEEN_LEAD]
        if never and rng.random() < self._appetite(kind):
            chosen = self._unseen(kind, _of_one_topic(never, rng), rng)
        else:
            mine = _of_one_topic([c for c in candidates if c.drawer != UNSEEN], rng)
            found = self._lagging(kind, mine, rng) if mine else None
            if found is None:
                return None
            chosen = found
        if absent:
            for key in ((kind, chosen.topic), (kind, EVERY)):
                self._count(self._there(*key), "unseen" if chosen.drawer == UNSEEN else "there")
        return chosen

    def _lagging(self, kind: str, mine: Sequence[Candidate], rng: np.random.Generator) -> Candidate | None:
        """One of the drawer that has had least, unless even that one is ahead of what has not been on offer."""
        topic, offered = mine[0].topic, sorted({c.drawer for c in mine})
        asked = self._of((kind, topic), _drawers(kind, topic), PRIORS.get(kind, {}))
        for d in offered:
            asked.setdefault(d, 0.0)  # composed histories can hold what no one script does
        least = min(asked[d] for d in offered)
        lagging = [d for d in offered if asked[d] == least]
        drawer = lagging[int(rng.integers(len(lagging)))]
        found = [c for c in mine if c.drawer == drawer]
        chosen = found[int(rng.integers(len(found)))]
        flavours = self._of((kind, "no"), FLAVOURS, PRIORS.get(kind, {})) if chosen.flavour else None
        if not _admits(asked, drawer, rng) or (flavours and not _admits(flavours, chosen.flavour, rng)):
            return None
        self._count(asked, drawer)
        if flavours:
            self._count(flavours, chosen.flavour)
        return chosen

    def _unseen(self, kind: str, mine: Sequence[Candidate], rng: np.random.Generator) -> Candidate:
        """One of what was not there: near misses and far ones in turn, as far as there are both."""
        flavours = self._of((kind, "unseen"), ("", *FLAVOURS), {})
        least = min(flavours[c.flavour] for c in mine)
        found = [c for c in mine if flavours[c.flavour] == least]
        chosen = found[int(rng.integers(len(found)))]
        self._count(flavours, chosen.flavour)
        return chosen

    def _appetite(self, kind: str) -> float:
        """How likely the next question of a kind is one about what was not there."""
        owed = self._owed(kind, EVERY)
        if abs(owed) <= UNSEEN_LEAD:
            return 1 / (1 + FOR_ONE_UNSEEN)
        return 0.6 if owed > 0 else 0.0

    def _owed(self, kind: str, topic: str) -> float:
        """Answers about what was there that no "not seen" has been set against yet."""
        given = self._there(kind, topic)
        return given["there"] - FOR_ONE_UNSEEN * given["unseen"]

    def _there(self, kind: str, topic: str) -> dict[str, float]:
        return self._given.setdefault((kind, topic), {"there": 0.0, "unseen": 0.0})

    def _of(self, key: tuple[str, str], drawers: Sequence[str], prior: dict[str, float]) -> dict[str, float]:
        return self._asked.setdefault(key, {d: prior.get(d, 0.0) for d in drawers})

    @staticmethod
    def _count(asked: dict[str, float], drawer: str) -> None:
        asked[drawer] += 1
        if sum(asked.values()) > ENOUGH:
            for each in asked:
                asked[each] /= 2


def _of_one_topic(candidates: Sequence[Candidate], rng: np.random.Generator) -> list[Candidate]:
    """Those of one topic, each topic being as likely as another."""
    if not candidates:
        return []
    topics = sorted({c.topic for c in candidates})
    topic = topics[int(rng.integers(len(topics)))]
    return [c for c in candidates if c.topic == topic]


def _drawers(kind: str, topic: str) -> Sequence[str]:
    """Those that can fill at all: there are never more than two trucks at once."""
    return NUMBERS[:3] if (kind, topic) == ("count", "truck") else DRAWERS[kind]


def _admits(asked: dict[str, float], drawer: str, rng: np.random.Generator) -> bool:
    mean = sum(asked.values()) / len(asked)
    return bool(rng.random() * max(asked[drawer], 1e-9) ** STRICT < (SLACK * mean + SPARE) ** STRICT)
