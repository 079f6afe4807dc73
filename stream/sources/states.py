"""What a source says about itself, and whom it tells."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Literal

from stream.clock import Clock
from stream.flow import CameraState
from stream.redact import redact

log = logging.getLogger(__name__)

State = Literal["starting", "online", "stalled", "offline", "auth_failed", "ended", "waiting"]


@dataclass(frozen=True, slots=True)
class Counts:
    """What a source has done with its pictures since it was made."""

    decoded: int = 0  # pictures that came out of the decoder
    delivered: int = 0  # frames sampled from them and converted
    dropped: int = 0  # frames that a newer one replaced before anybody took them
    skipped: int = 0  # packets left undecoded to catch up with a camera that is faster than we are
    corrupt: int = 0  # pictures the decoder marked as damaged
    errors: int = 0  # packets the decoder refused
    jumps: int = 0  # breaks in the stream's own clock

    def __add__(self, other: Counts) -> Counts:
        return Counts(*map(sum, zip(astuple(self), astuple(other), strict=True)))


class StateKeeper:
    """Holds a source's `CameraState` and tells listeners of every change, in order, on the event loop."""

    def __init__(self, name: str, clock: Clock, state: State = "starting", reason: str = "") -> None:
        self._name = name
        self._clock = clock
        self._listeners: list[Callable[[CameraState], None]] = []
        self._changed = asyncio.Event()
        self.now = CameraState(state, clock.wall_s(), redact(reason))

    def listen(self, listener: Callable[[CameraState], None]) -> Callable[[], None]:
        """Call this at every change, from now on; the returned function stops that."""
        self._listeners.append(listener)

        def forget() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return forget

    async def after(self, known: CameraState) -> CameraState:
        """The state, as soon as it is another one than `known`; changes in between may be passed over."""
        while self.now is known:
            await self._changed.wait()
        return self.now

    def change(self, state: State, reason: str = "", *, reconnects: int = 0, stalls: int = 0) -> None:
        """Say a new state with its reason, a sentence; the two counts are added. The same again is no change."""
        before = self.now
        reason = redact(reason)
        if (before.state, before.reason) == (state, reason) and not reconnects and not stalls:
            return
        since_s = before.since_wall_s if before.state == state else self._clock.wall_s()
        self.now = CameraState(state, since_s, reason, before.reconnects + reconnects, before.stalls + stalls)
        # Once per change and not per attempt: a camera away for a week is one line, not ten thousand.
        level = logging.INFO if before.state != state else logging.DEBUG
        log.log(level, "%s: %s", self._name, f"{state}. {reason}".rstrip())
        for listener in tuple(self._listeners):
            listener(self.now)
        self._changed.set()
        self._changed = asyncio.Event()
