"""How far it has come: one line that is rewritten where somebody looks, a line per stream otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

WIDTH = 24  # of the bar, letters


class Progress:
    """Streams done, and when the rest will be at this pace."""

    def __init__(self, say: Callable[[str], None], terminal: TextIO) -> None:
        """`say` takes lines; `terminal` is written to instead if somebody looks at it."""
        self._say, self._terminal = say, terminal if terminal.isatty() else None
        self._spent: list[float] = []
        self._line, self._left = "", 0

    def begin(self, number: int, count: int, name: str, asks: int) -> None:
        """A stream is going to be watched."""
        self._left = count - number
        filled = WIDTH * (number - 1) // count
        bar = "#" * filled + "." * (WIDTH - filled)
        self._line = f"[{bar}] {number} of {count}: {name}, {asks} questions"
        if self._terminal is not None:
            self._terminal.write(f"\r\x1b[K{self._line}{self._rest()}")
            self._terminal.flush()

    def known(self, number: int, count: int, name: str) -> None:
        """A stream's result is there from before."""
        if self._terminal is None:
            self._say(f"{number} of {count}: {name}, known")

    def done(self, seconds: float) -> None:
        """It has been watched."""
        self._spent.append(seconds)
        if self._terminal is None:
            self._say(f"{self._line}, {seconds:.0f} s{self._rest()}")
        elif not self._left:
            self._terminal.write("\r\x1b[K")

    def _rest(self) -> str:
        if not self._spent or not self._left:
            return ""
        left = self._left * sum(self._spent) / len(self._spent)
        return f", about {left / 60:.0f} min left" if left >= 60 else f", about {left:.0f} s left"
