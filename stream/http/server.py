"""uvicorn in our process and on our loop: says where it listens, ends promptly, leaves the signals alone.

Open it around the station, so that questions in flight get their last word over HTTP before the doors close:

    async with serving(make_app(station, config), listen) as url, station.running():
        ...
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from stream.config.values import parse_address
from stream.http.protocol import GuardedProtocol

if TYPE_CHECKING:
    from stream.config.schema import TlsConfig

log = logging.getLogger(__name__)

CONNECTIONS = 512
GRACE_S = 3.0


class _Server(uvicorn.Server):
    """Without signal handlers: who runs us decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def bind(listen: str) -> socket.socket:
    """A socket that listens at `host:port`. Raises `ValueError` or `OSError` with a sentence."""
    host, port = parse_address(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(128)  # from here on a client may knock, before uvicorn is up
    except OSError as error:
        bound.close()
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"Cannot listen on {host}:{port}: {reason}. Choose another server.listen.") from None
    return bound


def url_of(bound: socket.socket, scheme: str = "http") -> str:
    """Where a browser on this machine finds a bound socket."""
    host, port = bound.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@asynccontextmanager
async def serving(
    app: FastAPI, listen: str, grace_s: float = GRACE_S, tls: TlsConfig | None = None
) -> AsyncIterator[str]:
    """Serve while the block is open; gives the URL. Port 0 takes a free one. https where there is a certificate.

    On leaving, event streams end at once, answers in flight have `grace_s` seconds, then they are cut.
    Raises `ValueError` or `OSError` with a sentence when `listen` cannot be had.
    """
    bound = bind(listen)
    url = url_of(bound, "https" if tls else "http")
    if not ipaddress.ip_address(bound.getsockname()[0]).is_loopback:
        log.warning("%s is open to the network, and whoever reaches it can see the cameras.", url)
    config = uvicorn.Config(
        app,
        http=GuardedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # addresses of people and their queries stay out of the log
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=max(1, round(grace_s)),
        h11_max_incomplete_event_size=48 << 10,
        ssl_certfile=tls.cert if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    server = _Server(config)
    app.state.closing.clear()
    task = asyncio.create_task(server.serve(sockets=[bound]), name="http")
    try:
        yield url
    finally:
        app.state.closing.set()
        server.should_exit = True
        await task


async def serve(app: FastAPI, listen: str, started: Callable[[str], None] | None = None) -> None:
    """Serve until cancelled; `started` is told the URL. See `serving`."""
    async with serving(app, listen) as url:
        if started is not None:
            started(url)
        await asyncio.Event().wait()
