"""The one door to the accelerator: a single thread that takes one turn at a time.

Because memory is written and read only here, there is no lock in the house. Seeing goes before asking, for a frame not
seen is lost while a word can wait; but after `sees_in_a_row` turns of seeing a waiting asker has its turn, so that
neither can blind the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Literal, TypeVar, TypeVarTuple, cast

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Priority = Literal["see", "ask"]
SEE: Priority = "see"
ASK: Priority = "ask"
_END = object()  # StopIteration cannot cross a future


class DeviceClosed(RuntimeError):
    """The device takes no more turns; what waited will not run."""


class _Turn:
    """One call waiting for the thread."""

    def __init__(self, work: Callable[[], Any], orphan: Callable[[Any], object] | None = None) -> None:
        """`orphan`: on the loop, gets a result that nobody waits for any more."""
        self._work = work
        self._orphan = orphan
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def take(self) -> None:
        """On the device thread. Whatever happens becomes the future's."""
        try:
            result = self._work()
        except StopIteration as error:
            stray = RuntimeError("A turn raised StopIteration.")
            stray.__cause__ = error
            self._tell(self._fail, stray)
        except BaseException as error:
            self._tell(self._fail, error)
        else:
            self._tell(self._succeed, result)

    def refuse(self, error: Exception) -> None:
        """From any thread: it will not run."""
        self._tell(self._fail, error)

    def abandon(self) -> None:
        """On the loop: the caller has gone. A result that is there already is an orphan now."""
        if not self.future.done():
            self.future.cancel()
        elif not self.future.cancelled() and self.future.exception() is None:
            self._lost(self.future.result())

    def _tell(self, say: Callable[[Any], None], word: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is left to hear
            self._loop.call_soon_threadsafe(say, word)

    def _succeed(self, result: object) -> None:
        if self.future.done():
            self._lost(result)
        else:
            self.future.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def _lost(self, result: object) -> None:
        if self._orphan is not None:
            self._orphan(result)


class Device:
    """Exactly one worker thread behind two bounded lanes, `see` and `ask`; for one event loop."""

    def __init__(self, capacity: int = 256, sees_in_a_row: int = 4) -> None:
        """`capacity`: turns that may wait in each lane; whoever comes later waits before the lane."""
        self._lanes: dict[Priority, deque[_Turn]] = {SEE: deque(), ASK: deque()}
        self._room = {lane: asyncio.Semaphore(capacity) for lane in self._lanes}
        self._sees_in_a_row = sees_in_a_row
        self._sees = 0  # since the last turn of asking
        self._change = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        self.turns = 0

    @property
    def depth(self) -> int:
        """Turns that wait now."""
        return sum(len(lane) for lane in self._lanes.values())

    async def run(
        self,
        work: Callable[[*Ts], T],
        *args: *Ts,
        priority: Priority = SEE,
        undo: Callable[[T], object] | None = None,
    ) -> T:
        """One turn: `work(*args)` on the device thread. Its exception is raised here.

        When the caller is cancelled, a turn that has not begun never runs; the result of one that has is given to
        `undo` on the device thread, so that nothing it made is left behind.
        """
        async with self._room[priority]:
            orphan = (
                None if undo is None else lambda result: self._queue(_Turn(lambda: undo(result)), priority, quiet=True)
            )
            turn = _Turn(lambda: work(*args), orphan)
            self._queue(turn, priority)
            try:
                return cast("T", await turn.future)
            except asyncio.CancelledError:
                self._withdraw(turn)
                turn.abandon()
                raise

    async def iterate(
        self, make_iterator: Callable[[], Iterator[T]], *, priority: Priority = ASK
    ) -> AsyncGenerator[T, None]:
        """One turn per item. Leave it with `aclosing`: then the iterator is closed on the device thread."""
        made: list[Iterator[T]] = []

        def step() -> object:
            if not made:
                made.append(make_iterator())
            return next(made[0], _END)

        def finish() -> None:
            for iterator in made:
                close = getattr(iterator, "close", None)
                if close is not None:
                    close()

        try:
            while (item := await self.run(step, priority=priority)) is not _END:
                yield cast("T", item)
        finally:
            await self.finish(finish)

    async def finish(self, work: Callable[[], object]) -> None:
        """One turn of cleaning up: a cancel can end our waiting, not the turn. Nothing on a closed device."""
        turn = _Turn(work)
        if self._queue(turn, ASK, quiet=True):  # before anything is awaited
            with contextlib.suppress(DeviceClosed):
                await asyncio.shield(turn.future)

    def _queue(self, turn: _Turn, priority: Priority, *, quiet: bool = False) -> bool:
        with self._change:
            if self._closed:
                if quiet:
                    return False
                raise DeviceClosed("The device is closed; Longwatch is shutting down.")
            if self._thread is None:
                # A daemon: a turn that hangs in a driver must not keep the process from ending.
                self._thread = threading.Thread(target=self._work, name="device", daemon=True)
                self._thread.start()
            self._lanes[priority].append(turn)
            self._change.notify()
        return True

    def _withdraw(self, turn: _Turn) -> None:
        """A turn that has not begun never runs."""
        with self._change:
            for lane in self._lanes.values():
                if turn in lane:
                    lane.remove(turn)

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._closed and not self.depth:
                    self._change.wait()
                if self._closed:
                    return
                turn = self._next()
            self.turns += 1
            turn.take()
            del turn  # its arguments (frames, tokens) must not live until the next turn comes

    def _next(self) -> _Turn:
        see, ask = self._lanes[SEE], self._lanes[ASK]
        if see and not (ask and self._sees >= self._sees_in_a_row):
            self._sees = self._sees + 1 if ask else 0
            return see.popleft()
        self._sees = 0
        return ask.popleft()

    async def close(self, wait_s: float = 2.0) -> bool:
        """Refuse what waits and let the running turn end, at most `wait_s`. False: it did not, and is left behind."""
        with self._change:
            self._closed = True
            waiting = [turn for lane in self._lanes.values() for turn in lane]
            for lane in self._lanes.values():
                lane.clear()
            self._change.notify_all()
        for turn in waiting:
            turn.refuse(DeviceClosed("The device is closed; Longwatch is shutting down."))
        thread = self._thread
        if thread is None:
            return True
        await asyncio.to_thread(thread.join, wait_s)
        return not thread.is_alive()
