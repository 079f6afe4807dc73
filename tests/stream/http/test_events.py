"""The stream of events: ids, resuming, gaps, keep-alives, readers that do not read."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request

from stream.http import events as events_module
from stream.http.events import QUEUE
from stream.http.server import serving
from stream.http.streaming import Streaming, event
from tests.patience import PATIENCE_S
from tests.stream.http.conftest import House, until


async def told(lines: AsyncIterator[str]) -> dict[str, Any]:
    """The next event of a stream."""
    fields: dict[str, Any] = {}
    async for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = json.loads(value) if name == "data" else value
        elif not line and "data" in fields:
            return fields
        elif not line:
            fields = {}
    raise AssertionError("the stream ended")


async def test_events_come_with_id_and_kind(house: House):
    async with house.http.stream("GET", "/api/v1/events/stream?camera=front&kinds=answer,question") as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = reply.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        asking = asyncio.create_task(house.http.post("/api/v1/cameras/front/ask", json={"question": "What?"}))
        await house.http.post("/api/v1/cameras/back/ask", json={"question": "Not asked for?"})
        first, second = await told(lines), await told(lines)
        await asking
    assert (first["event"], second["event"]) == ("question", "answer")
    assert second["data"]["data"]["answer"] == "I saw red." and second["data"]["camera"] == "front"
    assert int(second["id"]) > int(first["id"]) == first["data"]["id"]


async def test_a_reader_that_was_away_hears_what_it_missed(house: House):
    events = house.station.events
    emitted = [events.emit("memory", "front", 0.0, {"type": "x", "number": number}) for number in range(3)]
    headers = {"Last-Event-ID": str(emitted[0].id)}
    async with house.http.stream("GET", "/api/v1/events/stream?kinds=memory", headers=headers) as reply:
        lines = reply.aiter_lines()
        heard = [await told(lines) for _ in range(2)]
    assert [one["data"]["data"]["number"] for one in heard] == [1, 2]
    since = (await house.http.get("/api/v1/events", params={"after": emitted[0].id, "kinds": "memory"})).json()
    assert [one["data"].get("number") for one in since["events"]][:2] == [1, 2] and since["last_id"] >= emitted[2].id


async def test_what_is_lost_is_said(house: House):
    events = house.station.events
    first = events.emit("memory", "front", 0.0, {"number": 0})
    for number in range(events.capacity + 5):
        events.emit("memory", "front", 0.0, {"number": number})
    async with house.http.stream("GET", f"/api/v1/events/stream?after={first.id}") as reply:
        assert (await told(reply.aiter_lines()))["event"] == "gap"


async def test_a_chatty_camera_costs_the_others_readers_nothing(house: House):
    events = house.station.events
    first = events.emit("answer", "front", 0.0, {"number": 1})
    for number in range(events.capacity + QUEUE):
        events.emit("tick", "back", 0.0, {"number": number})
        events.emit("memory", "back", 0.0, {"number": number})
    second = events.emit("answer", "front", 0.0, {"number": 2})
    url = f"/api/v1/events/stream?camera=front&kinds=answer,tick&after={first.id - 1}"
    async with house.http.stream("GET", url) as reply:
        lines = reply.aiter_lines()
        heard = [await told(lines) for _ in range(2)]  # no gap: nothing of what was asked for is missing
    assert [int(one.get("id", 0)) for one in heard] == [first.id, second.id]


async def test_unknown_kind_is_a_400(house: House):
    reply = await house.http.get("/api/v1/events/stream?kinds=answer,gossip")
    assert reply.status_code == 400 and reply.json()["code"] == "unknown_kind"


async def test_streams_count_their_readers(house: House):
    def clients() -> float | None:
        return house.station.meters.registry.get_sample_value("longwatch_sse_clients")

    async with house.http.stream("GET", "/api/v1/events/stream") as reply:
        await anext(reply.aiter_lines())
        assert clients() == 1.0
    await until(lambda: clients() == 0.0)


async def test_one_reader_too_many_is_a_503_and_comes_in_when_a_place_is_free(house: House):
    events = house.station.events
    async with AsyncExitStack() as full:
        while events.listeners < events.limit:
            await full.enter_async_context(events.subscribe(1))
        reply = await house.http.get("/api/v1/events/stream")
        assert reply.status_code == 503 and reply.json()["code"] == "too_many_listeners"
        assert reply.headers["content-type"] == "application/problem+json"
        assert int(reply.headers["retry-after"]) >= 1
        assert events.listeners == events.limit
    async with house.http.stream("GET", "/api/v1/events/stream") as stream:
        assert stream.status_code == 200 and await anext(stream.aiter_lines()) == "retry: 2000"
    await until(lambda: events.listeners == 0)  # leaving gives the place back


async def test_an_error_in_the_middle_is_not_called_full(house: House, caplog: pytest.LogCaptureFixture):
    def broken(_: object) -> dict[str, Any]:
        raise RuntimeError("a fault of ours")

    heard: list[str] = []

    async def read() -> None:
        async with house.http.stream("GET", "/api/v1/events/stream?after=0") as stream:
            heard.extend([line async for line in stream.aiter_lines()])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events_module, "event_payload", broken)
        with pytest.raises(httpx.RemoteProtocolError):  # the body breaks off: whoever reads knows it is not whole
            await read()
    assert not any("full" in line for line in heard)
    await until(lambda: house.station.events.listeners == 0)
    assert "a fault of ours" in caplog.text


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield event("x" * 65536)
        await asyncio.sleep(0)


async def silent() -> AsyncIterator[bytes]:
    yield event("hello")
    await asyncio.Event().wait()


async def test_a_reader_that_stops_reading_is_cut_off_and_others_go_on():
    app, slow = FastAPI(), asyncio.Event()
    app.state.closing = asyncio.Event()
    quick: list[int] = []

    @app.get("/stream")
    async def stream() -> Streaming:
        return Streaming(endless(), patience_s=0.3, on_slow=slow.set)

    @app.get("/quick")
    async def other() -> dict[str, str]:
        quick.append(1)
        return {}

    async with serving(app, "127.0.0.1:0") as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as lazy:
            lazy.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asyncio.wait_for(slow.wait(), PATIENCE_S)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /quick HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b"200 OK" in await reader.read()
            writer.close()
            # What the kernels hold still comes; then the body breaks off, without the end of a chunked body.
            assert not (await asyncio.to_thread(_drain, lazy)).endswith(b"0\r\n\r\n")


def _drain(connection: socket.socket) -> bytes:
    connection.settimeout(PATIENCE_S)
    last = b""
    while chunk := connection.recv(1 << 20):
        last = chunk
    return last


async def test_silence_is_kept_alive_and_ends_when_told():
    app, ended = FastAPI(), asyncio.Event()
    app.state.closing = asyncio.Event()

    @app.get("/stream")
    async def stream(request: Request) -> Streaming:
        return Streaming(silent(), keepalive_s=0.05, until=request.app.state.closing, on_end=ended.set)

    async with serving(app, "127.0.0.1:0") as url:
        port = int(url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await reader.readuntil(b": keepalive")
        app.state.closing.set()
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")  # a clean end of a chunked body
        await asyncio.wait_for(ended.wait(), PATIENCE_S)
        writer.close()
