"""Watching over HTTP: real aiortc viewers of a camera that is a moving box."""

from __future__ import annotations

import asyncio

import httpx
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection
from av import VideoFrame

from stream import peer
from stream.http import whep
from stream.http.whep import yuv
from tests.patience import PATIENCE_S
from tests.stream.rtc.house import House, MovingBox, die, offering, open_house, take_answer, until

SDP = {"Content-Type": "application/sdp"}


async def watch(http: httpx.AsyncClient, viewer: RTCPeerConnection) -> tuple[str, MediaStreamTrack]:
    reply = await http.post("/whep/box", content=viewer.localDescription.sdp, headers=SDP)
    assert reply.status_code == 201, reply.text
    assert "a=sendonly" in reply.text
    await take_answer(viewer, reply.text)
    return reply.headers["Location"], viewer.getReceivers()[0].track


def client(house: House) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=house.url, timeout=PATIENCE_S)


async def picture(track: MediaStreamTrack) -> np.ndarray:
    async with asyncio.timeout(PATIENCE_S):
        frame = await track.recv()
    assert isinstance(frame, VideoFrame)
    return frame.to_ndarray(format="rgb24")


def box_left(rgb: np.ndarray) -> float:
    red = (rgb[..., 0] > 170) & (rgb[..., 1] < 90)
    assert red.sum() > 800, "the box is not in the picture"
    return float(np.nonzero(red)[1].min())


async def test_viewers_see_the_camera_move_and_share_its_feed() -> None:
    async with open_house(box=MovingBox()) as house, client(house) as http:
        async with offering(receive=True) as one, offering(receive=True) as two:
            (session, first), (_, second) = await watch(http, one), await watch(http, two)
            pictures = [await picture(first) for _ in range(8)]
            assert pictures[0].shape == (240, 320, 3)
            assert box_left(pictures[-1]) != box_left(pictures[0])
            assert box_left(await picture(second)) >= 0
            assert len(house.viewers) == house.station.sessions("viewer") == 2
            feed = house.viewers._feeds["box"]
            assert feed.viewers == 2
            assert feed.conversions <= feed.number  # one conversion per picture, however many look
            assert (await http.get(session)).status_code == 204
            assert (await http.delete(session)).status_code == 200
            assert (await http.delete(session)).status_code == 404
            assert len(house.viewers) == 1
        await until(lambda: len(house.viewers) == 0)
        assert house.station.sessions("viewer") == 0
        assert not house.viewers._feeds


async def test_dead_and_silent_viewers_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        open_house(box=MovingBox()) as house,
        client(house) as http,
        offering(receive=True) as viewer,
        offering(receive=True) as silent,
    ):
        _, track = await watch(http, viewer)
        await picture(track)
        monkeypatch.setattr(peer, "CONNECT_S", 1.0)  # for who comes now: the first one is connected
        reply = await http.post("/whep/box", content=silent.localDescription.sdp, headers=SDP)
        assert reply.status_code == 201
        assert len(house.viewers) == 2
        await until(lambda: len(house.viewers) == 1)
        die(viewer)
        await until(lambda: len(house.viewers) == 0)


async def test_there_is_a_bound_and_bad_offers_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whep, "VIEWERS_PER_CAMERA", 2)
    async with open_house(box=MovingBox()) as house, client(house) as http:
        async with offering(receive=True) as viewer, offering() as publisher:
            good, wrong_way = viewer.localDescription.sdp, publisher.localDescription.sdp
        statuses = [(await http.post("/whep/box", content=good, headers=SDP)).status_code for _ in range(3)]
        assert statuses == [201, 201, 503]
        cases = [
            (await http.post("/whep/nobody", content=good, headers=SDP), 404),
            (await http.post("/box/whep", content=b"{}", headers={"Content-Type": "application/json"}), 415),
            (await http.post("/box/whep", content=b"v=1", headers=SDP), 503),  # full is said before the offer is read
            (await http.delete("/whep/box/guessed"), 404),
        ]
        for reply, status in cases:
            assert reply.status_code == status, reply.text
            assert "Traceback" not in reply.text
    async with open_house(box=MovingBox()) as house, client(house) as http:
        for body, status in ((b"v=1", 400), (wrong_way, 422)):
            assert (await http.post("/whep/box", content=body, headers=SDP)).status_code == status
        assert len(house.viewers) == 0
        assert not house.viewers._feeds


async def test_viewers_do_not_keep_the_service_from_ending() -> None:
    async with offering(receive=True) as viewer:
        async with open_house(box=MovingBox()) as house, client(house) as http:
            _, track = await watch(http, viewer)
            await picture(track)
        await until(lambda: len(house.viewers) == 0)


@pytest.mark.parametrize(
    ("width", "height", "size"), [(320, 240, (240, 320)), (321, 241, (240, 320)), (2560, 1440, (720, 1280))]
)
def test_pictures_are_shrunk_to_even_sizes(width: int, height: int, size: tuple[int, int]) -> None:
    planes = yuv(np.full((height, width, 3), (200, 30, 30), np.uint8))
    assert planes.shape == (size[0] * 3 // 2, size[1])
    back = VideoFrame.from_ndarray(planes, format="yuv420p").to_ndarray(format="rgb24")
    assert np.abs(back.astype(int) - (200, 30, 30)).max() < 12
