"""Cameras: list, pictures, memory."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
from PIL import Image

from stream.http.pictures import WATCHERS, Pictures
from stream.http.problems import Problem
from stream.wire import rfc3339, wall_of
from tests.fakes import COLOURS, colour_of, seen
from tests.stream.http.conftest import House, Opening, calm, until


def colour(jpeg: bytes) -> str:
    return colour_of(np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")))


@calm
async def test_list_tells_state_and_picture_and_no_secret(calm_house: House):
    told = (await calm_house.http.get("/api/v1/cameras")).json()
    front, back = told["cameras"]
    assert (front["id"], front["name"], back["name"]) == ("front", "Front door", "back")
    assert front["status"]["state"] == "online" and front["picture"]["width"] == 32
    assert front["source"].startswith("rtsp://***@192.0.2.1/stream1") and "canary" not in front["source"]
    assert told["stale_after_ms"] == 600_000
    assert (await calm_house.http.get("/api/v1/cameras/front")).json()["id"] == "front"


@calm
async def test_unknown_camera_is_404_and_names_the_known_ones(calm_house: House):
    for path in ("", "/snapshot.jpg", "/live.mjpg", "/memory", "/thumbnail.jpg?time=2026-01-01T00:00:00Z"):
        reply = await calm_house.http.get(f"/api/v1/cameras/nobody{path}")
        assert reply.status_code == 404 and reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["code"] == "camera_not_found" and "front" in reply.json()["detail"]


async def test_snapshot_is_the_newest_frame_with_its_age(house: House):
    house.parts.sources["front"].show("blue")
    assert await seen(house.station, "front", 2)
    reply = await house.http.get("/api/v1/cameras/front/snapshot.jpg")
    assert reply.status_code == 200 and reply.headers["content-type"] == "image/jpeg"
    assert colour(reply.content) == "blue"
    agent = house.station.cameras["front"]
    assert agent.latest is not None
    assert wall_of(reply.headers["x-frame-timestamp"]) == pytest.approx(agent.epoch.wall(agent.latest.time_s), abs=0.01)
    assert 0 <= int(reply.headers["x-frame-age-ms"]) < 600_000
    small = await house.http.get("/api/v1/cameras/front/snapshot.jpg?width=16")
    assert Image.open(io.BytesIO(small.content)).width == 32  # never scaled up


async def test_snapshot_is_503_before_the_first_frame_and_when_stale(open_house: Opening):
    async with open_house(show=None) as house:
        reply = await house.http.get("/api/v1/cameras/front/snapshot.jpg")
        assert reply.status_code == 503 and reply.json()["code"] == "no_frames"
        shown = house.parts.sources["front"].show("red")
        assert await seen(house.station, "front", 1)
        old = type(shown)(shown.index, shown.time_s, shown.arrived_s - 3600, shown.rgb)
        house.station.cameras["front"].latest = old
        reply = await house.http.get("/api/v1/cameras/front/snapshot.jpg")
        assert reply.status_code == 503 and reply.json()["code"] == "stale"
        assert int(reply.headers["x-frame-age-ms"]) > 3_500_000 and "retry-after" in reply.headers


async def test_thumbnail_is_the_nearest_kept_picture(house: House):
    source, agent = house.parts.sources["front"], house.station.cameras["front"]
    for frames, (time_s, shown) in enumerate([(10.0, "green"), (20.0, "blue")], start=2):
        source.show(shown, time_s)
        assert await seen(house.station, "front", frames)
    await until(lambda: agent.album.span_s and agent.album.span_s[1] == 20.0)
    for time_s, shown in ((-5.0, "red"), (11.0, "green"), (30.0, "blue")):
        reply = await house.http.get(
            "/api/v1/cameras/front/thumbnail.jpg", params={"time": rfc3339(agent.epoch.wall(time_s))}
        )
        assert reply.status_code == 200 and colour(reply.content) == shown
    assert wall_of(reply.headers["x-frame-timestamp"]) == pytest.approx(agent.epoch.wall(20.0), abs=0.01)
    far = {"time": rfc3339(agent.epoch.wall(500.0))}
    assert (await house.http.get("/api/v1/cameras/front/thumbnail.jpg", params=far)).json()["code"] == "no_picture"
    near = far | {"within_s": "1000"}
    assert (await house.http.get("/api/v1/cameras/front/thumbnail.jpg", params=near)).status_code == 200


@calm
@pytest.mark.parametrize("time", ["yesterday", "2026-01-01T00:00:00", "", "9" * 60])
async def test_a_time_that_is_none_is_a_400(calm_house: House, time: str):
    reply = await calm_house.http.get("/api/v1/cameras/front/thumbnail.jpg", params={"time": time})
    assert reply.status_code == 400 and reply.json()["code"] == "bad_time"


async def test_memory_tells_blocks_tokens_and_budget(house: House):
    told = (await house.http.get("/api/v1/cameras/front/memory")).json()
    assert told["camera"] == "front" and told["tokens_by_state"] == {"hot": 4}
    assert told["bytes"] == 64 and told["budget_bytes"] == 64_000
    block = told["blocks"][0]
    assert (block["state"], block["frames"], block["reason"]) == ("hot", 1, "all of it")


async def test_live_mjpeg_shows_each_new_frame_and_ends_with_its_reader(house: House):
    parts: list[bytes] = []
    async with house.http.stream("GET", "/api/v1/cameras/front/live.mjpg") as reply:
        assert reply.headers["content-type"] == "multipart/x-mixed-replace; boundary=longwatch-frame"
        held = b""
        async for chunk in reply.aiter_bytes():
            held += chunk
            while held.count(b"--longwatch-frame\r\n") > 1:
                _, part, held = held.split(b"--longwatch-frame\r\n", 2)
                held = b"--longwatch-frame\r\n" + held
                parts.append(part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n"))
            if parts and len(parts) <= 2 and held == b"--longwatch-frame\r\n":
                house.parts.sources["front"].show(list(COLOURS)[len(parts)])
            if len(parts) == 3:
                break
    assert [colour(part) for part in parts] == ["red", "green", "blue"]


async def test_pictures_are_made_once_for_all_and_watchers_are_counted(house: House):
    pictures, agent = Pictures(), house.station.cameras["front"]
    await asyncio.gather(*(pictures.newest(agent, 320) for _ in range(20)))
    assert pictures.made == 1
    watchers = [pictures.parts(agent, 320) for _ in range(WATCHERS)]
    for watcher in watchers:
        pictures.check_room()
        assert await anext(watcher)
    with pytest.raises(Problem) as full:
        pictures.check_room()
    assert full.value.status == 503
    for watcher in watchers:
        await watcher.aclose()  # type: ignore[attr-defined]
    pictures.check_room()
    assert pictures.watchers == 0
