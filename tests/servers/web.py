"""A web server for tests of video over HTTP: recordings, HLS, MJPEG, and playlists that lead where they should not."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

from PIL import Image

from tests.servers.media import numbered

Body = bytes | Callable[[], AsyncIterator[bytes]]


class WebServer:
    """Answers GET with what stands in `pages`: path to (content type, bytes or pieces), or to a redirect."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, Body]] = {}
        self.asked: list[str] = []
        self.login = ""  # base64 of user:password that is asked for
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, path: str, login: str = "") -> str:
        """Where a page is."""
        return f"http://{login}{'@' if login else ''}127.0.0.1:{self.port}{path}"

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                await self._answer(head, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        path = head.split()[1].partition("?")[0]
        self.asked.append(path)
        if self.login and f"Authorization: Basic {self.login}" not in head:
            writer.write(b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n')
            return
        kind, body = self.pages.get(path, ("", b""))
        if kind == "redirect":
            assert isinstance(body, bytes)
            writer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + body + b"\r\n\r\n")
        elif not kind:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        elif isinstance(body, bytes):
            size = (
                f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(size.encode() + body)
        else:
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode())
            async for piece in body():
                writer.write(piece)
                await writer.drain()
        await writer.drain()


def jpeg(number: int) -> bytes:
    """A numbered picture."""
    sink = io.BytesIO()
    Image.fromarray(numbered(number)).save(sink, "JPEG", quality=95)
    return sink.getvalue()


async def mjpeg(pictures: int = 10_000, every_s: float = 0.04) -> AsyncIterator[bytes]:
    """What the simplest of cameras sends: one JPEG after another."""
    for number in range(pictures):
        picture = jpeg(number % 50)
        yield b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(picture), picture)
        await asyncio.sleep(every_s)
