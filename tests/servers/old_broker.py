"""A door in front of a real broker that treats MQTT 5 as old brokers do; 3.1.1 passes through untouched."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

Manner = Literal["refuses", "hangs up", "says nothing"]
_REFUSAL = bytes([0x20, 2, 0, 1])  # CONNACK of 3.1.1: unacceptable protocol version


@asynccontextmanager
async def old_broker(port: int, manner: Manner) -> AsyncIterator[tuple[int, list[int]]]:
    """Yields its own port and the list of protocol levels (5, or 4 for 3.1.1) that clients have tried so far."""
    tried: list[int] = []
    open_ends: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ends.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readexactly(2)
            while head[-1] & 0x80:  # the rest of the remaining length
                head += await reader.readexactly(1)
            name = await reader.readexactly(7)  # length, "MQTT", level
            tried.append(name[6])
            if name[6] < 5:
                await _pass_through(head + name, port, reader, writer)
            elif manner == "refuses":
                writer.write(_REFUSAL)
                await writer.drain()
            elif manner == "says nothing":
                await reader.read()
        writer.close()
        open_ends.discard(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], tried
    finally:
        server.close()
        for writer in list(open_ends):
            writer.close()


async def _pass_through(first: bytes, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    from_broker, to_broker = await asyncio.open_connection("127.0.0.1", port)
    to_broker.write(first)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()

    try:
        await asyncio.gather(pump(reader, to_broker), pump(from_broker, writer))
    finally:
        to_broker.close()
