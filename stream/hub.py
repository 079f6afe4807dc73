"""What happens, told to everyone who listens: pages, MQTT, tests. Telling never waits for a listener."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from heapq import merge
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

    def __init__(self, capacity: int, wants: Callable[[T], bool] | None = None) -> None:
        """`wants`: what the listener does not want takes no place in its queue."""
        self.dropped = 0
        self._wants = wants
        self._items: deque[T] = deque(maxlen=capacity)
        self._news = asyncio.Event()
        self._closed = False

    def offer(self, item: T) -> None:
        """Hand over an item; never waits."""
        if self._wants is not None and not self._wants(item):
            return
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
        self._keep(item)
        for subscription in self._subscriptions:
            subscription.offer(item)

    def _keep(self, item: T) -> None:
        self._recent.append(item)

    def recent(self) -> tuple[T, ...]:
        """The last items, oldest first."""
        return tuple(self._recent)

    @asynccontextmanager
    async def subscribe(
        self,
        capacity: int | None = None,
        replay: Callable[[T], bool] | None = None,
        wants: Callable[[T], bool] | None = None,
    ) -> AsyncIterator[Subscription[T]]:
        """Listen while the block is open; `replay` picks recent items to hear first, `wants` what to hear at all.

        Raises `TooManyListeners`.
        """
        if len(self._subscriptions) >= self.limit:
            raise TooManyListeners(f"{self.limit} listeners are connected already; close one and try again.")
        subscription: Subscription[T] = Subscription(capacity or self.capacity, wants)
        for item in self.recent():
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


def passes(event: Event) -> bool:
    """Whether the next second says the same again: such events are told, but they are no past to catch up with."""
    return event.kind == "tick" or (event.kind == "memory" and event.data.get("type") == "held")


class EventHub(Hub[Event]):
    """The hub of the house: numbers what happens, and keeps the past of each kind by itself.

    Eight cameras tell two events a second that say little; an answer must be there for who was away for an hour.
    """

    def __init__(self, capacity: int = 512, listeners: int = 256, first_id: int = 0) -> None:
        """`capacity`: of each kind. `first_id`: milliseconds since 1970 at the start keep ids rising over restarts."""
        super().__init__(capacity, listeners)
        self.last_id = first_id
        self._first_id = first_id
        self._past: dict[Kind, deque[Event]] = {}
        self._gone: dict[Kind, int] = {}  # the newest id that is not kept any more

    def emit(self, kind: Kind, camera: str, wall_s: float, data: Mapping[str, JSON]) -> Event:
        """Number an event and publish it."""
        self.last_id += 1
        event = Event(self.last_id, kind, camera, wall_s, data)
        self.publish(event)
        return event

    def _keep(self, item: Event) -> None:
        if passes(item):
            return
        past = self._past.setdefault(item.kind, deque(maxlen=self.capacity))
        if len(past) == self.capacity:
            self._gone[item.kind] = past[0].id
        past.append(item)

    def recent(self) -> tuple[Event, ...]:
        """What is kept of all kinds, oldest first."""
        return tuple(merge(*self._past.values(), key=lambda event: event.id))

    def after(self, event_id: int) -> Callable[[Event], bool]:
        """For `subscribe(replay=…)`: what came after this id. An id from the future (another life) replays all."""
        first = event_id if event_id <= self.last_id else 0
        return lambda event: event.id > first

    def gap_after(self, event_id: int, kinds: Collection[Kind]) -> bool:
        """Whether something of these kinds came after this id and is not kept any more, in this life or the last."""
        if event_id > self.last_id:
            return False
        return event_id < self._first_id or any(self._gone.get(kind, 0) > event_id for kind in kinds)
