"""Notices when this process did not run for a while: frozen, swapped out, stopped by hand.

What then waits in the socket may be old without saying so. Whoever was asked meanwhile should not get an answer
minutes later, about a picture of now, to a question of then.
"""

from __future__ import annotations

from stream.clock import Clock

BEAT_S = 1.0
THAW_S = 1.0  # how long after waking up the socket may still give out old messages


class Pulse:
    """`run` beats; `stamp` gives arrival times. Whichever comes first after a freeze sees that beats are missing."""

    def __init__(self, clock: Clock, frozen_s: float) -> None:
        self._clock, self._frozen_s = clock, frozen_s
        self._beat_s = clock.now_s()
        self._woke_s: float | None = None
        self.slept_s = 0.0  # how long the last freeze was

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            self.stamp()
            self._beat_s = self._clock.now_s()
            await self._clock.sleep(BEAT_S)

    def stamp(self) -> float:
        """The time now, s, monotonic."""
        now_s = self._clock.now_s()
        if now_s - self._beat_s > self._frozen_s:
            self.slept_s, self._woke_s, self._beat_s = now_s - self._beat_s, now_s, now_s
        return now_s

    def is_old(self, arrived_s: float) -> bool:
        """True for what came out of the socket right after a freeze."""
        return self._woke_s is not None and self._woke_s <= arrived_s <= self._woke_s + THAW_S

    def fresh_connection(self) -> None:
        """A new connection with a clean session holds nothing old."""
        self._woke_s = None
