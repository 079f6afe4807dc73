"""The two parties of every MQTT test: a whole torch-free station behind a bridge, and clients that ask and listen."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiomqtt
from paho.mqtt.packettypes import PacketTypes

from stream.clock import Clock
from stream.config import MqttConfig
from stream.mqtt.client import MqttBridge
from stream.mqtt.inside import properties_of
from stream.mqtt.limits import Limits
from stream.station import Station
from tests.fakes import FakeParts, fake_station
from tests.patience import PATIENCE_S
from tests.servers.mosquitto import Mosquitto

ROOT = "longwatch/main"
# As the defaults, but impatient where a test would wait.
QUICK = Limits(
    backoff_s=(0.05, 0.1, 0.2),
    refused_backoff_s=(0.3, 0.6),
    birth_spread_s=0.05,
    tidy_s=0.2,
    timeout_s=5.0,
)


@dataclass(frozen=True)
class Bridged:
    """A running house with its bridge."""

    station: Station
    parts: FakeParts
    bridge: MqttBridge


@asynccontextmanager
async def bridged(
    folder: Path,
    broker: Mosquitto | str,
    cameras: tuple[str, ...] = ("front",),
    *,
    limits: Limits = QUICK,
    connect: bool = True,
    clock: Clock | None = None,
    house: dict[str, Any] | None = None,
    **config: Any,
) -> AsyncIterator[Bridged]:
    """A station whose cameras have each seen one red frame, on this broker."""
    url = broker if isinstance(broker, str) else broker.url
    async with fake_station(folder, cameras, **(house or {})) as (station, parts):
        bridge = MqttBridge(station, MqttConfig(url=url, **config), limits=limits, clock=clock)
        async with bridge.running():
            if connect:
                await until(lambda: bridge.connected)
            yield Bridged(station, parts, bridge)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that tells nobody when it happens."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Party:
    """A client that remembers all it hears. `async with Party(broker, "topic/#") as party`."""

    def __init__(
        self,
        port: int | Mosquitto,
        *topics: str,
        version: int = 5,
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        self.heard: list[aiomqtt.Message] = []
        self.version = version
        self.port = port if isinstance(port, int) else port.port
        self._topics = topics
        self._read = 0
        self._news = asyncio.Event()
        self.client = aiomqtt.Client(
            "127.0.0.1",
            self.port,
            protocol=aiomqtt.ProtocolVersion.V5 if version == 5 else aiomqtt.ProtocolVersion.V311,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            timeout=PATIENCE_S,
            username=user,
            password=password,
        )
        self.client.pending_calls_threshold = 10_000

    async def __aenter__(self) -> Self:
        await self.client.__aenter__()
        for topic in self._topics:
            await self.client.subscribe(topic, qos=1)
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self.client.__aexit__(None, None, None)

    async def _listen(self) -> None:
        async for message in self.client.messages:
            self.heard.append(message)
            self._news.set()

    async def say(self, topic: str, payload: str | bytes | dict[str, Any], *, retain: bool = False, **v5: Any) -> None:
        """Publish; `reply`, `correlation` and `expiry_s` become properties of version 5."""
        if isinstance(payload, dict):
            payload = json.dumps(payload)
        properties = properties_of(PacketTypes.PUBLISH) if v5 else None
        names = {"reply": "ResponseTopic", "correlation": "CorrelationData", "expiry_s": "MessageExpiryInterval"}
        for key, value in v5.items():
            setattr(properties, names[key], value)
        await self.client.publish(topic, payload, qos=1, retain=retain, properties=properties)

    async def hear(self, topic: str, which: Callable[[aiomqtt.Message], bool] = lambda _: True) -> aiomqtt.Message:
        """The next message on a topic that was not heard before in this way; skips others."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                while self._read < len(self.heard):
                    message = self.heard[self._read]
                    self._read += 1
                    if message.topic.matches(topic) and which(message):
                        return message
                self._news.clear()
                await self._news.wait()

    async def hear_json(self, topic: str, **wanted: Any) -> dict[str, Any]:
        """As `hear`, decoded, and with these values."""
        message = await self.hear(topic, lambda one: all(_json(one).get(key) == wanted[key] for key in wanted))
        return _json(message)

    def on(self, topic: str) -> list[aiomqtt.Message]:
        """All that was heard on a topic so far."""
        return [message for message in self.heard if message.topic.matches(topic)]

    def words_on(self, topic: str) -> list[str]:
        """The payloads heard on a topic so far, as text."""
        return [bytes(message.payload).decode() for message in self.on(topic)]


def _json(message: aiomqtt.Message) -> dict[str, Any]:
    try:
        value = json.loads(message.payload)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def program(*line: str, **how: Any) -> subprocess.Popen[str]:
    """Start another process. It takes milliseconds; the event loop can spare them."""
    return subprocess.Popen(line, text=True, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3], **how)


def own_python(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Run a script that imports from this tree."""
    return program(sys.executable, "-c", script, *arguments, env={**os.environ, "PYTHONPATH": "."})


def extra(message: aiomqtt.Message, name: str) -> Any:
    """A property of MQTT 5, None when it is not there."""
    return getattr(message.properties, name, None)


async def settled(party: Party, topic: str = "test/mark") -> None:
    """Everything that was on its way when this was called has arrived at `party` (one broker, one order)."""
    mark = f"{topic}/{len(party.heard)}"
    await party.client.subscribe(mark, qos=1)
    await party.say(mark, b"mark")
    await party.hear(mark)
