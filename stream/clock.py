"""The two clocks of the house behind one small door, so that tests can wind time by hand.

`now_s` is monotonic and says how late we are; `wall_s` is Unix time and is only for people. Code that waits takes a
`Clock` and never calls `time` or `asyncio.sleep` itself.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time


class Clock:
    """The machine's own clocks. `now_s` and `wall_s` may be called from any thread."""

    def now_s(self) -> float:
        """Monotonic time, s; only differences mean something."""
        return time.monotonic()

    def wall_s(self) -> float:
        """Unix time, s; may jump when somebody sets the clock."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait this long (s); a negative time only lets others run."""
        await asyncio.sleep(max(0.0, seconds))


class HandWoundClock(Clock):
    """A clock that stands still until `wind` moves it; sleepers wake in the order of their time.

    `wind` belongs to the thread of the event loop whose tasks sleep here; the readings may be taken from any thread.
    """

    def __init__(self, now_s: float = 1000.0, wall_s: float = 1_700_000_000.0) -> None:
        self._now_s = now_s
        self._wall_offset_s = wall_s - now_s
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()  # equal times wake first come, first served

    @property
    def sleepers(self) -> int:
        """How many tasks wait for time to pass."""
        return sum(not future.done() for _, _, future in self._sleepers)

    def now_s(self) -> float:
        return self._now_s

    def wall_s(self) -> float:
        return self._now_s + self._wall_offset_s

    def set_wall(self, wall_s: float) -> None:
        """Step the wall clock alone, as a person or a time server may do; monotonic time does not notice."""
        self._wall_offset_s = wall_s - self._now_s

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_s + seconds, next(self._order), future))
        await future

    def wind(self, seconds: float) -> None:
        """Move time forward (s) and wake whoever is due; they run when the caller next awaits."""
        if seconds < 0:
            raise ValueError("A monotonic clock cannot be wound backwards.")
        self._now_s += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now_s:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
