"""Every route stands in this table with a request and its status; a new one without an entry fails here."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from starlette.routing import Route

from stream.clock import HandWoundClock
from stream.sources.states import Counts
from tests.stream.http.conftest import House, Opening, calm, sse, until

ASK = {"question": "What?"}
CHAT = {"model": "front", "messages": [{"role": "user", "content": "What?"}]}
STAMP = "2026-01-01T00:00:00Z"
# (method, route): (path to try, JSON body, status). Streams that never end are tried in their own tests: status None.
ROUTES: dict[tuple[str, str], tuple[str, Any, int | None]] = {
    ("GET", "/"): ("/", None, 200),
    ("HEAD", "/"): ("/", None, 200),
    ("GET", "/docs"): ("/docs", None, 200),
    ("HEAD", "/docs"): ("/docs", None, 200),
    ("GET", "/page/{name}"): ("/page/publish.js", None, 200),
    ("HEAD", "/page/{name}"): ("/page/main.js", None, 200),
    ("GET", "/healthz"): ("/healthz", None, 200),
    ("GET", "/readyz"): ("/readyz", None, 200),
    ("GET", "/metrics"): ("/metrics", None, 200),
    ("GET", "/version"): ("/version", None, 200),
    ("GET", "/api/config/schema.json"): ("/api/config/schema.json", None, 200),
    ("GET", "/v1/models"): ("/v1/models", None, 200),
    ("GET", "/v1/models/{model:path}"): ("/v1/models/front", None, 200),
    ("POST", "/v1/chat/completions"): ("/v1/chat/completions", CHAT, 200),
    ("GET", "/api/v1/cameras"): ("/api/v1/cameras", None, 200),
    ("GET", "/api/v1/cameras/{camera}"): ("/api/v1/cameras/front", None, 200),
    ("GET", "/api/v1/cameras/{camera}/snapshot.jpg"): ("/api/v1/cameras/front/snapshot.jpg", None, 200),
    ("GET", "/api/v1/cameras/{camera}/live.mjpg"): ("/api/v1/cameras/front/live.mjpg", None, None),
    ("GET", "/api/v1/cameras/{camera}/thumbnail.jpg"): (f"/api/v1/cameras/front/thumbnail.jpg?time={STAMP}", None, 404),
    ("GET", "/api/v1/cameras/{camera}/memory"): ("/api/v1/cameras/front/memory", None, 200),
    ("POST", "/api/v1/cameras/{camera}/ask"): ("/api/v1/cameras/front/ask", ASK, 200),
    ("GET", "/api/v1/questions"): ("/api/v1/questions", None, 200),
    ("GET", "/api/v1/questions/{question}"): ("/api/v1/questions/nobody", None, 404),
    ("GET", "/api/v1/events"): ("/api/v1/events", None, 200),
    ("GET", "/api/v1/events/stream"): ("/api/v1/events/stream", None, None),
    ("GET", "/publish"): ("/publish", None, 200),
    ("GET", "/openapi.json"): ("/openapi.json", None, 200),
    ("HEAD", "/openapi.json"): ("/openapi.json", None, 200),
    ("GET", "/whip"): ("/whip", None, 200),
}
# `back` is no WHIP camera here (its source is a script), hence 409; wire behaviour is tested in tests/stream/rtc.
for kind, known in (("whip", 409), ("whep", 204)):
    for path, address in ((f"/{kind}/{{camera}}", f"/{kind}/back"), (f"/{{camera}}/{kind}", f"/back/{kind}")):
        ROUTES[("POST", path)] = (address, {}, 409 if kind == "whip" else 415)
        for method in ("GET", "HEAD", "OPTIONS"):
            ROUTES[(method, path)] = (address, None, known)
    session, gone = f"/{kind}/{{camera}}/{{session}}", 409 if kind == "whip" else 404
    for method, status in (("GET", gone), ("HEAD", gone), ("OPTIONS", 204), ("PATCH", gone), ("DELETE", gone)):
        ROUTES[(method, session)] = (f"/{kind}/back/x", None, status)


def routes_of(house: House) -> set[tuple[str, str]]:
    def walk(routes: list[Any]) -> set[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        for route in routes:
            if isinstance(route, Route):
                found |= {(method, route.path) for method in route.methods or ()}
            else:
                found |= walk(route.original_router.routes)
        return found

    return walk(house.app.routes)


@calm
async def test_every_route_is_in_the_table_and_nothing_else(calm_house: House):
    assert routes_of(calm_house) == set(ROUTES)


@calm
@pytest.mark.parametrize(("method", "route"), sorted(ROUTES))
async def test_route(calm_house: House, method: str, route: str):
    path, body, status = ROUTES[(method, route)]
    async with calm_house.http.stream(method, path, json=body) as reply:
        if status is None:
            assert reply.status_code == 200
            assert await anext(reply.aiter_bytes())
            return
        text = (await reply.aread()).decode(errors="replace")
    assert reply.status_code == status, text
    assert "canary" not in text and "canary" not in str(reply.headers)


@calm
async def test_nothing_that_is_produced_names_a_secret(calm_house: House):
    path = "/api/v1/cameras/front/ask"
    produced = [(await calm_house.http.post(path, json={"question": text})).text for text in ("What?", "fail")]
    paths = (
        "/api/v1/cameras",
        "/api/v1/events?limit=1000",
        "/api/v1/questions",
        "/metrics",
        "/readyz",
        "/openapi.json",
    )
    produced += [(await calm_house.http.get(path)).text for path in paths]
    assert all(len(text) > 50 for text in produced) and not any("canary" in text for text in produced)


@calm
async def test_the_api_describes_itself(calm_house: House):
    api = (await calm_house.http.get("/openapi.json")).json()
    ask = api["paths"]["/api/v1/cameras/{camera}/ask"]["post"]
    fields = ask["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert {"question", "window_s", "from", "to", "timeout_s"} <= set(fields)
    assert "$ref" not in json.dumps(ask["requestBody"])
    for path, methods in api["paths"].items():
        for method, route in methods.items():
            assert route.get("summary"), f"{method} {path} has no summary"


async def test_readiness_names_each_part(house: House):
    told = (await house.http.get("/readyz")).json()
    assert told["ready"] and {"questions", "model", "journal", "cameras", "config", "camera:front"} <= set(
        told["components"]
    )
    house.parts.sources["front"].become("offline", "No route to host.")
    told = (await house.http.get("/readyz")).json()
    front = told["components"]["camera:front"]
    assert told["ready"] and not front["ok"] and not front["required"] and "No route" in front["detail"]
    house.app.state.closing.set()
    reply = await house.http.get("/readyz")
    assert reply.status_code == 503 and reply.json()["components"]["server"]["ok"] is False
    house.app.state.closing.clear()


@calm
async def test_metrics_and_version(calm_house: House):
    await calm_house.http.post("/api/v1/cameras/front/ask", json={"question": "What?"})
    text = (await calm_house.http.get("/metrics")).text
    assert 'longwatch_question_total{outcome="ok",source="http"} ' in text and "longwatch_build_info" in text
    assert (await calm_house.http.get("/version")).json()["model"] == "echo"
    schema = (await calm_house.http.get("/api/config/schema.json")).json()
    assert "cameras" in schema["properties"]


@calm
async def test_page_files_are_cached_by_content(calm_house: House):
    first = await calm_house.http.get("/page/style.css")
    assert first.headers["content-type"] == "text/css; charset=utf-8" and first.headers["cache-control"] == "no-cache"
    again = await calm_house.http.get("/page/style.css", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and not again.content


@calm
async def test_pages_bring_no_code_inline_and_nothing_from_elsewhere(calm_house: House):
    for path in ("/", "/docs", "/publish"):
        text = (await calm_house.http.get(path)).text
        assert "<script>" not in text and "onclick=" not in text and "style=" not in text
        assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text


def test_sse_reader_of_these_tests():
    assert sse(": hi\n\nevent: a\ndata: 1\n\ndata: 2\n\n") == [{"event": "a", "data": "1"}, {"data": "2"}]


async def test_the_devices_queue_is_measured_when_it_is_asked_for(house: House):
    async def waiting() -> float:
        text = (await house.http.get("/metrics")).text
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("longwatch_device_queue"))

    house.parts.encoder.gate = threading.Event()
    try:
        house.parts.sources["front"].show("green")  # its turn holds the device
        asked = [asyncio.create_task(house.station.cameras["front"].holdings()) for _ in range(3)]
        await until(lambda: house.station.device.depth >= 2)
        assert await waiting() >= 2
    finally:
        house.parts.encoder.gate.set()
    await asyncio.gather(*asked)
    await until(lambda: house.station.device.depth == 0)


async def test_what_a_camera_lost_is_measured_every_second(open_house: Opening):
    clock = HandWoundClock()
    async with open_house(clock=clock) as house:
        house.parts.sources["front"].counts = Counts(errors=7)  # type: ignore[attr-defined]
        before = len(house.station.cameras["front"].ticks)
        clock.wind(1.0)
        await until(lambda: len(house.station.cameras["front"].ticks) > before)
        text = (await house.http.get("/metrics")).text
        assert 'longwatch_camera_frames_dropped_total{camera="front",reason="decode_error"} 7.0' in text
