"""What is asked when: questions about the truth until a moment, planned before a stream is watched.

Planning may look at the whole truth (it must, to ask about a thing before it comes); what is watched may not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.watch.films import Film
from bench.watch.scoring import AGES_S
from stream.sources.simulated.balance import Balance, Candidate
from stream.sources.simulated.history import CLEAR, SLIVER, History, Run
from stream.sources.simulated.quiz import MAKERS, MODES, Item, ask
from stream.sources.simulated.view import APART, View
from stream.sources.simulated.wording import PHRASES

TIMED = tuple(kind for kind in MODES if kind.endswith("_at"))  # about a minute that the question names


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


def at_moments(
    film: Film, moments: int, questions: int, rng: np.random.Generator, balance: Balance, kinds: Sequence[str]
) -> Iterator[Ask]:
    """Several questions of all kinds at random whole seconds."""
    first, last = int(film.seconds / 6), int(film.seconds)
    for moment in sorted(rng.choice(np.arange(first, last + 1), moments, replace=False).tolist()):
        now = float(moment)
        truth = film.truth.until(now)
        for item in ask(truth, rng, questions, kinds, balance, wall_s=film.wall_s):
            yield Ask(now, item, occluded=was_hidden(truth, item))


def was_hidden(truth: History, item: Item) -> bool:
    """Whether a thing that the answer is read from stood half hidden within the picture at some time before."""
    return any(
        SLIVER <= s.shown < CLEAR and APART < s.x < 1 - APART
        for run in truth.runs
        for track in run.tracks
        if (track.kind, track.colour) in item.shown
        for s in track.samples
    )


def of_a_day(film: Film, moments: int, rng: np.random.Generator, balance: Balance) -> Iterator[Ask]:
    """Questions about the past at the ends of busy stretches, the last one among them, evenly over the ages."""
    ends = [run.last_s for run in film.truth.runs]
    share = np.unique(np.round(np.linspace(0, 1, moments + 1)[1:] ** 0.6 * (len(ends) - 1)).astype(int))
    for number in share:
        now = ends[int(number)]
        truth = film.truth.until(now)
        items = list(ask(truth, rng, 4, ("seen", "when"), balance, wall_s=film.wall_s))
        for low, high in zip((0.0, *AGES_S), AGES_S, strict=False):
            near = windowed(truth, low, high)
            if len(near.runs) > 1:
                found = ask(near, rng, 3, TIMED, balance, wall_s=film.wall_s)
                items += [item for item in found if low < item.lag_s <= high]
            items += _when(truth, low, high, rng, film.wall_s)
        yield from (Ask(now, item, occluded=was_hidden(truth, item)) for item in _distinct(items))


def windowed(truth: History, low_s: float, high_s: float) -> History:
    """Only what was seen between `low_s` and `high_s` before now; now stays now."""
    now = truth.now_s
    kept = [run for run in truth.runs if run.last_s >= now - high_s and run.start_s <= now - low_s]
    cut = [run.until(now - low_s) if run.last_s > now - low_s else run for run in kept]
    return History((*cut, Run(now, now, truth.runs[-1].step_s, ())))


def _when(truth: History, low: float, high: float, rng: np.random.Generator, wall_s: float) -> list[Item]:
    found = [c for c in candidates("when", truth, rng, wall_s) if c.time_s is not None and low < c.lag_s <= high]
    return [as_item("when", found[int(rng.integers(len(found)))], int(rng.integers(12)))] if found else []


def _distinct(items: Sequence[Item]) -> list[Item]:
    return list({item.text: item for item in items}.values())


def drift(film: Film, times: Sequence[float], rng: np.random.Generator, most: int = 2) -> Iterator[Ask]:
    """One question at three moments, its answer another one each time."""
    found: dict[str, list[tuple[float, Candidate]]] = {}
    for now in times:
        for c in candidates("last_colour", film.truth.until(now), rng, film.wall_s):
            seen = found.setdefault(c.words["kind"], [])
            if not seen or seen[-1][1].answer != c.answer:
                seen.append((now, c))
    long = [(kind, seen) for kind, seen in found.items() if len(seen) >= 3]
    for number in rng.permutation(len(long))[:most]:
        kind, seen = long[int(number)]
        start, phrase = int(rng.integers(len(seen) - 2)), int(rng.integers(12))
        for now, c in seen[start : start + 3]:
            yield Ask(now, as_item("last_colour", c, phrase), "drift", f"drift {kind}")


def counting(film: Film, times: Sequence[float], rng: np.random.Generator, most: int = 2) -> Iterator[Ask]:
    """REC: how many so far, of one kind, at up to four moments, the count having grown in between."""
    found: dict[str, list[tuple[float, Candidate]]] = {}
    for now in times:
        for c in candidates("past_count", film.truth.until(now), rng, film.wall_s):
            seen = found.setdefault(c.words["plural"], [])
            if not seen or seen[-1][1].answer != c.answer:
                seen.append((now, c))
    grown = [(kind, seen) for kind, seen in found.items() if len(seen) >= 2]
    for number in rng.permutation(len(grown))[:most]:
        kind, seen = grown[int(number)]
        phrase = int(rng.integers(12))
        yield from (Ask(now, as_item("past_count", c, phrase), "count so far", f"count {kind}") for now, c in seen[-4:])


def running(film: Film, times: Sequence[float], rng: np.random.Generator, each: int = 3) -> Iterator[Ask]:
    """SSR: is it so now? Door, light and burdens, polled; as many moments when it is so as when it is not."""
    for kind in ("door", "light", "carrying"):
        yes, no = list[Ask](), list[Ask]()
        for now in times:
            for c in candidates(kind, film.truth.until(now), rng, film.wall_s):
                is_so = c.answer not in {"no", "nothing"}
                task = f"running now: {'yes' if is_so else 'no'}"
                (yes if is_so else no).append(Ask(now, as_item(kind, c, int(rng.integers(12))), task))
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
            after = as_item(kind, c, int(rng.integers(12)))
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
