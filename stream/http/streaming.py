"""Responses without a known end: server-sent events and motion JPEG.

A reader may leave or just stop reading. Both are noticed: leaving cancels what was being made for it, and who does not
take a chunk within `patience_s` is cut off, so that nobody's sleep holds memory here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

ABORT = "longwatch.abort"  # ASGI extension of `protocol.GuardedProtocol`: drops the connection, unsent bytes and all
KEEPALIVE = b": keepalive\n\n"
Result = TypeVar("Result")


class ClientGone(Exception):
    """The client hung up before its answer was there."""


def event(data: Any, *, name: str | None = None, number: int | None = None) -> bytes:
    """One server-sent event; `data` becomes one line of JSON, or stays as it is when it is a string."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = (f"id: {number}\n" if number is not None else "") + (f"event: {name}\n" if name else "")
    return f"{head}data: {text}\n\n".encode()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, which is cancelled when the client hangs up. Raises `ClientGone` then.

    Call it only when the request's body has been read.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_until_gone(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        await _end(working, leaving)


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Streaming(Response):
    """Sends `chunks` as they come until they end, the reader leaves, or `until` is set."""

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        *,
        media_type: str = "text/event-stream",
        headers: Mapping[str, str] | None = None,
        keepalive: bytes | None = KEEPALIVE,
        keepalive_s: float = 15.0,
        patience_s: float = 20.0,
        until: asyncio.Event | None = None,
        on_slow: Callable[[], None] = lambda: None,
        on_end: Callable[[], Awaitable[None] | None] = lambda: None,
    ) -> None:
        """`keepalive` is sent when nothing came for `keepalive_s`; `on_slow` is told of a reader that was cut off."""
        self.status_code = 200
        self.background = None
        self.body = b""
        self.media_type = media_type
        self.chunks = chunks
        self.keepalive = keepalive
        self.keepalive_s = keepalive_s
        self.patience_s = patience_s
        self.until = until
        self.on_slow = on_slow
        self.on_end = on_end
        self.init_headers({"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no", **(headers or {})})
        del self.headers["content-length"]  # nobody knows it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run to the end; whatever the end, `chunks` is closed and `on_end` is called."""
        sending = asyncio.ensure_future(self._send_all(scope, send))
        leaving = [asyncio.ensure_future(_until_gone(receive))]
        if self.until is not None:
            leaving.append(asyncio.ensure_future(_wait(self.until)))
        try:
            await asyncio.wait({sending, *leaving}, return_when=asyncio.FIRST_COMPLETED)
            told_to_end = not sending.done() and not leaving[0].done()
        finally:
            await _end(sending, *leaving)
            await _aclose(self.chunks)
            ended = self.on_end()
            if ended is not None:
                await ended
        if told_to_end:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif not sending.cancelled():
            sending.result()

    async def _send_all(self, scope: Scope, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        try:
            await asyncio.wait_for(send(start), self.patience_s)
            async with aclosing(self._with_keepalive()) as chunks:
                async for chunk in chunks:
                    body = {"type": "http.response.body", "body": chunk, "more_body": True}
                    await asyncio.wait_for(send(body), self.patience_s)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            self.on_slow()
            scope.get("extensions", {}).get(ABORT, lambda: None)()

    async def _with_keepalive(self) -> AsyncGenerator[bytes, None]:
        timeout = self.keepalive_s if self.keepalive else None
        while True:
            coming = asyncio.ensure_future(_next(self.chunks))
            try:
                while not (await asyncio.wait({coming}, timeout=timeout))[0]:
                    yield self.keepalive or b""
            finally:
                if not coming.done():
                    await _end(coming)
            chunk = coming.result()
            if chunk is None:
                return
            yield chunk


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


async def _aclose(chunks: AsyncIterator[bytes]) -> None:
    close = getattr(chunks, "aclose", None)
    if close is not None:
        await close()
