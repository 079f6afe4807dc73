"""Questions about a history with their true answers. Nothing later than now is looked at, except where things leave.

Questions in the present tense are about the last look. Questions in the past tense are about things that have been gone
for at least `GONE_S`, so that the last pictures do not tell, or about a minute that is over. Whatever would be unclear
to a person - half in the picture, hidden, two of the same - is not asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stream.sources.simulated import questions_past, questions_plain, questions_present, questions_timed
from stream.sources.simulated.balance import Balance, Candidate, Named
from stream.sources.simulated.history import History
from stream.sources.simulated.view import Maker, View
from stream.sources.simulated.wording import PHRASES
from stream.sources.simulated.world import Script

Mode = Literal["present", "past"]

# Kind of question: tense, and the floor of blind guessing when the balance is perfect. What a set of questions really
# gives away is to be measured on that set: rare answers (four of a kind, say) run short in few or quiet histories.
# Where a thing may be named that was not there, one in five answers says so.
MODES: dict[str, Mode] = {
    "what": "present",  # open; "nothing" is one in five
    "colour": "present",  # 1/5: "not seen"
    "count": "present",  # 1/5 where all counts occur
    "where": "present",  # 1/3
    "moving": "present",  # 1/3
    "exists": "present",  # 1/2
    "number": "present",  # 1/5: "not seen"
    "door": "present",  # 1/2
    "light": "present",  # 1/2
    "carrying": "present",  # 1/9 where boxes are many; "nothing" is the easy answer
    "leaving": "present",  # 1/2
    "seen": "past",  # 1/2
    "past_colour": "past",  # 1/5: "not seen"
    "order": "past",  # 1/2
    "past_count": "past",  # 1/5; long histories have few zeros
    "past_where": "past",  # 2/5
    "past_number": "past",  # 1/5: "not seen"
    "who_left": "past",  # 1/5: "not seen"
    "last_colour": "past",  # 1/8
    "last_seen": "past",  # 1/9; "nothing" is the easy answer
    "when": "past",  # open: `time_s` is the answer
    "seen_at": "past",  # 1/2
    "colour_at": "past",  # 1/5: "not seen"
    "count_at": "past",  # 1/5 where all counts occur
    "where_at": "past",  # 2/5
}
KINDS_ASKED: tuple[str, ...] = tuple(MODES)
_COLOURED: dict[str, Maker] = questions_present.MAKERS | questions_past.MAKERS | questions_timed.MAKERS
MAKERS: dict[str, Maker] = _COLOURED | {
    kind: questions_plain.either(_COLOURED[kind], plain) for kind, plain in questions_plain.MAKERS.items()
}


@dataclass(frozen=True, slots=True)
class Item:
    """A question about a history and its one true answer."""

    kind: str
    mode: Mode
    text: str
    answer: str
    evidence_span: tuple[float, float]  # when there was something to see that tells, s of the history
    lag_s: float  # now minus the end of that
    time_s: float | None = None  # `when`: the moment that the answer WHEN stands for, s of the history
    span: tuple[float, float] | None = None  # the minute that the question names, s of the history
    there: bool = True  # whether what the question names was there at all
    named: Named = ()  # what the question names: kind or fixture, and colour where it gives one
    shown: tuple[tuple[str, str], ...] = ()  # the things, as (kind, colour), from which the answer is read


def ask(
    history: History,
    rng: np.random.Generator,
    count: int = 8,
    kinds: Sequence[str] = KINDS_ASKED,
    balance: Balance | None = None,
    *,
    wall_s: float = 0.0,
) -> list[Item]:
    """At most `count` different questions about what was seen until the history's end, kinds taken in turn.

    Pass one `Balance` to all calls of a training run or a test set: answers are then even over all of them. Fewer
    come back where little happened or where asking more would tip the balance. `wall_s` is the Unix time of second 0
    of the history: minutes are named by it.
    """
    view, balance = View(history, wall_s), Balance() if balance is None else balance
    items: dict[_Topic, Item] = {}
    for _ in range(4):
        for kind in map(str, rng.permutation(list(kinds))):
            if len(items) >= count:
                return list(items.values())
            fresh = [c for c in MAKERS[kind](view, rng) if _topic(kind, c) not in items]
            chosen = balance.choose(kind, fresh, rng)
            if chosen:
                items[_topic(kind, chosen)] = _put(kind, chosen, rng)
    return list(items.values())


def ask_about(
    script: Script, seen_from: float, now: float, rng: np.random.Generator, count: int = 8, *, hz: float = 2.0
) -> list[Item]:
    """Questions about one script watched from `seen_from` to `now` (media time, s)."""
    return ask(History.from_script(script, seen_from, now, hz), rng, count, wall_s=script.wall_s)


_Topic = tuple[str, tuple[tuple[str, str], ...], Sequence[str] | None]


def _topic(kind: str, c: Candidate) -> _Topic:
    """What is the same for all wordings of a question."""
    return kind, tuple(sorted(c.words.items())), c.phrases


def _put(kind: str, c: Candidate, rng: np.random.Generator) -> Item:
    phrases = c.phrases or PHRASES[kind]
    text = phrases[int(rng.integers(len(phrases)))].format(**c.words)
    return Item(kind, MODES[kind], text, c.answer, c.span_s, c.lag_s, c.time_s, c.minute_s, c.there, c.named, c.shown)


assert set(MAKERS) == set(MODES) == set(PHRASES)
