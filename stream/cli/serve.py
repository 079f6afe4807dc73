"""`serve`: station, web server and MQTT bridge in one process, from the first frame to a clean end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from stream.cli.console import Console, Trouble
from stream.cli.log import start_log
from stream.cli.signals import Stop, stopping
from stream.config import Config
from stream.http.app import make_app
from stream.http.server import serving
from stream.journal import JournalError
from stream.redact import redact
from stream.station import Station

if TYPE_CHECKING:
    from fastapi import FastAPI

    from stream.config.schema import ServerConfig


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
    """Everything that runs; leaving drains it, within the time that `signals.GRACE_S` gives.

    The web's door opens first and closes last. On leaving, no door lets new questions in; then MQTT and the desk give
    the last words side by side; then the cameras stop while the web server hangs up.
    """
    async with AsyncExitStack() as stack:
        try:
            station = house.build(config)
            app = make_app(station, config)
            web = _Web(app)
            stack.push_async_callback(web.closed)
            url = await web.open(config.server)
            await stack.enter_async_context(station.running())
            stack.push_async_callback(_last_words, station, web)
            if config.mqtt is not None:
                from stream.mqtt.client import MqttBridge

                names = {camera: section.name for camera, section in config.cameras.items()}
                await stack.enter_async_context(MqttBridge(station, config.mqtt, names=names).running())
        except (ValueError, OSError, JournalError) as error:
            raise Trouble(redact(error)) from error
        try:
            yield Service(station, url)
        finally:
            app.state.closing.set()
            station.desk.close()


async def _last_words(station: Station, web: _Web) -> None:
    """Whoever waits for an answer over HTTP hears it before the server counts him out."""
    station.desk.close()
    await station.desk.closed()
    web.close()


class _Web:
    """The web server, which may hang up while others end too."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._server = AsyncExitStack()
        self._closing: asyncio.Task[None] | None = None

    async def open(self, server: ServerConfig) -> str:
        """The URL. Raises `ValueError` or `OSError` with a sentence."""
        return await self._server.enter_async_context(serving(self._app, server.listen, tls=server.tls))

    def close(self) -> None:
        """Begin to."""
        self._closing = self._closing or asyncio.create_task(self._server.aclose(), name="web-closing")

    async def closed(self) -> None:
        """Wait until it has hung up."""
        self.close()
        if self._closing is not None:
            await self._closing


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
