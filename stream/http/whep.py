"""WHEP out: `POST /whep/{camera}` lets a browser watch what the camera's agent sees, as VP8 or H.264.

The frames are the agent's own newest ones, so the preview shows what an answer can know. All viewers of a camera share
one feed that shrinks and converts a frame once; encoding is per viewer, because each has its own bandwidth and losses.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame
from fastapi import APIRouter, Request

from stream import peer
from stream.clock import Clock
from stream.http.problems import Problem
from stream.http.signalling import signalling_routes
from stream.offers import OfferRefused, Ration, checked_offer

if TYPE_CHECKING:
    from stream.agent import Agent
    from stream.flow import Frame
    from stream.station import Station

VIEWERS, VIEWERS_PER_CAMERA = 24, 8
OFFERS_BURST, OFFERS_PER_S = 20, 4.0
LOOK_S = 1 / 15  # how often a feed looks for a newer frame, s
REPEAT_S = 0.5  # how long a still picture rests before it is sent again, s: a viewer's first picture waits for it
LONG_SIDE = 1280
_CLOCK_HZ = 90_000

log = logging.getLogger(__name__)


def whep_routes(station: Station) -> APIRouter:
    """The WHEP endpoints of the station's cameras."""
    return signalling_routes("whep", Viewers(station))


@dataclass(slots=True, eq=False)
class Viewer:
    """One viewer's session."""

    id: str
    camera: str
    answer_sdp: str = ""
    etag: str = ""
    task: asyncio.Task[None] | None = None


class Viewers:
    """All viewers of a station, and one feed per watched camera."""

    def __init__(self, station: Station, clock: Clock | None = None) -> None:
        self._station = station
        self._clock = clock or Clock()
        self._ration = Ration(self._clock, OFFERS_BURST, OFFERS_PER_S)
        self._feeds: dict[str, Feed] = {}
        self._viewers: dict[str, Viewer] = {}
        station.meters.webrtc_sessions.labels("viewer").set_function(self.__len__)

    def __len__(self) -> int:
        return len(self._viewers)

    def check(self, camera: str) -> None:
        """Raises `Problem` 404."""
        if camera not in self._station.cameras:
            raise Problem(404, "unknown_camera", "There is no such camera.")

    def knows(self, camera: str, session_id: str) -> bool:
        """Whether this viewer watches this camera."""
        viewer = self._viewers.get(session_id)
        return viewer is not None and viewer.camera == camera

    async def accept(self, request: Request, camera: str, offer_sdp: str, /, *, loopback: bool) -> Viewer:
        """Answer a viewer's offer; it has `peer.CONNECT_S` to connect. Raises `OfferRefused`."""
        self._check_admission(camera)
        offer = checked_offer(offer_sdp, "receives")
        viewer = Viewer(secrets.token_urlsafe(24), camera, etag=f'"{secrets.token_hex(8)}"')
        self._viewers[viewer.id] = viewer
        feed = self._feeds.setdefault(camera, Feed(self._station.cameras[camera], self._clock))
        connection = peer.new_peer(loopback=loopback)
        feed.open()
        try:
            viewer.answer_sdp = await peer.answer(connection, offer, lambda pc: _send(pc, FeedTrack(feed)))
        except BaseException:
            await self._forget(viewer, feed, connection)
            raise
        closing = getattr(request.app.state, "closing", None) or asyncio.Event()
        viewer.task = asyncio.create_task(self._serve(viewer, feed, connection, closing), name="whep-viewer")
        return viewer

    async def hang_up(self, camera: str, session_id: str) -> bool:
        """End a viewer's session; False when there is none."""
        if not self.knows(camera, session_id):
            return False
        task = self._viewers[session_id].task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        return True

    def _check_admission(self, camera: str) -> None:
        wait_s = self._ration.take()
        if wait_s > 0:
            raise OfferRefused(429, "too_many_offers", "Too many viewers come at once; slow down.", wait_s)
        here = sum(viewer.camera == camera for viewer in self._viewers.values())
        if here >= VIEWERS_PER_CAMERA or len(self._viewers) >= VIEWERS:
            raise OfferRefused(503, "too_many_viewers", "Too many watch already; try again later.", peer.CONNECT_S)

    async def _serve(self, viewer: Viewer, feed: Feed, connection: RTCPeerConnection, closing: asyncio.Event) -> None:
        """A viewer's whole life after the answer: until it leaves, dies, or the service closes."""
        connected, over = asyncio.Event(), asyncio.Event()

        def changed() -> None:
            if connection.connectionState == "connected":
                connected.set()
            elif connection.connectionState in ("failed", "closed"):
                over.set()

        connection.on("connectionstatechange", changed)
        changed()
        try:
            async with asyncio.timeout(peer.CONNECT_S):
                await connected.wait()
            await _first_of(over.wait(), closing.wait())
        except TimeoutError:
            log.info("A viewer did not connect within %.0f s.", peer.CONNECT_S)
        finally:
            await asyncio.shield(self._forget(viewer, feed, connection))

    async def _forget(self, viewer: Viewer, feed: Feed, connection: RTCPeerConnection) -> None:
        if self._viewers.pop(viewer.id, None) is None:
            return
        feed.close()
        if not feed.viewers and self._feeds.get(viewer.camera) is feed:
            del self._feeds[viewer.camera]
        await connection.close()


class Feed:
    """The newest picture of one camera, ready for encoders, while anybody watches."""

    def __init__(self, agent: Agent, clock: Clock) -> None:
        self._agent, self._clock = agent, clock
        self._task: asyncio.Task[None] | None = None
        self._news: asyncio.Future[None] | None = None
        self.viewers = 0
        self.number = 0  # of the newest picture; 0: none yet
        self.picture: np.ndarray | None = None  # (3/2 H, W) uint8, planar YUV 4:2:0
        self.conversions = 0

    def open(self) -> None:
        """One viewer more."""
        self.viewers += 1
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"feed-{self._agent.camera}")

    def close(self) -> None:
        """One viewer less; the last one stops the feed."""
        self.viewers -= 1
        if self.viewers == 0 and self._task is not None:
            self._task.cancel()
            self._task = None

    async def newer_than(self, number: int) -> tuple[int, np.ndarray]:
        """The newest picture and its number, as soon as there is one with a higher number."""
        while self.picture is None or self.number <= number:
            if self._news is None:
                self._news = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._news)
        return self.number, self.picture

    async def _run(self) -> None:
        seen: Frame | None = None
        told_s = 0.0
        while True:
            newest = self._agent.latest
            if newest is not None and newest is not seen:
                seen = newest
                self.picture = await asyncio.to_thread(yuv, newest.rgb)
                self.conversions += 1
                told_s = self._tell()
            elif self.picture is not None and self._clock.now_s() - told_s >= REPEAT_S:
                told_s = self._tell()
            await self._clock.sleep(LOOK_S)

    def _tell(self) -> float:
        self.number += 1
        if self._news is not None:
            self._news.set_result(None)
            self._news = None
        return self._clock.now_s()


class FeedTrack(MediaStreamTrack):
    """A viewer's place at a feed: each `recv` gives the newest picture that this viewer has not had."""

    kind = "video"

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed
        self._number = 0
        self._started_s: float | None = None

    async def recv(self) -> VideoFrame:
        """The next picture; waits for one."""
        if self.readyState != "live":
            raise MediaStreamError
        self._number, picture = await self._feed.newer_than(self._number)
        now_s = asyncio.get_running_loop().time()
        if self._started_s is None:
            self._started_s = now_s
        frame = VideoFrame.from_ndarray(picture, format="yuv420p")  # a copy: the encoder writes into the frame's header
        frame.pts = int((now_s - self._started_s) * _CLOCK_HZ)
        frame.time_base = Fraction(1, _CLOCK_HZ)
        return frame


def yuv(rgb: np.ndarray, long_side: int = LONG_SIDE) -> np.ndarray:
    """(H, W, 3) sRGB to (3/2 h, w) planar YUV 4:2:0 with even sides of at most `long_side`."""
    height, width = rgb.shape[:2]
    scale = min(1.0, long_side / max(height, width))
    width, height = max(2, int(width * scale) & ~1), max(2, int(height * scale) & ~1)
    picture = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    return picture.reformat(width=width, height=height, format="yuv420p").to_ndarray()


def _send(connection: RTCPeerConnection, track: MediaStreamTrack) -> None:
    connection.addTrack(track)
    for transceiver in connection.getTransceivers():
        transceiver.direction = "sendonly" if transceiver.kind == "video" else "inactive"


async def _first_of(*waits: Any) -> None:
    """Until one of them is over; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
