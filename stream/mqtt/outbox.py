"""What waits to be published. Bounded in messages and bytes, with a policy and a counter.

What a message is worth decides what becomes of it: an answer is kept while the broker is away (`late`), oldest lost
first; a state is not, for it is published anew when the broker is back (`now`); the words of an unfinished answer are
of `little` worth: never kept, and never pushing an answer out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

SMALL_BYTES = 64 * 1024  # a larger message that went down with its connection may be why
MOST_TRIES = 3  # that often with its connection: it may be why, small as it is; others go first from then on


@dataclass(slots=True, eq=False)
class Publication:
    """One message on its way out."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    correlation: bytes | None = None  # MQTT 5 Correlation Data, echoed byte for byte
    media_type: str = "application/json"
    worth: Literal["late", "now", "little"] = "late"
    slim: Callable[[], bytes] | None = None  # the same in fewer bytes, for a broker that does not take it as it is
    on_done: Callable[[], None] | None = None  # called when the broker has acknowledged it
    tries: int = field(default=0, init=False)
    serial: int = field(default=0, init=False)

    @property
    def bytes(self) -> int:
        """What it costs to keep."""
        return len(self.payload) + len(self.topic) + len(self.correlation or b"") + 64


class Outbox:
    """First in, first out; `put` never waits."""

    def __init__(self, capacity: int, most_bytes: int, on_drop: Callable[[int], None] | None = None) -> None:
        """Keep at most this many messages and bytes; `on_drop` hears how many more were lost."""
        self.connected = False
        self.dropped = 0
        self._on_drop = on_drop
        self._capacity, self._most_bytes = capacity, most_bytes
        self._bytes = 0
        self._serial = 0
        self._waiting: deque[Publication] = deque()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._out = 0  # taken and not yet done

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, publication: Publication) -> None:
        """Queue it, or count it as dropped."""
        crowded = publication.worth == "little" and len(self._waiting) >= self._capacity // 2
        if crowded or (publication.worth != "late" and not self.connected):
            self._drop()
            return
        self._serial += 1
        publication.serial = self._serial
        self._waiting.append(publication)
        self._bytes += publication.bytes
        self._shrink()
        self._wake()

    async def take(self) -> Publication:
        """The oldest; waits for one. Every one taken is given to `done` or `put_back`."""
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        publication = self._waiting.popleft()
        self._bytes -= publication.bytes
        self._out += 1
        publication.tries += 1
        return publication

    def done(self, publication: Publication, *, arrived: bool = True) -> None:
        """One that was taken has arrived, or is given up."""
        self._out -= 1
        if arrived:
            if publication.on_done is not None:
                publication.on_done()
        elif _slimmed(publication):
            self._again(publication)
        else:
            self._drop()
        self._settle()

    def put_back(self, publication: Publication) -> None:
        """One that was taken did not arrive: first in line again, if it is `late`.

        What was large may have cost the connection: it is tried once more, slim, or given up. What is small is kept,
        but after some tries at the end of the line, in case that it does not agree with this broker.
        """
        self._out -= 1
        suspect = publication.bytes > SMALL_BYTES or publication.tries >= MOST_TRIES
        slimmed = suspect and _slimmed(publication)
        if publication.worth == "late" and (slimmed or publication.bytes <= SMALL_BYTES):
            if publication.tries >= MOST_TRIES:
                self._serial += 1
                publication.serial, publication.tries = self._serial, 0
            self._again(publication)
        else:
            self._drop()
        self._settle()

    def _again(self, publication: Publication) -> None:
        self._bytes += publication.bytes
        self._waiting = deque(sorted([publication, *self._waiting], key=lambda one: one.serial))
        self._shrink()
        self._wake()

    def disconnected(self) -> None:
        """The broker is gone: what is only worth sending at once goes too."""
        self.connected = False
        kept = deque(one for one in self._waiting if one.worth == "late")
        self._drop(len(self._waiting) - len(kept))
        self._waiting = kept
        self._bytes = sum(one.bytes for one in self._waiting)
        self._settle()

    async def empty(self) -> None:
        """Wait until everything has arrived or was dropped."""
        await self._idle.wait()

    def _drop(self, count: int = 1) -> None:
        self.dropped += count
        if count and self._on_drop is not None:
            self._on_drop(count)

    def _shrink(self) -> None:
        while self._waiting and (len(self._waiting) > self._capacity or self._bytes > self._most_bytes):
            self._bytes -= self._waiting.popleft().bytes
            self._drop()

    def _wake(self) -> None:
        if self._waiting:
            self._idle.clear()
            self._news.set()

    def _settle(self) -> None:
        if not self._waiting and self._out <= 0:
            self._idle.set()


def _slimmed(publication: Publication) -> bool:
    """Make it slim; False when it is as slim as it can be."""
    if publication.slim is None:
        return False
    publication.payload, publication.slim = publication.slim(), None
    return True
