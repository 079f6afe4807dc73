"""How far it has come: one line that is rewritten where somebody looks, a line per stream otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

WIDTH = 24  # of the bar, letters


class Progress:
    """Streams done, and when the rest will be at this pace."""

    def __init__(self, say: Callable[[str], None], terminal: TextIO, at_once: int = 1) -> None:
        """`say` takes lines; `terminal` is written to instead if somebody looks at it. So many are watched at once."""
        self._say, self._terminal, self._at_once = say, terminal if terminal.isatty() else None, at_once
        self._spent: list[float] = []
        self._lines: dict[str, str] = {}  # of what is being watched, in the order in which it was begun
        self._left = 0

    def begin(self, number: int, count: int, name: str, asks: int) -> None:
        """A stream is going to be watched."""
        self._left = count - number
        filled = WIDTH * (number - 1) // count
        bar = "#" * filled + "." * (WIDTH - filled)
        self._lines[name] = f"[{bar}] {number} of {count}: {name}, {asks} questions"
        if self._terminal is not None:
            self._terminal.write(f"\r\x1b[K{self._lines[name]}{self._rest()}")
            self._terminal.flush()

    def known(self, number: int, count: int, name: str) -> None:
        """A stream's result is there from before."""
        if self._terminal is None:
            self._say(f"{number} of {count}: {name}, known")

    def done(self, seconds: float, name: str = "") -> None:
        """It has been watched; without a name: the one begun last."""
        self._spent.append(seconds)
        line = self._lines.pop(name or next(reversed(self._lines)))
        if self._terminal is None:
            self._say(f"{line}, {seconds:.0f} s{self._rest()}")
        elif not self._left and not self._lines:
            self._terminal.write("\r\x1b[K")

    def _rest(self) -> str:
        left = self._left + len(self._lines)
        if not self._spent or not left:
            return ""
        left_s = left * sum(self._spent) / len(self._spent) / self._at_once
        return f", about {left_s / 60:.0f} min left" if left_s >= 60 else f", about {left_s:.0f} s left"
