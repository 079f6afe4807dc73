"""Right or wrong, and how sure that is. Exact words, times within 10 s; no judge."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stream.sources.simulated.wording import UNSEEN

AGES_S = (10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0)  # upper bounds of the bins by age of the evidence
AGE_NAMES = ("10 s", "1 min", "10 min", "1 h", "6 h", "24 h")
RIGHT_WITHIN_S = 10.0  # of a time that is asked for
DAY_S = 86400.0
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d):([0-5]\d)")
_BACK_S = range(10, 3600, 20)  # guesses of when something was, seconds before now


@dataclass(frozen=True, slots=True)
class Answered:
    """One question with its truth and what each system said."""

    kind: str
    mode: str
    text: str
    answer: str
    said: dict[str, str]  # by system
    now_s: float  # media time of asking
    wall_s: float  # Unix time of media time 0
    time_s: float | None = None  # media time that is the answer
    age_s: float | None = None  # of the evidence; None: there was never any
    task: str = ""
    group: str = ""
    unit: str = ""
    variant: str = ""
    sort: str = ""
    occluded: bool = False
    out_of_depth: bool = False  # the deployed agent would have said so instead
    first_ms: dict[str, float] | None = None
    reach: dict[str, int] | None = None  # tokens that the answer could attend to


def is_right(one: Answered, system: str) -> bool:
    """Whether a system's answer is the true one."""
    said = one.said[system]
    if one.time_s is not None:
        return _near(said, one.wall_s + one.time_s)
    return normal(said) == normal(one.answer)


def normal(text: str) -> str:
    """Without case, and with single spaces."""
    return " ".join(text.lower().split())


def _near(said: str, wall_s: float) -> bool:
    found = _CLOCK.fullmatch(normal(said))
    if not found:
        return False
    of_day = int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3])
    apart = abs(of_day - wall_s % DAY_S)
    return min(apart, DAY_S - apart) <= RIGHT_WITHIN_S


def wilson(right: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """95 % confidence interval of a share (Wilson's score interval)."""
    if not count:
        return 0.0, 1.0
    p, zz = right / count, z * z / count
    middle = (p + zz / 2) / (1 + zz)
    half = z / (1 + zz) * math.sqrt(p * (1 - p) / count + zz / (4 * count))
    return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))  # p is in it, whatever was rounded


def age_name(age_s: float) -> str:
    """The bin of an age; what is older than 24 h is in the last."""
    return next((name for name, bound in zip(AGE_NAMES, AGES_S, strict=True) if age_s <= bound), AGE_NAMES[-1])


def is_memory_of_nothing(one: Answered) -> bool:
    """Whether it asks about the past of something that never was: any other answer is a false memory."""
    return one.mode == "past" and one.answer in {"no", UNSEEN} and not one.task


def blind(cases: Sequence[Sequence[Answered]]) -> int:
    """How many cases the best rules without a picture get right, one rule per kind of question, chosen with hindsight.

    A case is one question, or several that are judged together; a rule must be right on all of them.
    """
    rules: dict[str, Counter[str]] = {}
    for case in cases:
        common = set.intersection(*(set(right_rules(one)) for one in case))
        rules.setdefault(case[0].kind, Counter()).update(common)
    return sum(max(counts.values(), default=0) for counts in rules.values())


def right_rules(one: Answered) -> Iterator[str]:
    """Rules for guessing without a picture that give the true answer to this question.

    Always the same words; the first or second thing that the question names; so many seconds before now.
    """
    if one.time_s is None:
        yield f"say {normal(one.answer)}"
    else:
        yield from (f"{back} s ago" for back in _BACK_S if abs(one.now_s - back - one.time_s) <= RIGHT_WITHIN_S)
    named = re.findall(r"the \w+ \w+", one.text)
    yield from (f"say name {i}" for i, name in enumerate(named) if name == one.answer)


def balanced(cases: Sequence[Answered], system: str) -> float | None:
    """Mean of the shares of right answers where it is so and where it is not; None where one side is missing."""
    sides = [[is_right(one, system) for one in cases if one.task.endswith(side)] for side in (": yes", ": no")]
    return sum(sum(side) / len(side) for side in sides) / 2 if all(sides) else None
