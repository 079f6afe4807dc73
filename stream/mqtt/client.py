"""The bridge between the house and a broker: `async with MqttBridge(station, config).running(): ...`.

Connected for ever: version 5, or 3.1.1 where the broker knows no better; one session after the other, with a pause
that grows and is told once. A broker that is away is no error of ours.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from stream.clock import Clock
from stream.meters import house_version
from stream.mqtt import discovery
from stream.mqtt.asking import Asking
from stream.mqtt.broker import Broker, Incoming, Version
from stream.mqtt.commands import Commands
from stream.mqtt.common import Common
from stream.mqtt.limits import Limits
from stream.mqtt.link import Link, open_link
from stream.mqtt.outbox import Outbox, Publication
from stream.mqtt.publishing import Figures, Publishing
from stream.mqtt.pulse import Pulse
from stream.mqtt.retry import REFUSED, Patience, Versions
from stream.mqtt.saying import Saying
from stream.mqtt.session import Left, Session, status
from stream.mqtt.topics import Topics
from stream.mqtt.trouble import Trouble, TroubleKind
from stream.redact import register_secret
from stream.tasks import task_group

if TYPE_CHECKING:
    from stream.config import MqttConfig
    from stream.station import Station

log = logging.getLogger(__name__)
BridgeWord = Literal["starting", "online", "offline", "auth_failed", "id_taken", "closed"]


@dataclass(frozen=True, slots=True, eq=False)
class BridgeState:
    """How the connection to the broker is doing; for `/readyz` and the page."""

    state: BridgeWord
    since_wall_s: float  # Unix time, s
    reason: str = ""  # a sentence, without secrets
    protocol: str = ""  # "5" or "3.1.1" while online


class MqttBridge:
    """One instance's presence on a broker."""

    def __init__(
        self,
        station: Station,
        config: MqttConfig,
        *,
        names: Mapping[str, str | None] | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`names`: camera id to a name for people, for Home Assistant; `chance`: 0..1, jitter."""
        self.limits, self.clock = limits or Limits(), clock or station.clock
        self.topics = Topics(config.prefix, config.instance, config.discovery_prefix)
        self.broker = broker_of(config, self.topics)
        self.state = BridgeState("starting", self.clock.wall_s())
        self.link: Link | None = None  # the connection, while there is one
        self.reconnects = 0
        self.dropped_in = 0  # messages that found the inbox full
        self._station, self._config = station, config
        self._names = {camera: (names or {}).get(camera) or camera for camera in station.cameras}
        self._versions, self._patience = Versions(config.version), Patience(self.limits, chance)
        self._online_since_s = 0.0  # monotonic clock
        self._leaving = asyncio.Event()
        self._pulse = Pulse(self.clock, self.limits.frozen_s)
        self._outbox = Outbox(config.queue, self.limits.outbox_bytes, self._lost_out)
        common = Common(station, self.topics, self._outbox, self.limits, self.clock)
        saying = Saying(common, config.reply_topics)
        self._asking = Asking(common, self._pulse, saying, partial=config.partial, reply_topics=config.reply_topics)
        self._publishing = Publishing(common, self.figures, saying.recovered, snapshots=config.snapshots)
        self._commands = Commands(common, self._asking, self._birth, chance)

    @property
    def connected(self) -> bool:
        """True while the broker hears us."""
        return self.state.state == "online"

    def publish(self, publication: Publication) -> None:
        """Put one message of another part's into the outbox; never waits."""
        self._outbox.put(publication)

    def receive(self, message: Incoming) -> None:
        """Act on one message as if it came from the broker; never waits, never raises for what is in it."""
        try:
            self._commands.receive(message)
        except Exception:  # one message that we make a mistake over is not worth the connection
            log.exception("A message over MQTT was dropped: it met a mistake of ours.")

    def figures(self) -> Figures:
        """Counts since the start."""
        return Figures(
            protocol=self.state.protocol,
            reconnects=self.reconnects,
            dropped_in=self.dropped_in,
            dropped_out=self._outbox.dropped,
            ignored=self._asking.ignored,
            open_questions=self._asking.open_questions,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[MqttBridge]:
        """Be on the broker while the block is open. A broker that is away is looked for, for ever.

        On leaving, open questions get their answers and `offline` is published, within `limits.leaving_s`.
        """
        async with task_group() as tasks:
            connection = tasks.create_task(self._stay_connected(), name="mqtt")
            publishing = tasks.create_task(self._publishing.run(), name="mqtt-publishing")
            pulse = tasks.create_task(self._pulse.run(), name="mqtt-pulse")
            try:
                yield self
            finally:
                await self._close(connection)
                for task in (connection, publishing, pulse):
                    task.cancel()
        self._tell("closed")

    async def _close(self, connection: asyncio.Task[None]) -> None:
        """Answers first, then `offline`, then the line; all under one deadline."""
        loop, limits = asyncio.get_running_loop(), self.limits
        ends_s = loop.time() + limits.leaving_s
        self._commands.close()
        await self._asking.close()
        if not self.connected:
            return  # what was not heard is in the journal, for the next life
        try:
            async with asyncio.timeout_at(min(loop.time() + limits.closing_s, ends_s - limits.goodbye_s)):
                await self._outbox.empty()
        except TimeoutError:
            log.warning("%d messages could not be published before the end.", len(self._outbox))
        self._leaving.set()
        await asyncio.wait([connection], timeout=min(limits.closing_s, max(0.0, ends_s - loop.time())))

    async def _stay_connected(self) -> None:
        while not self._leaving.is_set():
            version = self._versions.next
            try:
                await self._session(version)
            except Left:
                return
            except Exception as error:
                trouble = error if isinstance(error, Trouble) else _broken(error)
                if self._versions.other_instead_of(version, trouble.kind):
                    log.info("%s Trying MQTT %s.", trouble, self._versions.next)
                else:
                    await self._pause(trouble)

    async def _session(self, version: Version) -> None:
        """One connection, from greeting to loss. Ends with `Trouble` or `Left`."""
        async with open_link(self.broker, version, self.limits, self._pulse.stamp, self._lost_in) as link:
            self._pulse.fresh_connection()
            self._versions.worked()
            session = Session(link, self.topics, self._outbox, self.limits, self.receive)
            self.link = link
            self._outbox.connected = True  # changes from here on are queued, behind the states told next
            try:
                filters = [*self.topics.commands, *([self.topics.hub_status] if self._config.discovery else [])]
                await session.greet(filters, [*self._announcements(), *self._publishing.states()])
                log.info("MQTT broker %s: connected, version %s.", self.broker.name, version)
                self._online_since_s = self.clock.now_s()
                self._tell("online", protocol=version)
                await session.hold(self._leaving, tidy=self._config.discovery)
            finally:
                self.link = None
                self._outbox.disconnected()

    async def _pause(self, trouble: Trouble) -> None:
        online_s = self.clock.now_s() - self._online_since_s if self.connected else None
        trouble, pause_s = self._patience.after(trouble, online_s)
        sentence = str(trouble)
        if trouble.kind == "id_taken":
            sentence += f" If another Longwatch is called {self.topics.root}, give each its own mqtt.instance."
        if sentence != self.state.reason:  # told once, not at every attempt
            level = logging.ERROR if trouble.kind in REFUSED else logging.WARNING
            log.log(level, "%s Next try in %.0f s.", sentence, pause_s)
        self._tell(_WORDS.get(trouble.kind, "offline"), sentence)
        self.reconnects += 1
        self._station.meters.mqtt_reconnects.inc()
        await self.clock.sleep(pause_s)

    def _announcements(self) -> list[Publication]:
        if not self._config.discovery:
            return []
        return discovery.announcements(self.topics, self._names, house_version(), snapshots=self._config.snapshots)

    def _birth(self) -> list[Publication]:
        return [*self._announcements(), *self._publishing.states(), status(self.topics, "online")]

    def _tell(self, word: BridgeWord, reason: str = "", protocol: str = "") -> None:
        self.state = BridgeState(word, self.clock.wall_s(), reason, protocol)
        self._station.meters.mqtt_connected.set(word == "online")

    def _lost_in(self) -> None:
        self.dropped_in += 1
        self._station.meters.mqtt_dropped.labels("in").inc()

    def _lost_out(self, count: int) -> None:
        self._station.meters.mqtt_dropped.labels("out").inc(count)


def _broken(error: Exception) -> Trouble:
    """A mistake of ours, or of the libraries below: told with all there is to know, and tried again like a loss."""
    log.error("The connection to the MQTT broker broke down.", exc_info=error)
    return Trouble("broken", f"The connection to the MQTT broker broke down ({type(error).__name__}: {error}).")


_WORDS: dict[TroubleKind, BridgeWord] = {"auth_failed": "auth_failed", "id_taken": "id_taken"}


def broker_of(config: MqttConfig, topics: Topics) -> Broker:
    """Where and as whom to connect. Raises `ValueError` with a sentence when the URL is none."""
    parts = urlsplit(config.url)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ValueError("mqtt.url: write mqtt://host:1883 or mqtts://host:8883.")
    tls = parts.scheme == "mqtts"
    password = config.password.get_secret_value() if config.password is not None else None
    if password:
        register_secret(password)
    return Broker(
        host=parts.hostname,
        port=parts.port or (8883 if tls else 1883),
        client_id=topics.client_id,
        will_topic=topics.status,
        tls=tls,
        ca_file=config.ca_file,
        username=config.username,
        password=password,
        keepalive_s=config.keepalive_s,
    )
