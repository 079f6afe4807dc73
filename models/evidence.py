"""What an answer rests on: attention on remembered rows, carried back to times and grid cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from stream.flow import Sighting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    _Weighed = tuple[float, list[tuple[Tensor, "Stretch"]], "Stretch"]  # weight, its shares and where, the whole

MOST_SIGHTINGS = 8
AS_MUCH = 0.3  # of the largest share: what was looked at less than that is not what is meant
A_LITTLE, MOST_CLOSER = 0.03, 8  # of the largest share, and how many blocks: what is worth a closer look
RIGHT_AFTER_S, MOST_ON = 1.5, 3  # from the end of a block to the next one's start, and how many of these are followed


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A run of keys that stands for something seen."""

    at: int  # index of its first row among all keys in reach
    span_s: tuple[float, float]  # media time
    cells: Tensor  # (F, rows*columns) share of a row's mass per grid cell
    grid: tuple[int, int]
    frames: int
    block: int | None  # ledger id; None: not in the ledger yet
    recalled: Literal["", "warm", "cold"] = ""
    instant: bool = False  # the frames of the instant window make one sighting together

    @property
    def rows(self) -> int:
        """How many keys."""
        return int(self.cells.shape[0])


class Attention:
    """Mean attention per key over the question's words and each word said."""

    def __init__(self, mass: Tensor | None = None, steps: int = 0) -> None:
        """`mass`: the sum (keys,) of so many steps that were noted before."""
        self._sum = mass
        self._steps = steps
        self._mean: Tensor | None = None  # on the host, brought there once: a device would be waited for each time

    def note(self, mass: Tensor | None) -> None:
        """Shares (keys in reach,) of one step; later steps reach more keys."""
        if mass is None:
            return
        if self._sum is not None:
            mass = mass.clone()
            mass[: len(self._sum)] += self._sum
        self._sum, self._mean = mass, None
        self._steps += 1

    def resting_on(self, stretch: Stretch | None) -> Attention:
        """The same where what was said is the time of a stretch: half of all attention as if it had fallen there."""
        if stretch is None or self._sum is None:
            return self
        mass = self._sum.clone()
        mass[stretch.at : stretch.at + stretch.rows] += self._steps / stretch.rows
        return Attention(mass, 2 * self._steps)

    def on(self, stretch: Stretch) -> Tensor | None:
        """Shares (F,) of a stretch's rows; None before anything was noted."""
        if self._sum is None:
            return None
        if self._mean is None:
            self._mean = (self._sum / self._steps).float().cpu()
        return self._mean[stretch.at : stretch.at + stretch.rows]


def sightings(attention: Attention, stretches: Sequence[Stretch]) -> tuple[Sighting, ...]:
    """The stretches attended to most, heaviest first, at most 8; weights are shares of attention on all seen."""
    found: list[_Weighed] = []
    for stretch in stretches:
        share = attention.on(stretch)
        if share is not None and (weight := float(share.sum())) > 0:
            found.append((weight, [(share, stretch)], stretch))
    found = _join_instant(found)
    total = sum(weight for weight, _, _ in found)
    found.sort(key=lambda f: (-f[0], f[2].span_s))
    return tuple(_sighting(weight / total, parts, stretch) for weight, parts, stretch in found[:MOST_SIGHTINGS])


def shares(attention: Attention, stretches: Sequence[Stretch]) -> dict[int, float]:
    """Share of all attention on what was seen, by ledger id."""
    weights = [(s.block, float(share.sum())) for s in stretches if (share := attention.on(s)) is not None]
    total = sum(weight for _, weight in weights)
    return {block: weight / total for block, weight in weights if block is not None and total > 0}


def meant(look: Tensor, stretches: Sequence[Stretch], shows: Callable[[int], bool] | None = None) -> Stretch | None:
    """The stretch that is meant where one row's attention (keys,) is to tell when; None where it fell on nothing seen.

    Who asks when asks for the last time: of all stretches with at least `AS_MUCH` of the largest share the latest is
    meant. The instant window counts as one, and its most seen frame tells
    (`docs/decisions/0053-when-means-the-last-time.md`). `shows`: whether a block, by its ledger id, shows what is asked
    for; then the latest block is meant that does, of the `MOST_CLOSER` looked at most with at least `A_LITTLE` of the
    largest share, and the rule above is for where none does. A visit is followed to its end, through the blocks right
    after (`docs/decisions/0058-when-is-looked-at-closer.md`).
    """
    look = look.float().cpu()
    weights = [float(look[s.at : s.at + s.rows].sum()) for s in stretches]
    together = sum(weight for weight, s in zip(weights, stretches, strict=True) if s.instant)
    whole = [together if s.instant else weight for weight, s in zip(weights, stretches, strict=True)]
    enough = AS_MUCH * max(whole, default=0.0)
    much = [i for i, share in enumerate(whole) if share >= enough and weights[i] > 0]
    if not much:
        return None
    latest = max(much, key=lambda i: (stretches[i].instant, weights[i] if stretches[i].instant else stretches[i].at))
    if shows is not None and stretches[latest].block is not None:  # what is in no block yet is there for all to see
        latest = _latest_shown(whole, stretches, shows, latest)
    return stretches[latest]


def moment_s(stretch: Stretch, longest_s: float = math.inf) -> float:
    """Media time that a stretch stands for: its middle, that of its first `longest_s` where it was held longer.

    What went by went by in its frames, and nothing has changed since (record 53).
    """
    start, end = stretch.span_s
    return start + min(end - start, longest_s) / 2


def _latest_shown(
    whole: Sequence[float], stretches: Sequence[Stretch], shows: Callable[[int], bool], otherwise: int
) -> int:
    """Index of the latest block that shows it, of those looked at more than hardly at all."""
    little, shows = A_LITTLE * max(whole), cache(shows)  # none is read twice
    blocks = {i: s.block for i, s in enumerate(stretches) if s.block is not None and whole[i] >= little}
    most = sorted(blocks, key=lambda i: whole[i], reverse=True)[:MOST_CLOSER]
    latest_first = sorted(most, key=lambda i: stretches[i].at, reverse=True)
    shown = next((i for i in latest_first if len(most) == 1 or shows(blocks[i])), otherwise)
    return _end_of_visit(shown, stretches, shows)


def _end_of_visit(index: int, stretches: Sequence[Stretch], shows: Callable[[int], bool]) -> int:
    """From a block on through those right after it that show it too, though they were hardly looked at."""
    for after in range(index + 1, min(index + 1 + MOST_ON, len(stretches))):
        block, gap_s = stretches[after].block, stretches[after].span_s[0] - stretches[after - 1].span_s[1]
        if block is None or gap_s > RIGHT_AFTER_S or not shows(block):
            return after - 1
    return min(index + MOST_ON, len(stretches) - 1)


def _join_instant(found: list[_Weighed]) -> list[_Weighed]:
    frames = [f for f in found if f[2].instant]
    if not frames:
        return found
    first, last = frames[0][2], frames[-1][2]
    whole = Stretch(
        first.at, (first.span_s[0], last.span_s[1]), first.cells, first.grid, len(frames), None, instant=True
    )
    parts = [part for _, its, _ in frames for part in its]
    return [f for f in found if not f[2].instant] + [(sum(w for w, _, _ in frames), parts, whole)]


def _sighting(weight: float, parts: list[tuple[Tensor, Stretch]], stretch: Stretch) -> Sighting:
    rows, columns = stretch.grid
    each = [share @ part.cells.float().cpu() for share, part in parts]  # only here: cells may be on a device
    cells = sum(each[1:], start=each[0])
    spread = (cells / cells.sum().clamp_min(1e-12)).view(rows, columns)
    return Sighting(
        span_s=stretch.span_s,
        weight_fraction=weight,
        cells=tuple(tuple(row) for row in spread.tolist()),
        block=stretch.block,
        recalled=stretch.recalled,
    )
