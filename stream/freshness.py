"""How new the newest picture is that was looked at: what decides between an answer and `stale`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream.clock import Clock
    from stream.flow import MediaEpoch


class Freshness:
    """Media time and age of the newest frame looked at. Ages come from the monotonic clock: no PTS can fool them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._newest: tuple[float, float] | None = None  # media time, s; monotonic arrival, s
        self._remembered = asyncio.Event()

    @property
    def newest_s(self) -> float | None:
        """Media time of the newest frame looked at, or restored, s; None before the first."""
        return self._newest[0] if self._newest else None

    @property
    def remembered(self) -> bool:
        """True when there is something to answer from."""
        return self._remembered.is_set()

    def looked(self, time_s: float, arrived_s: float) -> None:
        """A frame was looked at, be it remembered or found to show nothing new."""
        self._newest = (time_s, arrived_s)

    def remember(self) -> None:
        """The memory holds something now."""
        self._remembered.set()

    def forget(self) -> None:
        """The memory is empty again."""
        self._remembered.clear()

    def restored(self, newest_s: float, epoch: MediaEpoch) -> None:
        """Go on with what a former life saw; its age can only come from the wall clock."""
        old_s = max(0.0, self._clock.wall_s() - epoch.wall(newest_s))
        self.looked(newest_s, self._clock.now_s() - old_s)
        self.remember()

    def age_s(self) -> float | None:
        """Age of the newest frame looked at, s; None before the first."""
        return None if self._newest is None else max(0.0, self._clock.now_s() - self._newest[1])

    def now_media_s(self) -> float | None:
        """The media time that is now, s; None before the first frame."""
        age_s = self.age_s()
        return None if self._newest is None or age_s is None else self._newest[0] + age_s

    async def first_frame(self, within_s: float) -> bool:
        """Wait until there is something to answer from. False: that took too long."""
        if not self.remembered:
            waits = [asyncio.ensure_future(wait) for wait in (self._remembered.wait(), self._clock.sleep(within_s))]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        return self.remembered
