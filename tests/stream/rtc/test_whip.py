"""Publishing over HTTP: real aiortc publishers against the real server."""

from __future__ import annotations

import asyncio
import gc
import threading

import httpx
import numpy as np
import pytest
from aiortc import RTCPeerConnection

from stream import peer
from stream.clock import Clock, HandWoundClock
from stream.sources import webrtc
from stream.sources.webrtc import WhipSource
from tests.patience import PATIENCE_S
from tests.stream.rtc.house import House, MovingBox, die, offering, open_house, take_answer, until

SDP = {"Content-Type": "application/sdp"}


async def post(http: httpx.AsyncClient, sdp: str | bytes, path: str = "/whip/phone") -> httpx.Response:
    return await http.post(path, content=sdp, headers=SDP)


async def publish(http: httpx.AsyncClient, connection: RTCPeerConnection, path: str = "/whip/phone") -> str:
    """Becomes the publisher; the address of the session."""
    reply = await post(http, connection.localDescription.sdp, path)
    assert reply.status_code == 201, reply.text
    await take_answer(connection, reply.text)
    return str(reply.headers["Location"])


def client(house: House) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=house.url, timeout=PATIENCE_S)


async def test_a_session_from_offer_to_goodbye() -> None:
    async with open_house() as house, client(house) as http, offering() as publisher:
        source, agent = house.station.source("phone"), house.station.cameras["phone"]
        assert house.station.source("phone").state.state == "waiting"
        reply = await post(http, publisher.localDescription.sdp)
        assert reply.status_code == 201
        assert reply.headers["Content-Type"].startswith("application/sdp")
        assert reply.headers["ETag"].startswith('"')
        session = reply.headers["Location"]
        assert session.startswith("/whip/phone/")
        assert len(session.rsplit("/", 1)[1]) >= 32
        assert "a=recvonly" in reply.text
        assert "a=setup:passive" in reply.text
        await take_answer(publisher, reply.text)
        await until(lambda: len(agent.frames) >= 5)
        assert source.state.state == "online"
        assert source.sessions == house.station.sessions("publisher") == 1
        frame = agent.latest
        assert frame is not None
        assert frame.rgb.shape == (240, 320, 3)
        assert not frame.rgb.flags.writeable
        red = (frame.rgb[..., 0] > 170) & (frame.rgb[..., 1] < 90)
        assert red.sum() == pytest.approx(40 * 40, rel=0.2)  # the box, and nothing else
        times = [time_s for _, time_s in agent.frames]
        assert times == sorted(times)
        for method in ("GET", "HEAD"):
            assert (await http.request(method, session)).status_code == 204
        refused = await http.patch(session, content="a=ice-ufrag:x", headers={"Content-Type": "text/plain"})
        assert refused.status_code == 405
        assert "DELETE" in refused.headers["Allow"]
        assert (await http.delete(session)).status_code == 200
        assert (await http.delete(session)).status_code == 200  # asking twice is no error
        assert (await http.get(session)).status_code == 404
        assert house.station.source("phone").state.state == "waiting"
        assert source.sessions == house.station.sessions("publisher") == 0


async def test_the_endpoint_says_what_it_takes() -> None:
    async with open_house(phone=WhipSource(Clock()), box=MovingBox()) as house, client(house) as http:
        for path in ("/whip/phone", "/phone/whip"):
            reply = await http.options(path)
            assert reply.status_code == 204
            assert reply.headers["Accept-Post"] == "application/sdp"
            told = await http.get(path)
            assert (told.status_code, told.content) == (204, b"")
        listed = (await http.get("/whip")).json()["cameras"]
        assert [camera["id"] for camera in listed] == ["phone"]
        assert listed[0]["state"] == "waiting"
        page = await http.get("/publish")
        assert page.status_code == 200
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert "<script>" not in page.text


async def test_bad_requests_are_problems_without_tracebacks() -> None:
    async with open_house(phone=WhipSource(Clock()), box=MovingBox()) as house, client(house) as http:
        async with offering() as publisher, offering(receive=True) as viewer:
            good, wrong_way = publisher.localDescription.sdp, viewer.localDescription.sdp
        vp9 = good.replace("VP8/90000", "VP9/90000").replace("H264/90000", "AV1/90000")
        cases = [
            (await http.post("/whip/phone", content=good, headers={"Content-Type": "text/plain"}), 415),
            (await http.post("/whip/phone", content=good), 415),
            (await post(http, b""), 400),
            (await post(http, b"\xff\xfe\x00garbage"), 400),
            (await post(http, "no offer"), 400),
            (await post(http, wrong_way), 422),
            (await post(http, vp9), 422),
            (await post(http, good.replace("a=ice-pwd", "a=x-pwd")), 422),
            (await post(http, good, "/whip/nobody"), 404),
            (await post(http, good, "/whip/box"), 409),
            (await http.delete("/whip/phone/guessed"), 404),
            (await http.get("/whip/phone/guessed"), 404),
            (await http.patch("/whip/phone/guessed"), 404),
            (await http.put("/whip/phone"), 405),
        ]
        for reply, status in cases:
            assert reply.status_code == status, reply.text
            assert reply.headers["Content-Type"].startswith("application/problem+json")
            assert reply.json()["detail"]
            assert "Traceback" not in reply.text
            assert ".py" not in reply.text
        assert house.station.source("phone").sessions == 0
        assert b" 413 " in await announce(house, 200 * 1024)


async def announce(house: House, length: int) -> bytes:
    """The first line of the answer to an offer of which only the head is sent."""
    port = int(house.url.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /whip/phone HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/sdp\r\nContent-Length: {length}"
    writer.write(f"{head}\r\n\r\n".encode())
    try:
        return await reader.readline()
    finally:
        writer.close()


async def test_a_session_belongs_to_its_camera() -> None:
    one, two = WhipSource(Clock(), fps=10), WhipSource(Clock(), fps=10)
    async with open_house(one=one, two=two) as house, client(house) as http, offering() as publisher:
        session = await publish(http, publisher, "/one/whip")
        assert session.startswith("/whip/one/")
        stolen = session.replace("/one/", "/two/")
        assert (await http.delete(stolen)).status_code == 404
        await until(lambda: one.state.state == "online")
        assert two.state.state == "waiting"


async def test_a_delivering_publisher_is_not_disturbed_and_a_silent_one_yields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "YIELD_S", PATIENCE_S)  # a busy machine is no silence
    async with open_house() as house, client(house) as http, offering() as first, offering() as second:
        source, agent = house.station.source("phone"), house.station.cameras["phone"]
        await publish(http, first)
        await until(lambda: source.state.state == "online")
        refused = await post(http, second.localDescription.sdp)
        assert refused.status_code == 409
        assert int(refused.headers["Retry-After"]) >= 1
        before_s = agent.frames[-1][1]
        die(first)  # and now it is silent, though nobody knows yet that it is gone
        monkeypatch.setattr(webrtc, "YIELD_S", 0.8)
        await until(lambda: source._publisher is None or source._yields(source._publisher))
        await publish(http, second)
        await until(lambda: agent.frames[-1][1] > before_s + 1.0)
        assert source.state.state == "online"
        assert source.state.reconnects == 1
        assert source.sessions == 1  # never two writers
        indices = [index for index, _ in agent.frames]
        times = [time_s for _, time_s in agent.frames]
        assert indices == sorted(set(indices))
        assert times == sorted(times)
        gap_s = max(np.diff(times))
        assert 0.8 < gap_s < PATIENCE_S  # the time without pictures has passed in media time too


async def test_a_newcomer_that_connects_beside_a_delivering_one_is_sent_away() -> None:
    async with open_house() as house, client(house) as http, offering() as first, offering() as second:
        source = house.station.source("phone")
        replies = [await post(http, peer_.localDescription.sdp) for peer_ in (first, second)]  # both still pending
        assert [reply.status_code for reply in replies] == [201, 201]
        await take_answer(first, replies[0].text)
        await until(lambda: source.state.state == "online")
        await take_answer(second, replies[1].text)
        await until(lambda: source.sessions == 1)
        assert source.state.state == "online"
        assert (await http.get(replies[0].headers["Location"])).status_code == 204
        assert (await http.get(replies[1].headers["Location"])).status_code == 404


async def test_a_publisher_whose_power_goes_is_noticed() -> None:
    source = WhipSource(Clock(), fps=10, stall_s=2)
    async with open_house(phone=source) as house, client(house) as http, offering() as publisher:
        await publish(http, publisher)
        await until(lambda: source.state.state == "online")
        die(publisher)
        await until(lambda: source.state.state == "stalled")
        await until(lambda: source.state.state == "offline")
        assert "vanished" in source.state.reason
        assert source.sessions == 0
        assert source.state.stalls >= 1  # a busy machine may have been silent before
    async with open_house() as house, client(house) as http, offering() as publisher:
        source = house.station.source("phone")
        await publish(http, publisher)
        await until(lambda: source.state.state == "online")
        await publisher.close()  # a goodbye is another thing
        await until(lambda: source.sessions == 0)
        assert source.state.state == "waiting"


async def test_a_flood_of_offers_is_rationed_and_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandWoundClock()  # the ration does not fill up again, however long the flood takes
    source = WhipSource(clock, fps=10, name="phone")
    async with open_house(phone=source) as house, client(house) as http:
        async with offering() as publisher:
            offer = publisher.localDescription.sdp
        replies = await asyncio.gather(*(post(http, offer) for _ in range(50)))
        statuses = [reply.status_code for reply in replies]
        assert statuses.count(201) == source.sessions == webrtc.PENDING_SESSIONS
        assert set(statuses) == {201, 429, 503}
        assert all("Retry-After" in reply.headers for reply in replies if reply.status_code != 201)
        for session in list(source._sessions):
            await source.hang_up(session)
        monkeypatch.setattr(peer, "CONNECT_S", 0.3)
        clock.wind(60)
        assert (await post(http, offer)).status_code == 201
        await until(lambda: source.sessions == 0)  # it never connects, and nobody hangs up
        assert source.state.state == "waiting"


async def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "OFFERS_BURST", 100)

    async def rounds(count: int) -> None:
        async with open_house() as house, client(house) as http:
            source = house.station.source("phone")
            for index in range(count):
                async with offering() as publisher:
                    session = await publish(http, publisher)
                    await until(lambda: source.state.state == "online")
                    if index % 2:
                        await http.delete(session)
                    else:
                        await publisher.close()
                    await until(lambda: source.sessions == 0)

    def living() -> tuple[int, int, int]:
        gc.collect()
        peers = sum(isinstance(thing, RTCPeerConnection) for thing in gc.get_objects())
        decoders = sum(thread.name.endswith("-decoder") for thread in threading.enumerate())
        return peers, decoders, len(asyncio.all_tasks())

    await rounds(1)
    before = living()
    await rounds(4)
    await asyncio.sleep(0.1)
    assert living() == before
    assert before[1] == 0
