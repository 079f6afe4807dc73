"""One connection's life: greet, then read, write and tidy until it is lost or we take our leave."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence

from stream.mqtt.broker import Incoming
from stream.mqtt.limits import Limits
from stream.mqtt.link import Link
from stream.mqtt.outbox import Outbox, Publication
from stream.mqtt.topics import Topics
from stream.mqtt.trouble import Trouble

log = logging.getLogger(__name__)


class Left(Exception):
    """We said good-bye ourselves."""


class Session:
    """Works on one open `Link`. Every method ends with `Trouble` when the connection does."""

    def __init__(
        self, link: Link, topics: Topics, outbox: Outbox, limits: Limits, receive: Callable[[Incoming], None]
    ) -> None:
        self._link, self._topics, self._outbox, self._limits = link, topics, outbox, limits
        self._receive = receive

    async def greet(self, filters: Sequence[str], states: Sequence[Publication]) -> None:
        """First our ears, then what we are, then `online`: who sees `online` can ask at once and finds all in place."""
        for refused in await self._link.subscribe(filters):
            log.error("The MQTT broker does not let us listen on %s: check the rules (ACL) of our user.", refused)
        for start in range(0, len(states), self._limits.in_flight):  # one at a time would cost a round trip each
            batch = states[start : start + self._limits.in_flight]
            await asyncio.gather(*(self._link.publish(one) for one in batch))
        await self._link.publish(status(self._topics, "online"))

    async def hold(self, leaving: asyncio.Event, *, tidy: bool) -> None:
        """Until the connection is lost (`Trouble`) or `leaving` is set (`Left`)."""
        work = [self._read(), self._write(), self._leave(leaving)]
        try:
            await _together(*work, *([self._tidy()] if tidy else []))
        finally:
            for message in self._link.left_over():  # the broker thinks that we have these
                self._receive(message)

    async def _read(self) -> None:
        async for message in self._link.messages():
            self._receive(message)

    async def _write(self) -> None:
        """Empty the outbox, in order, several publishes under way at once."""
        room = asyncio.Semaphore(self._limits.in_flight)
        try:
            async with asyncio.TaskGroup() as sends:
                while True:
                    await room.acquire()
                    publication = await self._outbox.take()
                    sends.create_task(self._send(publication, room))
        except BaseExceptionGroup as group:
            lost = group.subgroup(Trouble)
            if lost is None:
                raise
            raise lost.exceptions[0] from None

    async def _send(self, publication: Publication, room: asyncio.Semaphore) -> None:
        try:
            fits = await self._link.publish(publication)
        except BaseException:
            self._outbox.put_back(publication)
            raise
        room.release()
        self._outbox.done(publication, arrived=fits)

    async def _leave(self, leaving: asyncio.Event) -> None:
        await leaving.wait()
        await self._link.publish(status(self._topics, "offline"))
        raise Left

    async def _tidy(self) -> None:
        """Look at the announcements the broker keeps, for cameras of ours that are not there any more."""
        announced = f"{self._topics.discovery}/device/+/config"
        if not await self._link.subscribe([announced], send_retained=True):
            await asyncio.sleep(self._limits.tidy_s)
            await self._link.unsubscribe(announced)


def status(topics: Topics, word: str) -> Publication:
    """Availability of the whole service, retained."""
    return Publication(topics.status, word.encode(), retain=True, media_type="text/plain", worth="now")


async def _together(*work: Coroutine[object, object, None]) -> None:
    """Run all until one fails; then stop the others and raise what it raised, not wrapped."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
