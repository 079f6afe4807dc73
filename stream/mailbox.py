"""A bounded queue between two tasks whose policy is chosen once: wait for room, or let the oldest go."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Overflow = Literal["wait", "drop_oldest"]


class Closed(Exception):
    """The mailbox is closed: nothing can be put in, or nothing is left to get."""


class Mailbox(Generic[T]):
    """First in, first out, at most `capacity` items; for tasks of one event loop.

    With `drop_oldest`, `put` never waits: the newest wins, and `dropped` counts what it pushed out.
    """

    def __init__(self, capacity: int, overflow: Overflow = "drop_oldest") -> None:
        if capacity < 1:
            raise ValueError(f"A mailbox needs room for at least one item, not {capacity}.")
        self.capacity = capacity
        self.overflow: Overflow = overflow
        self.dropped = 0
        self._items: deque[T] = deque()
        self._closed = False
        self._filled = asyncio.Event()  # something to get, or closed
        self._room = asyncio.Event()  # somewhere to put, or closed

    def __len__(self) -> int:
        return len(self._items)

    @property
    def closed(self) -> bool:
        """True once `close` was called; what is inside can still be read."""
        return self._closed

    async def put(self, item: T) -> None:
        """Add an item. Raises `Closed` when nobody will read it any more."""
        while self.overflow == "wait" and len(self._items) >= self.capacity and not self._closed:
            self._room.clear()
            await self._room.wait()
        self.offer(item)

    def offer(self, item: T) -> bool:
        """Add an item without waiting. False when a waiting mailbox is full and the item was not taken."""
        if self._closed:
            raise Closed("The mailbox is closed.")
        if len(self._items) >= self.capacity:
            if self.overflow == "wait":
                return False
            self._items.popleft()
            self.dropped += 1
        self._items.append(item)
        self._filled.set()
        return True

    async def get(self) -> T:
        """The oldest item; waits for one. Raises `Closed` when there is none and none will come."""
        while not self._items:
            if self._closed:
                raise Closed("The mailbox is closed and empty.")
            self._filled.clear()
            await self._filled.wait()
        item = self._items.popleft()
        self._room.set()
        return item

    def close(self) -> None:
        """Take nothing more; readers get what is left and then `Closed`. Safe to call twice."""
        self._closed = True
        self._filled.set()
        self._room.set()
