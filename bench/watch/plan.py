"""What is measured: how many streams of which kind, from which seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bench.watch.stress import VARIANTS
from stream.sources.simulated import teacher

Split = Literal["train", "validation", "test"]
Sort = Literal["short", "day", "stress", "glimpse", "ablation", "ablation day"]
SPLITS: dict[Split, range] = {
    "train": teacher.TRAIN_SEEDS,
    "validation": teacher.VALIDATION_SEEDS,
    "test": teacher.TEST_SEEDS,
}
APART: dict[Sort, int] = {  # where in a split the seeds of each sort of stream begin
    "short": 0,
    "day": 100_000,
    "stress": 200_000,
    "glimpse": 300_000,
    "ablation": 400_000,
    "ablation day": 500_000,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of the measurement."""

    split: Split = "test"
    streams: int = 24  # short ones
    seconds: float = 180.0  # of a short one
    fps: float = 2.0
    moments: int = 6  # of each short stream at which several questions are asked
    questions: int = 8  # at each of these
    occasions: int = 2  # more questions of each kind that few moments offer, per short stream
    standing: int = 24  # short streams with standing instructions
    instructions: int = 3  # in each of these
    days: int = 8
    day_s: float = 86400.0  # media time of a day
    day_moments: int = 10
    stress: int = 4  # streams per variant
    stress_seconds: float = 100.0
    glimpses: int = 8  # static streams with a two-frame event
    ablation_streams: int = 0
    ablation_days: int = 0


@dataclass(frozen=True, slots=True)
class Unit:
    """One stream, watched from its first frame to its last question."""

    name: str
    sort: Sort
    seed: int
    number: int  # of its sort
    variant: str = ""


FULL = Plan()
SMALL = Plan(
    streams=1,
    seconds=70.0,
    moments=2,
    questions=4,
    occasions=1,
    standing=1,
    instructions=1,
    days=1,
    day_s=1.5 * 3600.0,
    day_moments=2,
    stress=0,
    glimpses=1,
)


def units(plan: Plan) -> Iterator[Unit]:
    """All streams of a plan, in order."""
    counts: dict[Sort, int] = {
        "short": plan.streams,
        "day": plan.days,
        "glimpse": plan.glimpses,
        "ablation": plan.ablation_streams,
        "ablation day": plan.ablation_days,
    }
    for sort, count in counts.items():
        for number in range(count):
            yield _unit(plan, sort, number)
    for number in range(plan.stress):
        for variant in VARIANTS:
            yield _unit(plan, "stress", number, variant)


def _unit(plan: Plan, sort: Sort, number: int, variant: str = "") -> Unit:
    seed = SPLITS[plan.split][APART[sort] + number]
    return Unit(" ".join(filter(None, (sort, variant, str(seed)))), sort, seed, number, variant)
