"""Keeps answers even, so that guessing from the question alone does not pay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stream.sources.simulated.kinds import COLOURS
from stream.sources.simulated.wording import NUMBERS, PLACES, WAYS


class Candidate(NamedTuple):
    """A question that could be asked, and the drawer of the balance it belongs to."""

    topic: str  # what the question is about, in its own words: blind guessing knows this much
    drawer: str  # the answer, or the class of answers it belongs to
    answer: str
    words: dict[str, str]  # for the phrase
    span_s: tuple[float, float]  # when there was something to see that tells
    lag_s: float  # now minus the end of that
    time_s: float | None = None
    phrases: Sequence[str] | None = None  # instead of those of the kind
    flavour: str = ""  # of a "no": near, when that kind was there in another colour, or far


# The drawers of each kind of question; each is to get as many questions as the others.
DRAWERS: dict[str, Sequence[str]] = {
    "what": NUMBERS,  # by how many things the answer lists
    "colour": COLOURS,
    "count": NUMBERS,
    "where": PLACES,
    "moving": WAYS,
    "exists": ("yes", "no"),
    "seen": ("yes", "no"),
    "past_colour": COLOURS,
    "order": ("first", "second"),
    "past_count": NUMBERS,
    "past_where": ("on the left", "on the right"),
    "when": ("",),
}
# How often each was asked before anything was asked: what is easy to find starts behind.
PRIORS: dict[str, dict[str, float]] = {
    "what": {"zero": 6, "one": 4, "two": 2},
    "count": {"zero": 14, "one": 7, "two": 2},
    "moving": {"it is standing still": 1},
    "exists": {"far": 24},
    "seen": {"far": 12},
    "past_count": {"zero": 7, "one": 5, "two": 2},
}
ENOUGH = 512.0  # answers of a topic after which old ones begin to count less
SLACK, SPARE, STRICT = 1.0, 2.0, 8  # how far ahead of the mean a drawer may run before it is held back, and how hard


class Balance:
    """Counts the answers given so far, per kind and topic. Its state is bounded: topics and drawers are few."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], dict[str, float]] = {}

    def choose(self, kind: str, candidates: Sequence[Candidate], rng: np.random.Generator) -> Candidate | None:
        """One of the candidates, of a topic drawn evenly and of the drawer that lags most; None where that is ahead."""
        if not candidates:
            return None
        topics = sorted({c.topic for c in candidates})
        topic = topics[int(rng.integers(len(topics)))]
        mine = [c for c in candidates if c.topic == topic]
        offered = sorted({c.drawer for c in mine})
        asked = self._of((kind, topic), _drawers(kind, topic), PRIORS.get(kind, {}))
        for d in offered:
            asked.setdefault(d, 0.0)  # composed histories can hold what no one script does: two boxes
        least = min(asked[d] for d in offered)
        lagging = [d for d in offered if asked[d] == least]
        drawer = lagging[int(rng.integers(len(lagging)))]
        found = [c for c in mine if c.drawer == drawer]
        chosen = found[int(rng.integers(len(found)))]
        flavours = self._of((kind, "no"), ["near", "far"], PRIORS[kind]) if chosen.flavour else None
        if not _admits(asked, drawer, rng) or (flavours and not _admits(flavours, chosen.flavour, rng)):
            return None
        self._count(asked, drawer)
        if flavours:
            self._count(flavours, chosen.flavour)
        return chosen

    def _of(self, key: tuple[str, str], drawers: Sequence[str], prior: dict[str, float]) -> dict[str, float]:
        return self._asked.setdefault(key, {d: prior.get(d, 0.0) for d in drawers})

    @staticmethod
    def _count(asked: dict[str, float], drawer: str) -> None:
        asked[drawer] += 1
        if sum(asked.values()) > ENOUGH:
            for each in asked:
                asked[each] /= 2


def _drawers(kind: str, topic: str) -> Sequence[str]:
    """Those that can fill at all: there is never more than one box."""
    return NUMBERS[:2] if (kind, topic) == ("count", "box") else DRAWERS[kind]


def _admits(asked: dict[str, float], drawer: str, rng: np.random.Generator) -> bool:
    mean = sum(asked.values()) / len(asked)
    return bool(rng.random() * max(asked[drawer], 1e-9) ** STRICT < (SLACK * mean + SPARE) ** STRICT)
