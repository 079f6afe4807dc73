"""A running house without torch, behind a real server on a free port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from stream.config import Config, parse
from stream.http.app import make_app
from stream.http.server import serving
from stream.station import Station
from tests.fakes import FakeParts, fake_station
from tests.patience import PATIENCE_S

CONFIG = """
server: {allowed_origins: ["https://friend.example"], allowed_hosts: [cams.example]}
cameras:
  front: {source: "rtsp://admin:canary-s3cret@192.0.2.1/stream1?token=canary-t0ken", name: Front door}
  back: {source: whip}
questions: {max_age_ms: 600000, timeout_s: 100}  # a test machine may be busy for a long time
"""


@dataclass(frozen=True)
class House:
    """What a test may touch."""

    url: str
    http: httpx.AsyncClient
    station: Station
    parts: FakeParts
    app: FastAPI
    config: Config

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


calm = pytest.mark.asyncio(loop_scope="module")  # on tests that take `calm_house`
Opening = Callable[..., AbstractAsyncContextManager[House]]


@asynccontextmanager
async def opened(folder: Path, **knobs: Any) -> AsyncIterator[House]:
    """A house with two cameras, `front` and `back`, each of which has shown one red frame."""
    config = parse(CONFIG)
    knobs.setdefault("limits", config.questions)
    async with fake_station(folder, knobs.pop("cameras", ("front", "back")), **knobs) as (station, parts):
        app = make_app(station, config)
        async with serving(app, "127.0.0.1:0") as url, httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as http:
            yield House(url, http, station, parts, app, config)


@pytest.fixture
def open_house(tmp_path: Path) -> Opening:
    """Opens a house; see `opened` for the knobs."""
    return lambda **knobs: opened(tmp_path, **knobs)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A house with the usual limits, for one test."""
    async with opened(tmp_path) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calm_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One house for all tests of a module that only knock at its door and change nothing."""
    async with opened(tmp_path_factory.mktemp("house")) as one:
        yield one


async def until(check: Callable[[], object]) -> None:
    """Wait for something that nobody announces."""
    async with asyncio.timeout(PATIENCE_S):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def sse(text: str) -> list[dict[str, str]]:
    """Server-sent events of a finished body: one dict of fields per event, comments left out."""
    events: list[dict[str, str]] = []
    for block in text.split("\n\n"):
        fields = [line.partition(": ") for line in block.splitlines() if line and not line.startswith(":")]
        if fields:
            events.append({name: value for name, _, value in fields})
    return events
