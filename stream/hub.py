"""What happens, told to everyone who listens: pages, MQTT, tests. Telling never waits for a listener."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
# What JSON can say; loose on purpose, for a nested exact alias costs every caller a cast.
JSON = object
Kind = Literal["camera_state", "question", "answer", "tick", "memory"]


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One thing that happened. Ids rise by at least one and go on rising after a restart."""

    id: int
    kind: Kind
    camera: str
    wall_s: float  # Unix time, s
    data: Mapping[str, JSON]


class TooManyListeners(RuntimeError):
    """Enough listen already: nobody is heard worse because one more came."""


class Subscription(Generic[T]):
    """One listener's own bounded queue. When it is full the oldest item goes, and `dropped` says how many went."""

    def __init__(self, capacity: int) -> None:
        self.dropped = 0
        self._items: deque[T] = deque(maxlen=capacity)
        self._news = asyncio.Event()
        self._closed = False

    def offer(self, item: T) -> None:
        """Hand over an item; never waits."""
        if len(self._items) == self._items.maxlen:
            self.dropped += 1
        self._items.append(item)
        self._news.set()

    def close(self) -> None:
        """What is queued can still be read; then iteration ends."""
        self._closed = True
        self._news.set()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._items.popleft()


class Hub(Generic[T]):
    """Publishes to any number of listeners. Runs on the event loop; `publish` returns at once.

    The last `capacity` items are kept, so that a listener that was away can ask for what it missed.
    """

    def __init__(self, capacity: int = 256, listeners: int = 256) -> None:
        self.capacity = capacity
        self.dropped = 0  # items lost by listeners that have left; see `dropped_total`
        self.limit = listeners
        self._recent: deque[T] = deque(maxlen=capacity)
        self._subscriptions: set[Subscription[T]] = set()
        self._closed = False

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._subscriptions)

    @property
    def dropped_total(self) -> int:
        """Items that slow listeners lost, ever."""
        return self.dropped + sum(subscription.dropped for subscription in self._subscriptions)

    def publish(self, item: T) -> None:
        """Tell everyone; whoever is too slow loses its oldest item."""
        self._recent.append(item)
        for subscription in self._subscriptions:
            subscription.offer(item)

    def recent(self) -> tuple[T, ...]:
        """The last items, oldest first."""
        return tuple(self._recent)

    @asynccontextmanager
    async def subscribe(
        self, capacity: int | None = None, replay: Callable[[T], bool] | None = None
    ) -> AsyncIterator[Subscription[T]]:
        """Listen while the block is open; `replay` picks recent items to hear first.

        Raises `TooManyListeners`.
        """
        if len(self._subscriptions) >= self.limit:
            raise TooManyListeners(f"{self.limit} listeners are connected already; close one and try again.")
        subscription: Subscription[T] = Subscription(capacity or self.capacity)
        for item in self._recent:
            if replay is not None and replay(item):
                subscription.offer(item)
        if self._closed:
            subscription.close()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            subscription.close()
            self.dropped += subscription.dropped

    def close(self) -> None:
        """End every listener's iteration once it has read what is queued."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()


class EventHub(Hub[Event]):
    """The hub of the house: numbers what happens."""

    def __init__(self, capacity: int = 1024, listeners: int = 256, first_id: int = 0) -> None:
        """`first_id`: milliseconds since 1970 at the start keep ids rising over restarts, for SSE's Last-Event-ID."""
        super().__init__(capacity, listeners)
        self.last_id = first_id

    def emit(self, kind: Kind, camera: str, wall_s: float, data: Mapping[str, JSON]) -> Event:
        """Number an event and publish it."""
        self.last_id += 1
        event = Event(self.last_id, kind, camera, wall_s, data)
        self.publish(event)
        return event

    def after(self, event_id: int) -> Callable[[Event], bool]:
        """For `subscribe(replay=…)`: what came after this id. An id from the future (another life) replays all."""
        first = event_id if event_id <= self.last_id else 0
        return lambda event: event.id > first
