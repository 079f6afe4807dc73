"""Work for the journal's thread, and whom to tell how it went."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any


class Job:
    """Made on the event loop, done and told by the thread."""

    def __init__(self, work: Callable[[sqlite3.Connection], Any]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()

    def tell(self, result: object, error: Exception | None) -> None:
        """How it went; from the thread."""
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is left to hear
            self.loop.call_soon_threadsafe(self._settle, result, error)

    def unheard(self) -> None:
        """Nobody waits for this one: that it failed is no error of the loop's."""
        self.future.add_done_callback(lambda future: future.cancelled() or future.exception())

    def _settle(self, result: object, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)
