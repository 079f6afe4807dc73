"""A small house for the WebRTC tests: real servers and peers around a station that only looks at its cameras."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from av import VideoFrame
from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from stream import peer
from stream.clock import Clock
from stream.flow import CameraState, Frame
from stream.http import problems, whip
from stream.http.limits import Limits, Rules
from stream.http.server import serving
from stream.http.signalling import signalling_routes
from stream.http.whep import Viewers
from stream.meters import Meters
from stream.ports import FrameSource
from stream.sources.webrtc import WhipSource
from tests.patience import PATIENCE_S


@dataclass(eq=False)
class Watcher:
    """What the routes need of an agent."""

    camera: str
    source: FrameSource
    latest: Frame | None = None
    frames: list[tuple[int, float]] = field(default_factory=list)

    async def watch(self) -> None:
        async for frame in self.source:
            self.latest = frame
            self.frames.append((frame.index, frame.time_s))


class Station:
    """What the routes need of a station."""

    def __init__(self, **sources: FrameSource) -> None:
        self.cameras = {name: Watcher(name, source) for name, source in sources.items()}
        self.meters = Meters()

    def sessions(self, role: str) -> float | None:
        """What the metrics say."""
        return self.meters.registry.get_sample_value("longwatch_webrtc_sessions", {"role": role})

    def source(self, name: str) -> WhipSource:
        source = self.cameras[name].source
        assert isinstance(source, WhipSource)
        return source


@dataclass(eq=False)
class House:
    url: str
    station: Station
    viewers: Viewers


@contextlib.asynccontextmanager
async def open_house(*, hosts: frozenset[str] = frozenset(), **sources: FrameSource) -> AsyncIterator[House]:
    station = Station(**sources or {"phone": WhipSource(Clock(), fps=10, stall_s=PATIENCE_S, name="phone")})
    app = FastAPI()
    app.state.closing = asyncio.Event()
    problems.install(app)
    viewers = Viewers(cast("Any", station))
    app.include_router(whip.whip_routes(cast("Any", station)))
    app.include_router(signalling_routes("whep", viewers))
    app.mount("/page", StaticFiles(directory=Path(whip.__file__).parent / "page"))
    app.add_middleware(Limits, rules=Rules(hosts=hosts))
    async with serving(app, "127.0.0.1:0") as url, asyncio.TaskGroup() as group:
        tasks = [group.create_task(agent.watch()) for agent in station.cameras.values()]
        try:
            yield House(url, station, viewers)
        finally:
            for task in tasks:
                task.cancel()
            for agent in station.cameras.values():
                await agent.source.aclose()


async def until(holds: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Wait for something to become true; fails the test when it does not."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110  (what is waited for is seen only from outside)
            await asyncio.sleep(0.02)


class MovingBox:
    """A known picture: a red box that moves to the right on a textured ground, 15 pictures per second, for ever."""

    def __init__(self, width: int = 320, height: int = 240, fps: float = 15.0, seconds: float = 1e9) -> None:
        self.width, self.height, self.fps, self.seconds = width, height, fps, seconds
        self.closed = False
        self.shown = 0
        self._ground = np.random.default_rng(7).integers(60, 120, (height // 8, width // 8, 3), dtype=np.uint8)
        self._ground = self._ground.repeat(8, 0).repeat(8, 1)

    @property
    def state(self) -> CameraState:
        return CameraState("online", 0.0)

    def picture(self, index: int) -> np.ndarray:
        rgb = self._ground.copy()
        left = 4 * index % (self.width - 40)
        rgb[100:140, left : left + 40] = (220, 30, 30)
        return rgb

    async def __aiter__(self) -> AsyncIterator[Frame]:
        loop = asyncio.get_running_loop()
        start_s, index = loop.time(), 0
        while index / self.fps < self.seconds and not self.closed:
            await asyncio.sleep(start_s + index / self.fps - loop.time())
            yield Frame(index, index / self.fps, loop.time(), self.picture(index))
            index = self.shown = index + 1

    async def aclose(self) -> None:
        self.closed = True


class BoxTrack(MediaStreamTrack):
    """`MovingBox` as an aiortc track."""

    kind = "video"

    def __init__(self, box: MovingBox | None = None) -> None:
        super().__init__()
        self._box = box or MovingBox()
        self._index = 0

    async def recv(self) -> VideoFrame:
        await asyncio.sleep(1 / self._box.fps)
        frame = VideoFrame.from_ndarray(self._box.picture(self._index), format="rgb24")
        frame.pts, frame.time_base = self._index * int(90000 / self._box.fps), Fraction(1, 90000)
        self._index += 1
        return frame


@contextlib.asynccontextmanager
async def offering(*, track: MediaStreamTrack | None = None, receive: bool = False) -> AsyncIterator[RTCPeerConnection]:
    """A peer with a local offer: a publisher of a moving box, or a viewer."""
    connection = peer.new_peer(loopback=True)
    try:
        if receive:
            connection.addTransceiver("video", "recvonly")
        else:
            connection.addTransceiver(track or BoxTrack(), "sendonly")
        await connection.setLocalDescription(await connection.createOffer())
        yield connection
    finally:
        await connection.close()


async def take_answer(connection: RTCPeerConnection, sdp: str) -> None:
    await connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))


def die(connection: RTCPeerConnection) -> None:
    """As when the power goes: no goodbye on any layer, no answer any more."""
    for transceiver in connection.getTransceivers():
        for protocol in transceiver.receiver.transport.transport._connection._protocols:
            protocol.transport.abort()
