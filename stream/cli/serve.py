"""`serve`: station, web server and MQTT bridge in one process, from the first frame to a clean end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from stream.cli.console import Console, Trouble
from stream.cli.log import start_log
from stream.cli.signals import Stop, stopping
from stream.config import Config
from stream.http.app import make_app
from stream.http.server import serving
from stream.journal import JournalError
from stream.redact import redact
from stream.station import Station


class House(Protocol):
    """What `run_stream.py` knows and nobody here may: how tensors are loaded and parts put together."""

    def load(self, config: Config) -> None:
        """The slow part: checkpoint and encoder. May run in a thread. Raises `ValueError` with a sentence."""

    def build(self, config: Config) -> Station:
        """The parts put together, on the event loop. Raises `ValueError` with a sentence."""

    def budget_lines(self, config: Config) -> list[str]:
        """What the memory budget of a camera buys, for people."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running Longwatch."""

    station: Station
    url: str


async def serve(house: House, config: Config, console: Console) -> int:
    """Serve until a signal comes; 0 when everything ended in time."""
    start_log("warning" if console.quiet else config.log.level, config.log.format)
    with stopping() as stop:
        if not await load(house, config, console, stop):
            return 0
        async with running(house, config) as service:
            introduce(console, house, config, service)
            await stop.wait()
            console.note("Ending: questions get their last word. Once more to end at once.")
    return 0


async def load(house: House, config: Config, console: Console, stop: Stop) -> bool:
    """Load in a thread, so that Ctrl-C is heard. False: it came."""
    with console.working(f"Loading the model ({config.model.path_or_id})"):
        loading = asyncio.ensure_future(asyncio.to_thread(house.load, config))
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({loading, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                loading.result()
            return loading.done()
        except (ValueError, OSError) as error:
            raise Trouble(redact(error)) from error
        finally:
            stopped.cancel()
            loading.cancel()


@asynccontextmanager
async def running(house: House, config: Config) -> AsyncIterator[Service]:
    """Everything that runs; leaving drains it. The doors open first and close last: nothing in flight is cut off."""
    async with AsyncExitStack() as stack:
        try:
            station = house.build(config)
            url = await stack.enter_async_context(serving(make_app(station, config), config.server.listen))
            await stack.enter_async_context(station.running())
            if config.mqtt is not None:
                from stream.mqtt.client import MqttBridge

                names = {camera: section.name for camera, section in config.cameras.items()}
                await stack.enter_async_context(MqttBridge(station, config.mqtt, names=names).running())
        except (ValueError, OSError, JournalError) as error:
            raise Trouble(redact(error)) from error
        yield Service(station, url)


def introduce(console: Console, house: House, config: Config, service: Service) -> None:
    """What listens where, and what the memory can hold."""
    console.say(f"Longwatch  {service.url}")
    console.note(f"  page       {service.url}/            API {service.url}/docs")
    console.note(f"  chat       {service.url}/v1          any OpenAI client; a camera's name is a model")
    if any(camera.source == "whip" for camera in config.cameras.values()):
        console.note(f"  publish    {service.url}/publish     a browser's camera; encoders: {service.url}/whip/CAMERA")
    mqtt = config.mqtt
    topics = f"{mqtt.url}, topics {mqtt.prefix}/{mqtt.instance}/#" if mqtt else "off; add mqtt: to the configuration"
    console.note(f"  MQTT       {topics}")
    for name, camera in config.cameras.items():
        console.note(f"  camera     {name}: {redact(camera.source)}")
    for line in house.budget_lines(config):
        console.note(f"  memory     {line}")
