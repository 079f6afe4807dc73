"""What the recipe asks of whoever teaches: pictures with labels, runs with truth, questions with answers.

The simulator fulfils these protocols; a person with recorded and labelled video can write another teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np


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


class Teacher(Protocol):
    """Where lessons come from. Everything is decided by the seed."""

    kinds: Sequence[str]  # names of objects; label 0 is none of them
    colours: Sequence[str]

    def pictures(self, count: int, grid: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
        """(B, H, W, 3) uint8 and (B, rows, columns, 2) int64: kind and colour per cell, 0 for none, -1 for unclear."""

    def run(self, seed: int, seconds: float, fps: float) -> Run:
        """A stretch of a scene."""

    def ask(self, runs: Sequence[tuple[Any, float, float]], now_s: float, seed: int, count: int) -> Sequence[Item]:
        """Questions about runs laid end to end: (truth, where its time 0 falls, how many seconds of it were seen)."""

    def corpus(self) -> list[str]:
        """Texts of all forms that questions and answers take: the tokenizer is made from them."""
