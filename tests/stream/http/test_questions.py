"""Asking over plain HTTP, and what the journal tells afterwards."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from stream.wire import rfc3339
from tests.fakes import seen
from tests.stream.http.conftest import House, Opening, calm, sse, until


@calm
async def test_words_come_as_pieces_then_the_answer(calm_house: House):
    reply = await calm_house.http.post("/api/v1/cameras/front/ask", json={"question": "What is there?"})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = [(told["event"], json.loads(told["data"])) for told in sse(reply.text)]
    assert [name for name, _ in events] == ["piece", "piece", "piece", "answer"]
    assert "".join(data["text"] for name, data in events if name == "piece") == "I saw red."
    answer = events[-1][1]
    assert (answer["status"], answer["answer"], answer["camera"]) == ("ok", "I saw red.", "front")
    assert answer["evidence"]["sightings"][0]["weight"] == 1.0


@calm
async def test_one_json_answer_for_who_asks_so(calm_house: House):
    headers = {"Accept": "application/json"}
    reply = await calm_house.http.post("/api/v1/cameras/front/ask", json={"question": "What?"}, headers=headers)
    assert reply.headers["content-type"] == "application/json" and reply.json()["answer"] == "I saw red."


async def test_looking_back_and_spans(house: House):
    house.parts.sources["front"].show("green", 100.0)
    assert await seen(house.station, "front", 2)
    epoch = house.station.cameras["front"].epoch
    spans: list[dict[str, Any]] = [{"window_s": 30}, {"since_s": 30.0}]
    spans.append({"from": rfc3339(epoch.wall(90.0)), "to": rfc3339(epoch.wall(101.0))})
    for span in spans:
        reply = await house.http.post(
            "/api/v1/cameras/front/ask", json={"question": "What?", **span}, headers={"Accept": "application/json"}
        )
        assert reply.json()["answer"] == "I saw green.", span


@calm
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"question": ""}, "invalid_request"),
        ({"question": "  "}, "empty_question"),
        ({"question": 5}, "invalid_request"),
        ({"question": "x", "wat": 1}, "invalid_request"),
        ({"question": "x", "id": "no spaces"}, "invalid_request"),
        ({"question": "x", "id": "x" * 200}, "invalid_request"),
        ({"question": "x", "window_s": -1}, "invalid_request"),
        ({"question": "x", "timeout_s": 0}, "invalid_request"),
        ({"question": "x", "source": "mqtt"}, "invalid_request"),
        ({"question": "x", "to": "2026-01-01T00:00:00Z"}, "bad_span"),
        ({"question": "x", "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "bad_span"),
        ({"question": "x", "from": "2026-01-02T00:00:00Z", "window_s": 5}, "bad_span"),
        ({"question": "x", "from": "noon"}, "bad_time"),
        ({"question": "\ud800"}, "invalid_json"),
    ],
)
async def test_bad_questions_are_problems(calm_house: House, body: dict[str, Any], code: str):
    raw = json.dumps(body).encode()
    reply = await calm_house.http.post(
        "/api/v1/cameras/front/ask", content=raw, headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 400 and reply.headers["content-type"] == "application/problem+json"
    told = reply.json()
    assert told["status"] == 400 and told["title"] == "Bad Request"
    assert told["code"] in (code, "bad_request", "invalid_request") and told["detail"]


async def test_failures_before_the_first_word_have_their_status(open_house: Opening):
    async with open_house(show=None) as house:
        reply = await house.http.post("/api/v1/cameras/front/ask", json={"question": "x", "max_age_ms": 50})
        assert reply.status_code == 503 and reply.json()["code"] == "no_frames" and "retry-after" in reply.headers


@calm
async def test_failures_after_the_first_word_are_an_error_event(calm_house: House):
    events = sse((await calm_house.http.post("/api/v1/cameras/front/ask", json={"question": "fail"})).text)
    assert [told["event"] for told in events] == ["piece", "error"]
    told = json.loads(events[-1]["data"])
    assert (
        told["code"] == "model_error"
        and told["answer"]["status"] == "model_error"
        and "canary" not in events[-1]["data"]
    )


async def test_the_same_id_is_asked_once_and_outlives_its_reader(house: House):
    house.parts.answerer.gate = threading.Event()
    body = {"question": "What is there?", "id": "mine-1"}
    first = asyncio.create_task(house.http.post("/api/v1/cameras/front/ask", json=body))
    await until(lambda: house.station.desk.running_questions)
    first.cancel()
    second = asyncio.create_task(house.http.post("/api/v1/cameras/front/ask", json=body))
    house.parts.answerer.gate.set()
    assert sse((await second).text)[-1]["event"] == "answer"
    assert len(await house.station.journal.latest(10)) == 1
    other = await house.http.post("/api/v1/cameras/front/ask", json={"question": "Something else?", "id": "mine-1"})
    assert other.status_code == 409 and other.json()["code"] == "duplicate_id"


async def test_history_and_explanation(house: House):
    for text in ("One?", "Two?"):
        await house.http.post("/api/v1/cameras/front/ask", json={"question": text})
    await house.http.post("/api/v1/cameras/back/ask", json={"question": "Three?", "source": "page"})
    told = (await house.http.get("/api/v1/questions")).json()["questions"]
    assert [one["question"] for one in told] == ["Three?", "Two?", "One?"]
    assert told[0]["source"] == "page" and "cells" not in told[0]["evidence"]["sightings"][0]
    front = (await house.http.get("/api/v1/questions", params={"camera": "front", "limit": 1})).json()["questions"]
    assert [one["question"] for one in front] == ["Two?"]
    after = (await house.http.get("/api/v1/questions", params={"after": told[2]["cursor"]})).json()["questions"]
    assert [one["question"] for one in after] == ["Two?", "Three?"]
    one = (await house.http.get(f"/api/v1/questions/{told[0]['id']}")).json()
    assert one["answer"] == "I saw red." and one["evidence"]["sightings"][0]["cells"]
    assert [(block["id"], block["state"]) for block in one["blocks"]] == [(0, "hot")]
    missing = await house.http.get("/api/v1/questions/q-nobody")
    assert missing.status_code == 404 and missing.json()["code"] == "unknown_question"


async def test_an_open_question_is_pending(house: House):
    house.parts.answerer.gate = threading.Event()
    asking = asyncio.create_task(house.http.post("/api/v1/cameras/front/ask", json={"question": "x", "id": "p"}))
    await until(lambda: house.station.desk.running_questions)
    assert (await house.http.get("/api/v1/questions/p")).json()["status"] == "pending"
    house.parts.answerer.gate.set()
    assert (await asking).status_code == 200


async def test_the_journal_gone_is_503(house: House):
    await house.station.journal.close()
    reply = await house.http.get("/api/v1/questions")
    assert reply.status_code == 503 and reply.json()["code"] == "unavailable"
