"""Publishes any `FrameSource` over WHIP, so that it enters through the same door as a browser or an encoder.

The source is read all the time and the newest picture wins, whether somebody listens or not; a lost connection is made
again with jittered back-off. A still or slow source is repeated at `REPEAT_HZ`: aiortc hands a picture on when the next
one begins, so a camera of one picture per second would else come a second late.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from fractions import Fraction
from urllib.parse import urljoin

import httpx
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from stream import peer
from stream.flow import Frame
from stream.offers import OFFER_BYTES
from stream.ports import FrameSource
from stream.redact import redact

REPEAT_HZ = 10.0
BACK_OFF_S = (0.5, 15.0)
REPLY_S, GOODBYE_S = 10.0, 2.0
_CLOCK_HZ = 90_000

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, and ours let anybody end the session


async def publish(source: FrameSource, url: str, *, token: str | None = None) -> None:
    """Publish `source` at the WHIP endpoint `url` until it ends; then the session is ended and the source closed.

    Cancel it to stop. `token` is sent as bearer token. Raises `ValueError` when the endpoint says that it will never
    take us (an unknown camera, not a WHIP endpoint).
    """
    newest = _Newest()
    pump = asyncio.create_task(_pump(source, newest), name="publish-pump")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with httpx.AsyncClient(headers=headers, timeout=REPLY_S) as http:
            await _publish_till_end(newest, http, url)
        await pump
    finally:
        pump.cancel()
        await asyncio.wait([pump])
        await source.aclose()


async def _publish_till_end(newest: _Newest, http: httpx.AsyncClient, url: str) -> None:
    wait_s = BACK_OFF_S[0]
    works = True
    while not newest.ended:
        try:
            async with _session(newest, http, url) as connection:
                wait_s = BACK_OFF_S[0]
                if not works:
                    log.info("Publishing to %s works again.", redact(url))
                works = True
                await _till_over(connection, newest)
        except (httpx.HTTPError, ConnectionError, TimeoutError) as error:
            # Once per change and not per attempt: an endpoint that is away for a week is one line.
            level = logging.WARNING if works else logging.DEBUG
            works = False
            why = redact(error) or type(error).__name__
            log.log(level, "Publishing to %s does not work now: %s", redact(url), why)
        if not newest.ended:
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, BACK_OFF_S[1])


@contextlib.asynccontextmanager
async def _session(newest: _Newest, http: httpx.AsyncClient, url: str) -> AsyncIterator[RTCPeerConnection]:
    """A connected session at the endpoint, deleted on leaving."""
    connection = peer.new_peer(loopback=_is_loopback(url))
    location = ""
    try:
        connection.addTransceiver(_Track(newest), "sendonly")
        await connection.setLocalDescription(await connection.createOffer())
        reply = await http.post(
            url, content=_constant_rate(connection.localDescription.sdp), headers={"Content-Type": "application/sdp"}
        )
        location = urljoin(url, reply.headers.get("location", "")) if reply.status_code == 201 else ""
        await connection.setRemoteDescription(RTCSessionDescription(_answer(reply), "answer"))
        await _connected(connection)
        yield connection
    finally:
        await connection.close()
        if location:
            with contextlib.suppress(httpx.HTTPError):
                await http.delete(location, timeout=GOODBYE_S)


def _answer(reply: httpx.Response) -> str:
    """The SDP answer. Raises `ConnectionError` when trying again may help, else `ValueError`."""
    if reply.status_code == 201 and len(reply.content) <= OFFER_BYTES:
        return reply.text
    said = f"The WHIP endpoint answered {reply.status_code}."
    if reply.status_code in (400, 401, 403, 404, 405, 413, 415, 422) or "not_publishable" in reply.text:
        raise ValueError(f"{said} Check the address and that the camera is configured with `source: whip`.")
    raise ConnectionError(said)


async def _connected(connection: RTCPeerConnection) -> None:
    """Until the peer is connected. Raises `ConnectionError`, or `TimeoutError` after `peer.CONNECT_S`."""
    done = asyncio.Event()
    connection.on("connectionstatechange", done.set)
    async with asyncio.timeout(peer.CONNECT_S):
        while connection.connectionState != "connected":
            if connection.connectionState in ("failed", "closed"):
                raise ConnectionError("The WebRTC connection failed.")
            done.clear()
            await done.wait()


async def _till_over(connection: RTCPeerConnection, newest: _Newest) -> None:
    """Until the connection ends or the source does."""
    over = asyncio.Event()

    def changed() -> None:
        if connection.connectionState in ("failed", "closed"):
            over.set()

    connection.on("connectionstatechange", changed)
    changed()
    waits = [asyncio.create_task(over.wait()), asyncio.create_task(newest.till_end())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


class _Newest:
    """The newest frame of a source; older ones are forgotten."""

    def __init__(self) -> None:
        self.frame: Frame | None = None
        self.ended = False
        self._changed = asyncio.Condition()

    async def put(self, frame: Frame | None) -> None:
        """A newer frame, or None: there will be no more."""
        async with self._changed:
            self.frame, self.ended = (frame, False) if frame is not None else (self.frame, True)
            self._changed.notify_all()

    async def till_end(self) -> None:
        """Until the source has ended."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.ended)

    async def other_than(self, frame: Frame | None) -> Frame:
        """A newer frame than this, or the same one again after `1 / REPEAT_HZ`; waits while there is none at all."""
        async with self._changed:
            if frame is None:
                await self._changed.wait_for(lambda: self.frame is not None)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1 / REPEAT_HZ):
                        await self._changed.wait_for(lambda: self.frame is not frame)
            assert self.frame is not None
            return self.frame


async def _pump(source: FrameSource, newest: _Newest) -> None:
    try:
        async for frame in source:
            await newest.put(frame)
    finally:
        await newest.put(None)


class _Track(MediaStreamTrack):
    """The newest picture, stamped with the time of sending."""

    kind = "video"

    def __init__(self, newest: _Newest) -> None:
        super().__init__()
        self._newest = newest
        self._last: Frame | None = None
        self._started_s: float | None = None

    async def recv(self) -> VideoFrame:
        """The next picture; at least `REPEAT_HZ` per second once there is one."""
        if self.readyState != "live":
            raise MediaStreamError
        self._last = await self._newest.other_than(self._last)
        now_s = asyncio.get_running_loop().time()
        if self._started_s is None:
            self._started_s = now_s
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(_even(self._last.rgb)), format="rgb24")
        picture.pts = int((now_s - self._started_s) * _CLOCK_HZ)
        picture.time_base = Fraction(1, _CLOCK_HZ)
        return picture


def _even(rgb: np.ndarray) -> np.ndarray:
    """Without the last row or column where their number is odd: chroma is stored for two by two."""
    height, width = rgb.shape[:2]
    return rgb[: height & ~1, : width & ~1]


def _constant_rate(offer: str) -> str:
    """The offer without abs-send-time, so that nobody estimates our bandwidth and blurs the picture at the start."""
    return "".join(line for line in offer.splitlines(keepends=True) if "abs-send-time" not in line)


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    return host in ("localhost", "::1") or host.startswith("127.")
