"""Words to the terminal: colour and spinners where somebody looks, plain lines where a program reads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console as RichConsole


class Trouble(Exception):
    """What a user can put right, as a sentence; ends the command with `code`."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


def harmless(text: str) -> str:
    """Without control characters: a model's words must not move the cursor or colour the screen."""
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")


class Console:
    """Results go to `out`, everything else to `err`; `--quiet` keeps only results."""

    def __init__(self, *, quiet: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.quiet = quiet
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._rich: RichConsole | None = None
        if not quiet and self._out.isatty():
            from rich.console import Console as RichConsole

            self._rich = RichConsole(file=self._out, highlight=False)

    def say(self, text: str = "", style: str = "") -> None:
        """A line of the result."""
        self._line(text, style)

    def note(self, text: str = "", style: str = "dim") -> None:
        """A line beside the result; not said with `--quiet`."""
        if not self.quiet:
            self._line(text, style)

    def words(self, text: str) -> None:
        """A piece of an answer, at once and without a line end."""
        self._out.write(harmless(text))
        self._out.flush()

    def fail(self, sentence: str) -> None:
        """What went wrong."""
        self._err.write(f"longwatch: {sentence}\n")
        self._err.flush()

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns; the first is left, the others right."""
        widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
        for row in (heads, *rows):
            cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
            cells[0] = row[0].ljust(widths[0])
            self.say("  ".join(cells).rstrip(), "bold" if row is heads else "")

    @contextmanager
    def working(self, text: str) -> Iterator[Progress]:
        """Long work: a spinner whose text can change, or one plain line per change worth a line."""
        if self._rich is None:
            self.note(text)
            yield Progress(self)
            return
        with self._rich.status(text) as status:
            yield Progress(self, status.update)

    def _line(self, text: str, style: str) -> None:
        if self._rich is not None:
            self._rich.print(text, style=style or None, markup=False, soft_wrap=True)
        else:
            self._out.write(text + "\n")
            self._out.flush()


class Progress:
    """How far long work has come."""

    def __init__(self, console: Console, update: Callable[[str], None] | None = None) -> None:
        self._console = console
        self._update = update
        self._mark: object = None

    def now(self, text: str, mark: object = None) -> None:
        """Say it where it can be overwritten; plain consoles get a line when `mark` changes."""
        if self._update is not None:
            self._update(text)
        elif mark != self._mark:
            self._mark = mark
            self._console.note(text)
