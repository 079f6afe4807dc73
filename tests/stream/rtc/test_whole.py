"""The whole way with the real agent and the real app: published, remembered, asked about, watched, and let go."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx
import numpy as np
from aiortc import RTCPeerConnection

from stream.clock import Clock
from stream.config import parse
from stream.http.app import make_app
from stream.http.server import serving
from stream.publisher import publish
from stream.sources.webrtc import WhipSource
from tests.fakes import fake_station, seen
from tests.patience import PATIENCE_S
from tests.stream.rtc.house import MovingBox, offering, take_answer, until

CONFIG = "cameras: {phone: {source: whip}}"
SDP = {"Content-Type": "application/sdp"}


async def first_picture(http: httpx.AsyncClient, viewer: RTCPeerConnection) -> np.ndarray:
    reply = await http.post("/whep/phone", content=viewer.localDescription.sdp, headers=SDP)
    assert reply.status_code == 201, reply.text
    await take_answer(viewer, reply.text)
    async with asyncio.timeout(PATIENCE_S):
        frame = await viewer.getReceivers()[0].track.recv()
    picture: np.ndarray = frame.to_ndarray(format="rgb24")
    return picture


async def test_a_published_camera_is_remembered_asked_and_watched(tmp_path: Path) -> None:
    source = WhipSource(Clock(), fps=10, name="phone")
    station_is = fake_station(tmp_path, ["phone"], show=None, sources={"phone": source})
    async with station_is as (station, _), serving(make_app(station, parse(CONFIG)), "127.0.0.1:0") as url:
        publishing = asyncio.create_task(publish(MovingBox(), f"{url}/whip/phone"))
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as http, offering(receive=True) as viewer:
            assert await seen(station, "phone", 3)
            states = {camera["id"]: camera["state"] for camera in (await http.get("/whip")).json()["cameras"]}
            assert states == {"phone": "online"}
            picture = await first_picture(http, viewer)
            assert picture.shape == (240, 320, 3)
            red = (picture[..., 0] > 170) & (picture[..., 1] < 90)
            assert red.sum() > 800
            body = {"model": "phone", "messages": [{"role": "user", "content": "what colour?"}]}
            reply = await http.post("/v1/chat/completions", json=body)
            assert reply.status_code == 200, reply.text
            page = await http.get("/publish")
            for name in ("publish.js", "publish.css", "style.css", "api.js", "dom.js", "words.js"):
                assert (await http.get(f"/page/{name}")).status_code == 200
            assert page.headers["Content-Security-Policy"].count("unsafe") == 0
            publishing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await publishing
            await until(lambda: station.cameras["phone"].state.state == "waiting")
    assert source.sessions == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("whip", "whep", "feed", "publish"))]
