"""From a reading thread to the event loop: a few items, the newest wins or the thread waits."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Generic, TypeVar

from stream.mailbox import Overflow

T = TypeVar("T")


class Ended(Exception):
    """The thread has said its last word, and it was not an error."""


class Handover(Generic[T]):
    """At most `capacity` items between one thread (`put`, `finish`) and one task (`get`, `abandon`)."""

    def __init__(self, capacity: int, overflow: Overflow) -> None:
        self.capacity = capacity
        self.dropped = 0
        self.overflow: Overflow = overflow
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._finished = False
        self._abandoned = False
        self._error: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._over = asyncio.Event()

    def put(self, item: T) -> bool:
        """Hand an item over. False when nobody wants it any more. For the thread."""
        with self._changed:
            while self.overflow == "wait" and len(self._items) >= self.capacity and not self._abandoned:
                self._changed.wait()
            if self._abandoned:
                return False
            if len(self._items) >= self.capacity:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
        self._tell()
        return True

    def finish(self, error: BaseException | None = None) -> None:
        """Nothing more will come, for this reason. For the thread."""
        with self._changed:
            self._finished, self._error = True, error
        self._tell()
        self._tell(self._over)

    def _tell(self, event: asyncio.Event | None = None) -> None:
        try:
            self._loop.call_soon_threadsafe((event or self._news).set)
        except RuntimeError:  # the loop is closed: the program is ending and nobody listens
            self.abandon()

    async def get(self) -> T:
        """The oldest item. Raises `Ended`, or what the thread failed with, once all items are out."""
        while True:
            self._news.clear()  # before looking, or a word said in between would be lost
            with self._changed:
                if self._items:
                    item = self._items.popleft()
                    self._changed.notify_all()
                    return item
                if self._finished or self._abandoned:
                    raise self._error or Ended
            await self._news.wait()

    async def finished(self) -> None:
        """Wait until the thread has said its last word; it holds nothing open any more then."""
        await self._over.wait()

    def abandon(self) -> None:
        """Turn away: the thread's next `put` is refused, a waiting `get` ends. Safe to call twice, from any thread."""
        with self._changed:
            if self._abandoned:
                return
            self._abandoned = True
            self._items.clear()
            self._changed.notify_all()
        self._tell()
