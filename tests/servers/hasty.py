"""A clock for tests of things that wait: real time, with waits cut short and remembered."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

from stream.clock import Clock


class HastyClock(Clock):
    """`sleep` takes a hundredth of the time asked for; `skip` moves `now_s` forward by hand.

    Threads that read a camera live in real time, so a clock that stands still would not do for them.
    """

    def __init__(self, haste: float = 100.0) -> None:
        self.haste = haste
        self.naps_s: list[float] = []  # what was asked for
        self._ahead_s = 0.0

    def now_s(self) -> float:
        return time.monotonic() + self._ahead_s

    def skip(self, seconds: float) -> None:
        """So much time has passed."""
        self._ahead_s += seconds

    async def sleep(self, seconds: float) -> None:
        self.naps_s.append(seconds)
        await asyncio.sleep(max(0.0, seconds / self.haste))


async def until(what: Callable[[], object], limit_s: float = 60.0) -> None:
    """Wait for it to become true; `TimeoutError` when it does not."""
    async with asyncio.timeout(limit_s):
        while not what():  # noqa: ASYNC110 (what threads and libraries do announces itself in no event)
            await asyncio.sleep(0.005)


def threads() -> int:
    """Threads that run now."""
    return threading.active_count()


def descriptors() -> int:
    """Files and sockets open now."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
