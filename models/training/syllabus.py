"""What is asked when: single frames first, then short histories, then all lengths, and now and then hours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.training.histories import History, Rank, compose, glance, look_back

if TYPE_CHECKING:
    from models.training.lessons import Teacher
    from models.training.tokens import RunTokens


@dataclass(frozen=True, slots=True)
class LanguagePlan:
    """How the language stage is run."""

    batch: int = 2  # small: here the number of steps counts, not the questions in a step (docs/LOG.md)
    questions: int = 28
    earlier: int = 3  # at most so many whole runs before the last
    glances_fraction: float = 0.1  # of the time, at the start: single frames only, twice as many per step
    glances_share: float = 0.2  # of the steps later on: they cost little, and histories ask little about now
    grown_fraction: float = 0.25  # of the time after those: until all lengths occur
    hours_fraction: float = 0.5  # of the time, until there are hours to look back on
    hours_share: float = 0.6  # of the steps that are no glances, from then on
    hours_runs: tuple[int, int] = (8, 32)  # fewest and most runs of those
    hours_questions: int = 8  # about each: they share few of their blocks
    long_fraction: float = 0.2  # of the time, at the end: long histories oftenest
    learning_rate: float = 9e-4
    new_share: float = 1.0  # of the trained weights in the result; the rest is what they began from
    seed: int = 0
    exam_every: int = 400  # steps
    exam_batches: int = 40  # of four histories, at the end
    probe_pictures: int = 1200  # labelled pictures that tell which rows show what
    workers: int = 0  # processes that compose beside the training


def draw(
    runs: list[RunTokens], teacher: Teacher, plan: LanguagePlan, rng: np.random.Generator, part: float, rank: Rank
) -> list[History]:
    """A batch of one length class; `part` 0..1 of the stage is over, exactly 1 in an exam."""
    early = part < plan.glances_fraction
    if early or (part < 1 and rng.random() < plan.glances_share):
        return _some(2 * plan.batch, lambda: glance(runs, teacher, rng, plan.questions // 2, frames=1 if early else 4))
    most_runs = min(plan.hours_runs[1], len(runs) - 1)
    if plan.hours_fraction <= part < 1 and most_runs > plan.hours_runs[0] and rng.random() < plan.hours_share:
        return _some(
            plan.batch,
            lambda: look_back(
                runs, teacher, rng, int(rng.integers(plan.hours_runs[0], most_runs)), plan.hours_questions, rank
            ),
        )
    begun = (part - plan.glances_fraction) / (1 - plan.glances_fraction)
    grown = 1.0 if begun >= plan.grown_fraction else begun / plan.grown_fraction
    most = min(plan.earlier, len(runs) - 1, int(grown * (plan.earlier + 1)))
    # As much time for each length, since a step costs what its history is long; in the end mostly long ones.
    share = np.arange(1.0, most + 2) ** (1 if part > 1 - plan.long_fraction else -1)
    earlier = int(rng.choice(most + 1, p=share / share.sum()))
    count = max(1, plan.batch // (1 + earlier // 2))  # long ones cost more and ask about more
    return _some(count, lambda: compose(runs, teacher, rng, earlier, plan.questions, rank))


def _some(count: int, one: Callable[[], History | None]) -> list[History]:
    """So many histories about which anything is asked."""
    found: list[History] = []
    while len(found) < count:
        history = one()
        found += [history] if history is not None and history.items else []
    return found
