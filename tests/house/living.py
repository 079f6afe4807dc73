"""A whole Longwatch: all that `run_stream.py serve` runs, with the bundled model, in the test's own process."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

import run_stream
from stream.cli.serve import Service, running
from stream.config import parse
from stream.flow import BlockRecord, Holdings
from tests.stream.rtc.house import until

GUESS = "out_of_depth: answer"  # real clips stand in for any camera: most tests follow a question, not its words
SAY = "out_of_depth: say"  # as it is by default
PATIENCE_S = 100.0  # a test machine may be busy for a long time


@functools.cache
def loaded() -> run_stream.House:
    """The bundled checkpoint through the normal loader, once for all tests of a process."""
    house = run_stream.House()
    house.load(parse("cameras: {any: {source: whip}}"))
    return house


def settings(folder: Path, cameras: str, more: str = "", model: str = GUESS) -> str:
    """A configuration whose blocks are short, so that there is soon something to remember.

    `cameras` and `more` are lines of YAML, `model` more of that section; all state is in `folder`.
    """
    return f"""
server: {{listen: "127.0.0.1:0"}}
model: {{device: cpu, {model}}}
memory: {{budget: 128MiB, segment_s: 2}}
questions: {{timeout_s: {PATIENCE_S}, max_age_ms: 60000}}
journal: {{path: {folder / "journal.sqlite"}}}
state_dir: {folder / "state"}
cameras:
{cameras}
{more}
"""


@asynccontextmanager
async def living(folder: Path, cameras: str, more: str = "", model: str = GUESS) -> AsyncIterator[Service]:
    """Station, web server and, where configured, MQTT bridge, until the block is left."""
    async with running(loaded(), parse(settings(folder, cameras, more, model))) as service:
        yield service


@asynccontextmanager
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A patient HTTP client."""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False) as http:
        yield http


def closed(held: Holdings) -> dict[int, BlockRecord]:
    """The blocks that are committed, by id."""
    return {block.id: block for block in held.blocks if block.state != "open"}


async def remembered(service: Service, camera: str, enough: Callable[[Holdings], object]) -> Holdings:
    """What a camera's memory holds, once that is enough; it is looked at once a second."""
    agent = service.station.cameras[camera]
    async with service.station.events.subscribe() as events:
        async for event in events:
            if (event.kind, event.camera) == ("tick", camera) and enough(held := await agent.holdings()):
                return held
    raise AssertionError(f"the service ended; {camera} is {agent.state}")


async def is_state(service: Service, camera: str, state: str) -> None:
    """Wait until a camera is in this state."""
    await until(lambda: service.station.cameras[camera].state.state == state, PATIENCE_S)


async def answer(http: httpx.AsyncClient, camera: str, question: str, **more: Any) -> dict[str, Any]:
    """The one JSON answer to a question, whatever its status."""
    reply = await http.post(
        f"/api/v1/cameras/{camera}/ask",
        json={"question": question, **more},
        headers={"Accept": "application/json"},
    )
    told: dict[str, Any] = reply.json()
    return told | {"http": reply.status_code}
