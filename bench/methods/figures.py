"""From trials to figures: one setting over all streams, each figure with its spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from bench.methods.trial import Trial
from bench.watch.scoring import wilson
from bench.watch.tables import Share


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over streams and its standard deviation; that of one stream has none."""

    mean: float
    spread: float | None = None

    def text(self, digits: int = 1, unit: float = 1.0) -> str:
        """`12.3 ± 0.4`."""
        spread = "" if self.spread is None else f" ± {self.spread / unit:,.{digits}f}"
        return f"{self.mean / unit:,.{digits}f}{spread}".replace(",", " ")


def over(values: Sequence[float]) -> Figure | None:
    """Mean and spread of one value per stream; None where there is none."""
    return None if not values else Figure(fmean(values), stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True, slots=True)
class Summary:
    """One setting."""

    method: str
    group: str
    share: float
    segment_s: float
    segments: float
    right: dict[str, Share]  # by mode
    count: dict[str, int]
    spread: dict[str, Figure]  # of the share that is right, over streams
    figures: dict[str, Figure]  # by name, see `FIGURES`


FIGURES: dict[str, Callable[[Trial], float | None]] = {
    "tokens_per_minute": lambda t: t.rows / t.seconds * 60,
    "kept_of_raw": lambda t: t.rows / t.raw,
    "held_tokens": lambda t: float(t.held),
    "bytes": lambda t: float(t.bytes),
    "reserve": lambda t: float(t.reserve),
    "encoder_ms": lambda t: t.encoder_ms,
    "reducer_ms": lambda t: t.reducer_ms,
    "memory_ms": lambda t: t.memory_ms,
    "first_ms": lambda t: _mean([one.first_ms for one in t.replies]),
    "word_ms": lambda t: _mean([one.word_ms for one in t.replies]),
    "reach": lambda t: _mean([float(one.reach) for one in t.replies]),
    "tower_flops": lambda t: t.tower_flops,
    "reducer_flops": lambda t: t.reducer_flops,
    "read_flops": lambda t: t.read_flops,
    "ask_flops": lambda t: _mean([one.ask_flops for one in t.replies if one.ask_flops]),
    "word_flops": lambda t: _mean([one.word_flops for one in t.replies if one.word_flops]),
}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def summary(trials: Sequence[Trial]) -> Summary:
    """Of one setting's trials, one per stream."""
    right, count = dict[str, Share](), dict[str, int]()
    spread = dict[str, Figure]()
    for mode in ("present", "past", "all"):
        asked = [[one.right for one in t.replies if mode in {one.mode, "all"}] for t in trials]
        total, hits = sum(map(len, asked)), sum(map(sum, asked))
        if total:
            right[mode], count[mode] = Share(hits / total, *wilson(hits, total)), total
            found = over([sum(one) / len(one) for one in asked if one])
            spread |= {} if found is None else {mode: found}
    figures = {name: over([v for t in trials if (v := of(t)) is not None]) for name, of in FIGURES.items()}
    first = trials[0]
    return Summary(
        first.method,
        first.group,
        first.share,
        first.segment_s,
        fmean(t.segments for t in trials),
        right,
        count,
        spread,
        {name: figure for name, figure in figures.items() if figure is not None},
    )
