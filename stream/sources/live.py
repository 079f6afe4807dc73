"""A camera that is watched for ever: it goes away and comes back, and nobody restarts anything."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncGenerator
from typing import Literal

from stream.clock import Clock
from stream.flow import Frame
from stream.sources.backoff import AWAY_S, LOCKED_S, Backoff
from stream.sources.decoded import DecodedSource
from stream.sources.errors import SourceError
from stream.sources.reader import Reader, Recipe

HEALTHY_S = 30.0  # of good pictures, before a failure counts as the first one again


class LiveSource(DecodedSource):
    """Connects, watches, and on any failure connects again: 1, 2, 5, 10, 30, 60, 60 ... s apart.

    A wrong password is a state of its own (`auth_failed`) with waits of 1 to 10 minutes, because cameras lock accounts
    that are tried too often. Ends only by `aclose`, or where the source turns out to be a recording.
    """

    def __init__(
        self,
        recipe: Recipe,
        clock: Clock,
        *,
        name: str = "",
        stall_s: float = 10.0,
        pace: Literal["own", "fast"] = "own",
        rng: random.Random | None = None,
    ) -> None:
        super().__init__(recipe, clock, name=name, stall_s=stall_s, pace=pace)
        self._away = Backoff(AWAY_S, rng=rng)
        self._locked = Backoff(LOCKED_S, early=False, rng=rng)
        self._has_been_online = False
        self._credited: Reader | None = None  # whose good pictures have been counted

    async def _watch(self) -> AsyncGenerator[Frame, None]:
        while not self._closing.is_set():
            try:
                async with contextlib.aclosing(self._connection()) as frames:
                    async for frame in frames:
                        self._note_online()
                        yield frame
                if self._closing.is_set():
                    return
                if self._is_over():
                    self._close("ended", f"{self.recipe.shown} has come to its end.")
                    return
                # A server that dies looks like a clean end; a camera has none.
                raise SourceError(f"{self.recipe.shown} closed the connection.", "lost")
            except SourceError as fault:
                wait_s = self._note_fault(fault)
            await self._rest(wait_s)

    def _is_over(self) -> bool:
        info = self.info
        return info is not None and info.duration_s is not None and self.reader is not None and self.reader.stored

    def _note_online(self) -> None:
        if self.state.state == "online":
            return
        self._locked.reset()
        self.states.change("online", reconnects=int(self._has_been_online))
        self._has_been_online = True

    def _note_fault(self, fault: SourceError) -> float:
        """Say what is wrong; how long to wait before the next attempt, s."""
        reader = self.reader
        if reader and reader is not self._credited and reader.healthy_s >= HEALTHY_S:
            self._away.reset()
            self._credited = reader  # once: where nothing can be opened, it stays the last one for ever
        wait_s = (self._locked if fault.kind == "auth" else self._away).next_s()
        reason = f"{fault} Next attempt in {wait_s:.0f} s."
        if fault.kind == "auth":
            self.states.change("auth_failed", reason)
        elif fault.kind == "stalled":
            self.states.change("stalled", reason, stalls=1)
        else:
            self.states.change("offline", reason)
        return wait_s
