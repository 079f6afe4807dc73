"""What was measured beside what was published, as lines and as numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from bench.paper.published import PUBLISHED
from bench.watch.scoring import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.paper.resume import Answered

HEADS = ("method", "model", "tokens", "accuracy %", "95 % interval", "TokDense", "source")
NOTE = (
    "TokDense is percent per visual token; it rises without limit as tokens go to zero: read it beside the accuracy. "
    "Published figures are of other models, other frames and other machines: compare methods on one model, with `none`."
)
JUDGED = (
    "Open answers: right where the true words are among those said. The papers have a language model judge them, which "
    "gives higher figures and is another measurement."
)


@dataclass(frozen=True, slots=True)
class Score:
    """Of some questions: how many right, and what they cost (medians, ms)."""

    count: int
    right: int
    exact: int
    understood: int
    low: float  # Wilson's 95 % interval of the share of right answers
    high: float
    tokens: float
    patches: float
    frames: float
    vision_ms: float
    reduce_ms: float
    first_ms: float
    total_ms: float
    chance: float | None  # share of right guesses; None where answers are open

    @property
    def percent(self) -> float:
        """Right answers of 100."""
        return 100 * self.right / self.count

    @property
    def density(self) -> float:
        """TokDense."""
        return self.percent / self.tokens


def score(answered: Sequence[Answered]) -> Score | None:
    """None where nothing was asked."""
    asked = [one for one in answered if not one.why]
    if not asked:
        return None
    right = sum(one.right for one in asked)
    chances = [1 / one.choices for one in asked if one.choices]
    low, high = wilson(right, len(asked))
    return Score(
        count=len(asked),
        right=right,
        exact=sum(one.exact for one in asked),
        understood=sum(one.understood for one in asked),
        low=low,
        high=high,
        tokens=fmean(one.tokens for one in asked),
        patches=fmean(one.patches for one in asked),
        frames=fmean(one.frames for one in asked),
        vision_ms=median(one.vision_ms for one in asked),
        reduce_ms=median(one.reduce_ms for one in asked),
        first_ms=median(one.first_ms for one in asked),
        total_ms=median(one.total_ms for one in asked),
        chance=fmean(chances) if len(chances) == len(asked) else None,
    )


def lines(dataset: str, name: str, model: str, answered: Sequence[Answered]) -> list[str]:
    """For people: published rows, the measured row, its cost, its groups, and what could not be asked."""
    rows = [
        (p.method, p.model, _count(p.tokens), f"{p.accuracy:.2f}", "", _density(p.density), p.source)
        for p in PUBLISHED
        if p.dataset == dataset
    ]
    whole, missed = score(answered), [one for one in answered if one.why]
    if whole is not None:
        interval = f"{100 * whole.low:.1f} to {100 * whole.high:.1f}"
        measured = f"measured, n = {whole.count}"
        density = _density(whole.density)
        rows.append((name, model, _count(whole.tokens), f"{whole.percent:.2f}", interval, density, measured))
        if whole.chance is not None:
            rows.append(("guessing", "", "", f"{100 * whole.chance:.2f}", "", "", "one of the options"))
    told = [*table(HEADS, rows), "", NOTE]
    if whole is not None:
        told += [JUDGED] if whole.chance is None else []
        told += [_cost(whole), *_groups(answered)]
    if missed:
        told.append(f"{len(missed)} of {len(answered)} questions could not be asked and are not counted; the first:")
        told += [f"  {one.id}: {one.why}" for one in missed[:3]]
    return told


def numbers(answered: Sequence[Answered]) -> dict[str, Any]:
    """For programs."""
    whole, groups = score(answered), sorted({one.group for one in answered})
    by_group = {group: score([one for one in answered if one.group == group]) for group in groups}
    return {
        "all": None if whole is None else asdict(whole),
        "groups": {group: asdict(found) for group, found in by_group.items() if found is not None},
        "not_asked": {one.id: one.why for one in answered if one.why},
    }


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns; numbers to the right."""
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    right = {"tokens", "accuracy %", "TokDense", "95 % interval"}
    return [
        "  ".join(
            cell.rjust(width) if head in right else cell.ljust(width)
            for cell, width, head in zip(row, widths, heads, strict=True)
        ).rstrip()
        for row in (heads, *rows)
    ]


def _cost(whole: Score) -> str:
    return (
        f"{whole.frames:.1f} frames and {whole.patches:.0f} tokens a video before reduction; medians: frames and tower "
        f"{whole.vision_ms:.0f} ms, reducer {whole.reduce_ms:.1f} ms, first word after {whole.first_ms:.0f} ms, answer "
        f"{whole.total_ms:.0f} ms; {whole.understood} of {whole.count} answers understood, {whole.exact} in exactly "
        "the true words or letter"
    )


def _groups(answered: Sequence[Answered]) -> list[str]:
    names = sorted({one.group for one in answered if one.group and not one.why})
    if len(names) < 2:
        return []
    found = [(name, score([one for one in answered if one.group == name])) for name in names]
    return [
        f"  {name}: {one.percent:.1f} % of {one.count} ({100 * one.low:.1f} to {100 * one.high:.1f})"
        for name, one in found
        if one is not None
    ]


def _count(tokens: float | None) -> str:
    return "" if tokens is None else f"{tokens:.2f}".rstrip("0").rstrip(".")


def _density(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
