"""What others may tell us, sorted: questions, "forget", Home Assistant's birth, announcements of cameras long gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from stream.mqtt.asking import Asking
from stream.mqtt.broker import Incoming
from stream.mqtt.common import Common
from stream.mqtt.discovery import gone_camera, removal
from stream.mqtt.limits import Bucket
from stream.mqtt.outbox import Publication

log = logging.getLogger(__name__)


class Commands:
    """`receive` never waits: what takes time becomes a task of its own, one of a kind at a time."""

    def __init__(
        self,
        common: Common,
        asking: Asking,
        everything: Callable[[], list[Publication]],
        chance: Callable[[], float],
    ) -> None:
        """`everything`: announcements and states as they are now, for a Home Assistant that has just started."""
        self._station, self._topics, self._outbox = common.station, common.topics, common.outbox
        self._limits, self._clock, self._asking = common.limits, common.clock, asking
        self._everything, self._chance = everything, chance
        self._clears: dict[str, Bucket] = {}  # for cameras that exist only
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def receive(self, message: Incoming) -> None:
        """Act on one message; never raises for what is in it."""
        to = self._topics.destination(message.topic)
        if to is None:
            self._look_for_gone(message)
        elif to.verb in ("ask", "ask_many"):
            self._asking.receive(message, to)
        elif message.retain:
            self._asking.ignored += 1  # a command of yesterday, kept by the broker
        elif to.verb == "clear":
            self._clear(to.camera)
        elif message.payload == b"online":
            self._later("birth", self._announce_again())

    def close(self) -> None:
        """Stop what is under way."""
        for task in self._under_way.values():
            task.cancel()

    def _look_for_gone(self, message: Incoming) -> None:
        camera = gone_camera(self._topics, self._station.cameras, message.topic, message.payload)
        if camera is not None:
            log.info("%s: not configured any more; taken back from Home Assistant.", camera)
            for publication in removal(self._topics, camera):
                self._outbox.put(publication)

    def _clear(self, camera: str) -> None:
        agent, now_s = self._station.cameras.get(camera), self._clock.now_s()
        if agent is None:
            return
        rate = self._clears.setdefault(camera, Bucket(self._limits.clears_per_s, self._limits.clears_burst, now_s))
        if rate.take(now_s):
            log.info("%s: asked over MQTT to forget what it saw.", camera)
            self._later(f"clear {camera}", agent.clear())

    async def _announce_again(self) -> None:
        """Home Assistant is back. Not all instances at once: each waits a little."""
        await self._clock.sleep(self._limits.birth_spread_s * self._chance())
        for publication in self._everything():
            self._outbox.put(publication)

    def _later(self, name: str, work: Coroutine[object, object, None]) -> None:
        if name in self._under_way:
            work.close()  # the same is being done already
            return
        task = asyncio.create_task(work, name=f"mqtt-{name}")
        self._under_way[name] = task
        task.add_done_callback(lambda task: self._ended(name, task))

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        self._under_way.pop(name, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("A command over MQTT (%s) failed.", name, exc_info=task.exception())
