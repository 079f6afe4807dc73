"""Stretches of time within which as much as possible stays as it is, from the frames seen so far.

Source: HoliTom (arXiv 2505.21334). Within a stretch a cell is static if it is alike in every two neighbouring frames;
one copy of it is enough, so that a stretch saves its static cells times its length less one. Dynamic programming finds
the stretches that save the most. A single frame wins over a stretch that saves as much, then the shorter stretch.

The published form waits for the last frame. `Segmenter` takes frame after frame: its recurrence only looks back, and
how many frames in a row each cell has been alike says of any stretch that ends now what is static in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

LONGEST = 1024  # frames of a stretch, as published


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Frames that belong together."""

    first: int
    last: int  # inclusive
    static: Tensor  # (N,) bool: cells alike throughout; none in a single frame

    @property
    def frames(self) -> int:
        """At least 1."""
        return self.last - self.first + 1

    @property
    def saved(self) -> int:
        """Tokens that are not needed because static cells have one copy."""
        return (self.frames - 1) * int(self.static.sum())


def likeness(embeds: Tensor) -> Tensor:
    """(T - 1, N) cosine of each token of (T, N, D) with the one at its place in the next frame."""
    units = normalize(embeds, dim=2)
    return (units[1:] * units[:-1]).sum(2)


def best_stretches(still: Tensor, longest: int = LONGEST) -> list[Stretch]:
    """The stretches that save the most, all frames being known. `still` (T - 1, N) bool: alike from frame to next.

    The batch form: windows (first, last) are tried one by one, as published. Time T * longest * N.
    """
    frames, cells = len(still) + 1, still.shape[1]
    best, back = [0] * (frames + 1), list(range(-1, frames))  # of the first i frames
    for last in range(frames):
        best[last + 1] = best[last]
        static = torch.ones(cells, dtype=torch.bool, device=still.device)
        for first in range(last - 1, max(-1, last - longest), -1):
            static = static & still[first]
            saved = best[first] + (last - first) * int(static.sum())
            if saved > best[last + 1]:
                best[last + 1], back[last + 1] = saved, first
    bounds = _path(back, frames)
    return [Stretch(a, b - 1, _static(still[a : b - 1])) for a, b in pairwise(bounds)]


@dataclass(slots=True, eq=False)
class Segmenter:
    """Frame after frame: a stretch is put out when nothing that may still come can change it.

    That is where all ways to go on share a boundary; a cut, where no cell is alike, makes one. Otherwise the oldest
    stretch of the best way is put out once its first frame is `lag` frames old, and the ways that disagree end. Of up
    to `lag` frames the result is that of `best_stretches`; of more it is too, for stretches of at most `lag` frames, as
    long as `forced` is 0.
    State: `lag + 1` frames of N counters at most, whatever the length of the stream.
    """

    lag: int = 64  # frames that may be open, and the longest stretch
    longest: int = LONGEST
    forced: int = field(default=0, init=False)  # stretches that were put out only because of their age
    _first: int = field(default=0, init=False)  # number of the first open frame
    _runs: list[NDArray[np.int64]] = field(default_factory=list, init=False)  # per open frame (N,), see `push`
    _best: list[int] = field(default_factory=lambda: [0], init=False)  # saved by the first i open frames
    _back: list[int] = field(default_factory=lambda: [-1], init=False)  # and where the last stretch of these starts

    def __post_init__(self) -> None:
        """Raises ValueError with a sentence where no frame could be open."""
        if self.lag < 1 or self.longest < 1:
            raise ValueError(
                f"A segmenter needs a lag and a longest stretch of 1 or more, not {self.lag}, {self.longest}."
            )

    @property
    def open(self) -> int:
        """Frames that no stretch was put out for; at most `lag` between two calls."""
        return len(self._runs)

    def push(self, still: Tensor) -> list[Stretch]:
        """The next frame; the stretches that it settles. `still` (N,) bool: alike to the frame before it.

        For the first frame it says how many cells there are, and nothing else.
        """
        # In a run are the frames up to this one that are each alike to the one before. Small numbers, one frame at a
        # time: numpy takes half as long.
        runs = self._runs[-1] + 1 if self._runs else np.zeros(still.shape, np.int64)
        self._runs.append(np.minimum(runs * still.cpu().numpy(), self.lag))
        self._extend()
        done = self._put_out(self._agreed())
        if self.open > self.lag:
            self.forced += 1
            done += self._put_out(_path(self._back, self.open)[1])
            self._again()
        return done

    def close(self) -> list[Stretch]:
        """The video ends: what was open, at its best. The next frame starts anew, its number goes on."""
        return self._put_out(self.open)

    def _extend(self) -> None:
        """One step of the recurrence, for the frame after those that `_best` knows."""
        last = len(self._best) - 1
        counts = np.bincount(np.minimum(self._runs[last], last))
        alike = counts[::-1].cumsum()[::-1].tolist()  # (i) cells with a run of i or more
        most, start = self._best[last], last
        for length in range(2, min(len(alike), self.longest, self.lag) + 1):
            saved = self._best[last + 1 - length] + (length - 1) * alike[length - 1]
            if saved > most:
                most, start = saved, last + 1 - length
        self._best.append(most)
        self._back.append(start)

    def _agreed(self) -> int:
        """The latest boundary on the way to every boundary that a stretch to come may start from.

        A start whose static cells are all gone never saves more than a single frame does, so none starts there.
        """
        last = self.open - 1
        oldest = max(0, last - int(self._runs[last].max()), last + 2 - min(self.longest, self.lag))
        ways = set(range(oldest, last + 2))
        while len(ways) > 1:
            latest = max(ways)
            ways.remove(latest)
            ways.add(self._back[latest])
        return ways.pop()

    def _put_out(self, bound: int) -> list[Stretch]:
        """The stretches of the best way to a boundary; they are no longer open."""
        bounds = _path(self._back, bound)
        done = [
            Stretch(
                self._first + a, self._first + b - 1, torch.from_numpy((self._runs[b - 1] >= b - a - 1) & (b - a > 1))
            )
            for a, b in pairwise(bounds)
        ]
        self._first += bound
        self._runs = self._runs[bound:]
        self._best = [value - self._best[bound] for value in self._best[bound:]]
        self._back = [-1, *(start - bound for start in self._back[bound + 1 :])]
        return done

    def _again(self) -> None:
        """What is open, anew from the boundary that was forced."""
        self._best, self._back = [0], [-1]
        for _ in self._runs:
            self._extend()


def stretches(still: Tensor, lag: int, longest: int = LONGEST) -> list[Stretch]:
    """All stretches of a clip, frame after frame. `still` (T - 1, N) bool as for `best_stretches`."""
    segmenter = Segmenter(lag, longest)
    first = torch.zeros(1, still.shape[1], dtype=torch.bool, device=still.device)
    done = [each for row in torch.cat([first, still]) for each in segmenter.push(row)]
    return done + segmenter.close()


def _path(back: list[int], bound: int) -> list[int]:
    """Boundaries from 0 to `bound`, each the start of the stretch before the next."""
    bounds = [bound]
    while bounds[-1] > 0:
        bounds.append(back[bounds[-1]])
    return bounds[::-1]


def _static(still: Tensor) -> Tensor:
    """(N,) bool: cells that are alike in all rows (L, N); none where there is no row."""
    return still.all(0) & (len(still) > 0)
