"""What all sources read through libav have in common: one connection at a time, watched by the clock of its frames.

The thread that decodes may hang in a read, a name look-up or a driver. The loop never waits for it: when the newest
picture is too old, the thread is abandoned and the next one begins; how many may hang at once is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Literal, TypeVar

from stream.clock import Clock
from stream.flow import CameraState, Frame
from stream.sources.errors import SourceError
from stream.sources.handover import Ended
from stream.sources.media_clock import Moment
from stream.sources.reader import POLL_S, Reader, Recipe, StreamInfo
from stream.sources.states import Counts, StateKeeper

T = TypeVar("T")
GRACE_S = 1.0  # the thread's own time-out speaks first: it knows more
KEY_FRAME_S = 75.0  # while packets come, how long the first whole picture may take; some cameras send one a minute
HANGING = 4  # abandoned threads at once
LEAVE_S = 2 * POLL_S  # at the end, for the threads to put away what they opened
BEHIND_S = 2.0  # a stored stream that is later than this goes on from here instead of rushing


async def within(clock: Clock, seconds: float, what: Awaitable[T]) -> T:
    """The result of an awaitable, or `TimeoutError` when the clock says that time is up."""
    task, timer = asyncio.ensure_future(what), asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise TimeoutError
    finally:
        task.cancel()
        timer.cancel()


class DecodedSource(ABC):
    """A `FrameSource` on top of `Reader`. Subclasses say what happens when a connection ends."""

    def __init__(
        self,
        recipe: Recipe,
        clock: Clock,
        *,
        name: str = "",
        stall_s: float = 10.0,
        pace: Literal["own", "fast"] = "own",
    ) -> None:
        self.recipe = recipe
        self.states = StateKeeper(name or recipe.shown, clock)
        self.reader: Reader | None = None  # the connection now, or the last one
        self._clock = clock
        self._stall_s = stall_s
        self._pace = pace
        self._closing = asyncio.Event()
        self._past = Counts()
        self._hanging: list[Reader] = []
        self._last: Moment | None = None
        self._index = 0

    @property
    def state(self) -> CameraState:
        """How the camera is doing now."""
        return self.states.now

    def listen(self, listener: Callable[[CameraState], None]) -> Callable[[], None]:
        """Call this at every change of state; the returned function stops that."""
        return self.states.listen(listener)

    @property
    def info(self) -> StreamInfo | None:
        """What the stream said about itself when it was last opened."""
        return self.reader.info if self.reader else None

    @property
    def counts(self) -> Counts:
        """Pictures decoded, delivered, dropped, damaged, over all connections."""
        return self._past + self.reader.counts if self.reader else self._past

    def __aiter__(self) -> AsyncIterator[Frame]:
        return self._watch()

    @abstractmethod
    def _watch(self) -> AsyncGenerator[Frame, None]:
        """Frames until the source is over; what a lost connection means is the subclass's own."""

    def _check(self) -> None:  # noqa: B027  a subclass may have nothing to check
        """Raise `SourceError` where it is plain that opening cannot succeed; no I/O that may block."""

    async def aclose(self) -> None:
        """Stop at once; waits a moment for the thread to put away what it opened."""
        if not self._closing.is_set():
            self._close("ended", "Stopped.")
        if self.reader:
            self.reader.abandon()
        # Once for all of them together: the station has a few seconds for all its cameras.
        readers = {reader for reader in (*self._hanging, self.reader) if reader is not None and reader.alive}
        ends = [asyncio.ensure_future(reader.frames.finished()) for reader in readers]
        if ends:
            _, late = await asyncio.wait(ends, timeout=LEAVE_S)
            for end in late:
                end.cancel()

    def _close(self, state: Literal["ended", "offline"], reason: str) -> None:
        """The last state: nothing more will come, for this reason."""
        self._closing.set()
        self.states.change(state, reason)

    async def _connection(self) -> AsyncGenerator[Frame, None]:
        """The frames of one connection. Ends where the stream does; raises `SourceError` when it fails."""
        self._check()
        self._hanging = [reader for reader in self._hanging if reader.alive]
        if len(self._hanging) >= HANGING:
            raise SourceError(f"{self.recipe.shown}: {HANGING} earlier attempts still hang in the system.", "timeout")
        reader = self._begin()
        clock_s, media_s = 0.0, None
        try:
            while True:
                frame = await self._next(reader)
                if reader.stored and self._pace == "own":
                    late_s = 0.0 if media_s is None else self._clock.now_s() - clock_s - (frame.time_s - media_s)
                    if media_s is None or late_s > BEHIND_S:
                        clock_s, media_s = self._clock.now_s(), frame.time_s
                    elif late_s < 0:
                        await self._rest(-late_s)
                    frame = replace(frame, arrived_s=self._clock.now_s())
                if self._closing.is_set():
                    return
                self._last = Moment(frame.time_s, frame.arrived_s)
                yield frame
        except Ended:
            return
        finally:
            reader.abandon()
            self._hanging.append(reader)
            self._index = reader.index

    def _begin(self) -> Reader:
        if self.reader:
            self._past += self.reader.counts
        self.reader = Reader(self.recipe, self._clock, self._last, self._index)
        self.reader.start()
        return self.reader

    async def _next(self, reader: Reader) -> Frame:
        """The next frame; `SourceError` when the newest picture has grown too old."""
        asked_s = self._clock.now_s()
        while True:
            left_s = self._deadline_s(reader, asked_s) - self._clock.now_s()
            if left_s <= 0:
                raise self._too_late(reader)
            try:
                return await within(self._clock, left_s, reader.frames.get())
            except TimeoutError:
                continue  # the frame clock may have moved on meanwhile: pictures come, none was due

    def _deadline_s(self, reader: Reader, asked_s: float) -> float:
        if reader.opened_s is None:
            return reader.started_s + self.recipe.open_s + GRACE_S
        if reader.picture_s is None:
            heard_s = max(reader.opened_s, reader.packet_s or reader.opened_s)
            return min(heard_s + self._stall_s, reader.opened_s + max(KEY_FRAME_S, self._stall_s))
        # From the asking, too: a thread that waited for us has read nothing meanwhile.
        return max(reader.picture_s, asked_s) + self._stall_s

    def _too_late(self, reader: Reader) -> SourceError:
        shown = self.recipe.shown
        if reader.opened_s is None:
            return SourceError(f"{shown} did not answer within {self.recipe.open_s:g} s.", "timeout")
        if reader.picture_s is None and reader.packet_s is not None:
            return SourceError(f"{shown} sends data but no whole picture.", "stalled")
        return SourceError(f"{shown} has sent no picture for {self._stall_s:g} s.", "stalled")

    async def _rest(self, seconds: float) -> None:
        """Wait, unless the source is closed meanwhile."""
        with contextlib.suppress(TimeoutError):
            await within(self._clock, seconds, self._closing.wait())
