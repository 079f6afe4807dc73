"""What is asked when: questions about the truth until a moment, planned before a stream is watched.

Planning may look at the whole truth (it must, to ask about a thing before it comes); what is watched may not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bench.watch.films import Film
from bench.watch.scoring import AGES_S
from stream.sources.simulated.balance import DRAWERS, YES_NO, Balance, Candidate
from stream.sources.simulated.history import CLEAR, SLIVER, History
from stream.sources.simulated.quiz import MAKERS, MODES, Item
from stream.sources.simulated.view import APART, DAY_S, GONE_S, MINUTE_S, MINUTES, WATCHED_S, Minute, View
from stream.sources.simulated.wording import PHRASES

TIMED = tuple(kind for kind in MODES if kind.endswith("_at"))  # about a minute that the question names
ROUNDS = 4  # through all kinds, until there are enough questions
MOST_OF_A_KIND = 2  # at one moment: some can always be asked, others seldom
PHRASING = 12  # a multiple of how many wordings there are of a kind: each is as likely
OCCASION_S, OCCASIONS = 10, 40  # from when on, and how many moments are tried
AT_ANY_AGE, PER_AGE = 4, 4  # questions at each moment of a day
LATE = 0.6  # below 1: more of them late in the day, when there is more to remember


@dataclass(frozen=True, slots=True)
class Ask:
    """One question at one moment. Several of one `group` are judged together."""

    time_s: float  # media time of the newest frame that may be seen
    item: Item
    task: str = ""  # of the forward mode, or drift; none: an ordinary question of its kind
    group: str = ""
    occluded: bool = False  # about something that was half hidden before


def candidates(kind: str, truth: History, rng: np.random.Generator, wall_s: float) -> list[Candidate]:
    """All that could be asked of one kind at the end of a history, in no balance."""
    return MAKERS[kind](View(truth, wall_s), rng)


def as_item(kind: str, c: Candidate, phrase: int = 0) -> Item:
    """A candidate in one of its wordings, counted round."""
    phrases = c.phrases or PHRASES[kind]
    text = phrases[phrase % len(phrases)].format(**c.words)
    return Item(kind, MODES[kind], text, c.answer, c.span_s, c.lag_s, c.time_s, c.minute_s, c.there, c.named, c.shown)


class Even:
    """Asks in turn of every kind, and keeps the answers even over all that it ever asked."""

    def __init__(self) -> None:
        self._balance = Balance()
        self._said: dict[tuple[str, str], int] = {}  # by kind and answer, where there are two

    def ask(
        self,
        view: View,
        rng: np.random.Generator,
        count: int,
        kinds: Sequence[str],
        fits: Callable[[Candidate], bool] = lambda _: True,
    ) -> list[Item]:
        """At most `count` questions at the end of a history; fewer where more would give answers away."""
        items: dict[tuple[str, str], Item] = {}
        for _ in range(ROUNDS):
            for kind in map(str, rng.permutation(list(kinds))):
                if len(items) == count:
                    return list(items.values())
                if sum(k == kind for k, _ in items) == MOST_OF_A_KIND:
                    continue
                fresh = [c for c in MAKERS[kind](view, rng) if (kind, str(c.words)) not in items and fits(c)]
                chosen = self._balance.choose(kind, self._side(kind, fresh), rng)
                if chosen is not None:
                    items[kind, str(chosen.words)] = as_item(kind, chosen, int(rng.integers(PHRASING)))
                    self._count(kind, chosen)
        return list(items.values())

    def _side(self, kind: str, found: list[Candidate]) -> list[Candidate]:
        """Of yes and no only the one that was asked less."""
        if not found or DRAWERS[kind] != YES_NO:
            return found
        wanted = min(YES_NO, key=lambda answer: self._said.get((kind, answer), 0))
        return [c for c in found if c.answer == wanted]

    def _count(self, kind: str, chosen: Candidate) -> None:
        self._said[kind, chosen.answer] = self._said.get((kind, chosen.answer), 0) + 1


class Between(View):
    """A history of which only minutes of a certain age are asked about."""

    def __init__(self, truth: History, wall_s: float, low_s: float, high_s: float) -> None:
        super().__init__(truth, wall_s)
        self._from, self._until = self.now - high_s, self.now - low_s

    def minutes(self, rng: np.random.Generator) -> list[Minute]:
        """Some of them, watched long enough, over, and within a day."""
        runs = [r for r in self.runs if r.last_s >= self._from and r.start_s <= self._until]
        starts = {
            m for r in runs for m in _minutes(max(r.start_s, self._from), min(r.last_s, self._until), self.wall_s)
        }
        fit = sorted(m for m in starts if self.now - DAY_S <= m and m + MINUTE_S <= self.now - GONE_S)
        fit = [m for m in fit if self._watched(m) >= WATCHED_S]
        return [self._minute(fit[int(i)]) for i in rng.permutation(len(fit))[:MINUTES]]


def _minutes(start_s: float, end_s: float, wall_s: float) -> Iterator[float]:
    """Where minutes of the clock that lie in a stretch of media time begin."""
    first, last = ((wall_s + t) // MINUTE_S for t in (start_s, end_s))
    yield from (k * MINUTE_S - wall_s for k in range(int(first), int(last) + 1))


def at_moments(
    film: Film, moments: int, questions: int, rng: np.random.Generator, even: Even, kinds: Sequence[str]
) -> Iterator[Ask]:
    """Several questions of all kinds at random whole seconds."""
    first, last = int(film.seconds / 6), int(film.seconds)
    for moment in sorted(rng.choice(np.arange(first, last + 1), moments, replace=False).tolist()):
        truth = film.truth.until(float(moment))
        yield from _asked(truth, even.ask(View(truth, film.wall_s), rng, questions, kinds))


def at_occasions(film: Film, kinds: Sequence[str], rng: np.random.Generator, even: Even, each: int) -> Iterator[Ask]:
    """Each kind at moments that offer it: what is seldom to be asked about is asked about too."""
    for kind in kinds:
        asked = 0
        for moment in rng.permutation(np.arange(OCCASION_S, int(film.seconds) + 1))[:OCCASIONS].tolist():
            truth = film.truth.until(float(moment))
            found = even.ask(View(truth, film.wall_s), rng, 1, [kind])
            yield from _asked(truth, found)
            asked += len(found)
            if asked == each:
                break


def _asked(truth: History, items: Iterable[Item]) -> Iterator[Ask]:
    yield from (Ask(truth.now_s, item, occluded=was_hidden(truth, item)) for item in items)


def was_hidden(truth: History, item: Item) -> bool:
    """Whether a thing that the answer is read from stood half hidden within the picture at some time before."""
    return any(
        SLIVER <= s.shown < CLEAR and APART < s.x < 1 - APART
        for run in truth.runs
        for track in run.tracks
        if (track.kind, track.colour) in item.shown
        for s in track.samples
    )


def of_a_day(film: Film, moments: int, rng: np.random.Generator, even: Even) -> Iterator[Ask]:
    """Questions about the past at the ends of busy stretches, the last one among them, evenly over the ages."""
    ends = [run.last_s for run in film.truth.runs]
    late = np.linspace(0, 1, moments + 1)[1:] ** LATE
    for number in np.unique(np.round(late * (len(ends) - 1)).astype(int)).tolist():
        truth = film.truth.until(ends[number])
        items = even.ask(View(truth, film.wall_s), rng, AT_ANY_AGE, ("seen", "past_colour", "past_where", "when"))
        for low, high in zip((0.0, *AGES_S), AGES_S, strict=False):
            view = Between(truth, film.wall_s, low, high)
            items += even.ask(view, rng, PER_AGE, TIMED, partial(_aged, low, high))
            items += even.ask(view, rng, 1, ("seen", "when"), partial(_aged_and_there, low, high))
        yield from _asked(truth, {item.text: item for item in items}.values())


def _aged(low_s: float, high_s: float, c: Candidate) -> bool:
    return low_s < c.lag_s <= high_s


def _aged_and_there(low_s: float, high_s: float, c: Candidate) -> bool:
    return c.there and _aged(low_s, high_s, c)


def _changes(
    kind: str, word: str, film: Film, times: Sequence[float], rng: np.random.Generator
) -> dict[str, list[tuple[float, Candidate]]]:
    """By what is asked about (`word` of the phrase): the moments at which the answer was another than before."""
    found: dict[str, list[tuple[float, Candidate]]] = {}
    for now in times:
        for c in candidates(kind, film.truth.until(now), rng, film.wall_s):
            seen = found.setdefault(c.words[word], [])
            if not seen or seen[-1][1].answer != c.answer:
                seen.append((now, c))
    return found


def drift(film: Film, times: Sequence[float], rng: np.random.Generator, most: int = 2) -> Iterator[Ask]:
    """One question at three moments, its answer another one each time."""
    found = _changes("last_colour", "kind", film, times, rng)
    long = [(kind, seen) for kind, seen in found.items() if len(seen) >= 3]
    for number in rng.permutation(len(long))[:most]:
        kind, seen = long[int(number)]
        start, phrase = int(rng.integers(len(seen) - 2)), int(rng.integers(PHRASING))
        for now, c in seen[start : start + 3]:
            yield Ask(now, as_item("last_colour", c, phrase), "drift", f"drift {kind}")


def counting(film: Film, times: Sequence[float], rng: np.random.Generator, most: int = 2) -> Iterator[Ask]:
    """REC: how many so far, of one kind, at up to four moments, the count having grown in between."""
    found = _changes("past_count", "plural", film, times, rng)
    grown = [(kind, seen) for kind, seen in found.items() if len(seen) >= 2]
    for number in rng.permutation(len(grown))[:most]:
        kind, seen = grown[int(number)]
        phrase = int(rng.integers(PHRASING))
        yield from (Ask(now, as_item("past_count", c, phrase), "count so far", f"count {kind}") for now, c in seen[-4:])


def running(film: Film, times: Sequence[float], rng: np.random.Generator, each: int = 3) -> Iterator[Ask]:
    """SSR: is it so now? Door, light and burdens, polled; as many moments when it is so as when it is not."""
    for kind in ("door", "light", "carrying"):
        yes, no = list[Ask](), list[Ask]()
        for now in times:
            for c in candidates(kind, film.truth.until(now), rng, film.wall_s):
                is_so = c.answer not in {"no", "nothing"}
                task = f"running now: {'yes' if is_so else 'no'}"
                (yes if is_so else no).append(Ask(now, as_item(kind, c, int(rng.integers(PHRASING))), task))
        most = min(each, max(1, min(len(yes), len(no))))  # a state that never changes is asked about once
        for side in (yes, no):
            yield from (side[int(i)] for i in rng.permutation(len(side))[:most])


def in_time(film: Film, times: Sequence[float], rng: np.random.Generator, most: int = 3) -> Iterator[Ask]:
    """CRR: a question before there is anything to tell it by, and the same words when there is."""
    found: list[tuple[Ask, Ask]] = []
    last = times[-1]
    for kind in ("seen", "past_where", "past_colour", "past_number", "who_left"):
        for c in candidates(kind, film.truth.until(last), rng, film.wall_s):
            before = [t for t in times if c.there and not _showed(film.truth.until(t), c)]
            if not before:
                continue
            after = as_item(kind, c, int(rng.integers(PHRASING)))
            group = f"in time: {after.text}"
            answer, early = ("no" if kind == "seen" else "not seen"), before[-1]
            start = film.truth.start_s
            none = replace(
                after, answer=answer, evidence_span=(start, early), lag_s=early - start, there=False, shown=()
            )
            found.append((Ask(early, none, "in time", group), Ask(last, after, "in time", group)))
    for number in rng.permutation(len(found))[:most]:
        yield from found[int(number)]


def _showed(truth: History, c: Candidate) -> bool:
    return any(
        track.trace and any(track.kind == kind and colour in {None, track.colour} for kind, colour in c.named)
        for run in truth.runs
        for track in run.tracks
    )
