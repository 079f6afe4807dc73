"""What the recipe asks of whoever teaches: pictures with labels, runs with truth, questions with answers.

The simulator fulfils these protocols; a person with recorded and labelled video can write another teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np


# Does some work on every one of a list of arguments, so many at a time, and says when each is done: in processes, where
# whoever calls the recipe has them to give.
Spread = Callable[[Callable[..., None], Sequence[tuple[Any, ...]], int], Iterable[None]]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A stretch of video with its truth."""

    frames: Sequence[np.ndarray]  # T of (H, W, 3) uint8
    times_s: Sequence[float]  # T, ascending, from 0
    truth: Any  # the teacher's own record of what happened; goes back to it in `Teacher.ask`


class Item(Protocol):
    """A question about a history and its one true answer."""

    @property
    def kind(self) -> str:
        """One of what, colour, count, where, moving, exists, seen, past_colour, order ..."""

    @property
    def mode(self) -> str:
        """Either present or past."""

    @property
    def text(self) -> str:
        """The question, one of many wordings."""

    @property
    def answer(self) -> str:
        """The answer in its one wording."""

    @property
    def there(self) -> bool:
        """Whether what the question names was there at all."""

    @property
    def evidence_span(self) -> tuple[float, float]:
        """When there was something to see that tells the answer, s of the history."""

    @property
    def named(self) -> Sequence[tuple[str, str | None]]:
        """Kind and colour (None: any) of what the question names, in order."""

    @property
    def shown(self) -> Sequence[tuple[str, str]]:
        """The things, as (kind, colour), from which the answer is read; a fixture comes with its state instead."""

    @property
    def span(self) -> tuple[float, float] | None:
        """The time that the question names, s of the history; None where it names none."""

    @property
    def time_s(self) -> float | None:
        """The moment that is asked for, s of the history; None where none is."""


class Teacher(Protocol):
    """Where lessons come from. Everything is decided by the seed."""

    kinds: Sequence[str]  # names of objects; label 0 is none of them
    colours: Sequence[str]
    labels: Mapping[
        str, Sequence[str]
    ]  # what each cell is labelled with, by name: kind, colour ...; class 0 is none of these

    def pictures(self, count: int, grid: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
        """(B, H, W, 3) uint8 and (B, rows, columns, labels) int64 per cell: 0 for none, -1 for unclear."""

    def run(self, seed: int, seconds: float, fps: float) -> Run:
        """A stretch of a scene."""

    def ask(
        self, runs: Sequence[tuple[Any, float, float]], now_s: float, seed: int, count: int, wall_s: float = 0.0
    ) -> Sequence[Item]:
        """Questions about runs laid end to end: (truth, where its time 0 falls, how many seconds of it were seen).

        `wall_s`: Unix time of second 0 of the history, for questions that name a time by the clock (UTC).
        """

    def corpus(self) -> list[str]:
        """Texts of all forms that questions and answers take: the tokenizer is made from them."""
