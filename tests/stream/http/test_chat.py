"""Chat completions over a camera, with plain HTTP and with the unmodified OpenAI client."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any, cast

import openai
import pytest

from stream.config import QuestionsConfig
from stream.request import MOST_TOKENS
from stream.wire import rfc3339
from tests.fakes import seen
from tests.stream.http.conftest import House, Opening, calm, sse, until

SAID = "I saw red."


def ask(text: object = "What is there?", **more: Any) -> dict[str, Any]:
    return {"model": "front", "messages": [{"role": "user", "content": text}], **more}


def client(house: House) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key="any", max_retries=0)


@calm
async def test_openai_client_reads_models_and_an_answer(calm_house: House):
    async with client(calm_house) as ai:
        models = [model.id async for model in ai.models.list()]
        assert models == ["echo", "front", "back"]
        assert (await ai.models.retrieve("front")).id == "front"
        told = await ai.chat.completions.create(model="front", messages=[{"role": "user", "content": "What is there?"}])
    assert told.choices[0].message.content == SAID
    assert told.choices[0].finish_reason == "stop"
    assert told.id.startswith("chatcmpl-")
    assert told.usage is not None and told.usage.prompt_tokens == 4 and told.usage.completion_tokens == 3
    evidence = (told.model_extra or {})["x_evidence"]
    assert evidence["sightings"][0]["cells"] == [[0.25, 0.25], [0.25, 0.25]] and evidence["memory_from"].endswith("Z")


@calm
async def test_openai_client_streams_words_then_usage_and_evidence(calm_house: House):
    async with client(calm_house) as ai:
        chunks = [
            chunk
            async for chunk in await ai.chat.completions.create(
                model="echo",
                extra_body={"camera": "front"},
                messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is there?"}],
                stream=True,
                stream_options={"include_usage": True},
            )
        ]
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert words == ["I saw", " red", "."]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 7 and not chunks[-1].choices
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert (chunks[-2].model_extra or {})["x_evidence"]["sightings"]
    assert len({chunk.id for chunk in chunks}) == 1


@calm
async def test_stream_is_plain_sse_that_ends_in_done(calm_house: House):
    reply = await calm_house.http.post("/v1/chat/completions", json=ask(stream=True))
    assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/event-stream")
    events = sse(reply.text)
    assert events[-1] == {"data": "[DONE]"}
    assert "usage" not in json.loads(events[0]["data"]) and "event" not in events[0]


@calm
@pytest.mark.parametrize(
    "body",
    [
        ask(),
        ask(model="echo", camera="front"),
        ask(model="echo", camera=["front"]),
        ask(camera="front"),
        {"messages": [{"role": "user", "content": "What?"}], "camera": "front"},
        ask(
            [{"type": "text", "text": "What?"}, {"type": "video_url", "video_url": {"url": "camera://front?last=30s"}}]
        ),
        ask(n=1, tools=[], tool_choice="auto", response_format={"type": "text"}, logprobs=False, seed=3, user="me"),
        ask(max_tokens=5, temperature=0, stream=None),
        ask(max_tokens=4096, top_p=0.9, frequency_penalty=0.5, presence_penalty=0),
        ask(max_completion_tokens=1_000_000),
    ],
)
async def test_ways_to_name_a_camera(calm_house: House, body: dict[str, Any]):
    reply = await calm_house.http.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["message"]["content"] == SAID


@calm
async def test_a_client_that_allows_many_tokens_gets_as_many_as_we_give(calm_house: House):
    reply = await calm_house.http.post("/v1/chat/completions", json=ask("slowly", max_tokens=4096))
    assert reply.status_code == 200, reply.text
    told = reply.json()
    assert told["usage"]["completion_tokens"] == MOST_TOKENS and told["choices"][0]["finish_reason"] == "length"


@calm
async def test_what_has_no_effect_is_said_where_clients_look(calm_house: House):
    told = (await calm_house.http.get("/openapi.json")).json()["paths"]["/v1/chat/completions"]["post"]
    schema = told["requestBody"]["content"]["application/json"]["schema"]
    for name in ("top_p", "seed", "frequency_penalty", "presence_penalty", "no effect", "`tools`", "last message"):
        assert name in schema["description"]
    assert str(MOST_TOKENS) in schema["properties"]["max_tokens"]["description"]


async def test_a_single_camera_needs_no_name(open_house: Opening):
    async with open_house(cameras=("front",)) as house:
        assert (await house.http.post("/v1/chat/completions", json=ask(model="echo"))).status_code == 200


async def test_span_in_the_url_reaches_the_memory(house: House):
    house.parts.sources["front"].show("green", 100.0)
    assert await seen(house.station, "front", 2)
    url = {"type": "video_url", "video_url": {"url": "camera://front?last=30s"}}
    reply = await house.http.post("/v1/chat/completions", json=ask([{"type": "text", "text": "What?"}, url]))
    assert reply.json()["choices"][0]["message"]["content"] == "I saw green."
    epoch = house.station.cameras["front"].epoch
    stamps = {"from": rfc3339(epoch.wall(-1)), "to": rfc3339(epoch.wall(5))}
    url["video_url"] = {"url": f"camera://front?from={stamps['from']}&to={stamps['to']}"}
    reply = await house.http.post("/v1/chat/completions", json=ask([{"type": "text", "text": "What?"}, url]))
    assert reply.json()["choices"][0]["message"]["content"] == SAID


def video(url: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": "What?"}, {"type": "video_url", "video_url": {"url": url}}]


@calm
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (ask(model="nobody"), 404, "model_not_found"),
        (ask(model="echo", camera="nobody"), 404, "camera_not_found"),
        (ask(model="echo"), 400, "camera_required"),
        (ask(camera="back"), 400, "camera_contradiction"),
        (ask(camera=["front", "back"], model="echo"), 400, "camera_contradiction"),
        (ask(video("camera://back")), 400, "camera_contradiction"),
        (ask(video("http://169.254.169.254/latest")), 400, "bad_camera_url"),
        (ask(video("file:///etc/passwd")), 400, "bad_camera_url"),
        (ask(video("camera://front?last=soon")), 400, "bad_camera_url"),
        (ask(video("camera://front?last=30s&last=40s")), 400, "bad_camera_url"),
        (ask(video("camera://front?last=30s&from=2026-01-01T00:00:00Z")), 400, "bad_camera_url"),
        (ask(video("camera://user@front")), 400, "bad_camera_url"),
        (ask(video("camera://front?from=yesterday")), 400, "bad_time"),
        (ask(video("camera://front?last=30s"), window_s=5), 400, "bad_span"),
        (ask([{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]), 400, "unsupported_content"),
        (ask(""), 400, "empty_question"),
        (ask(" \n"), 400, "empty_question"),
        (ask([]), 400, "empty_question"),
        ({"model": "front", "messages": []}, 400, "invalid_request"),
        ({"model": "front"}, 400, "invalid_request"),
        ({"model": "front", "messages": [{"role": "assistant", "content": "Hello."}]}, 400, "no_question"),
        (ask(stream="yes"), 400, "invalid_request"),
        (ask(stream=1), 400, "invalid_request"),
        (ask(max_tokens=-1), 400, "invalid_request"),
        (ask(max_tokens=10**30), 400, "invalid_request"),
        (ask(max_tokens=1_000_001), 400, "invalid_request"),
        (ask(max_tokens="5"), 400, "invalid_request"),
        (ask(temperature=9), 400, "invalid_request"),
        (ask(n=2), 400, "unsupported_parameter"),
        (ask(n=True), 400, "unsupported_parameter"),
        (ask(tools=[{"type": "function"}]), 400, "unsupported_parameter"),
        (ask(response_format={"type": "json_object"}), 400, "unsupported_parameter"),
        (ask("x" * 9000), 413, "question_too_long"),
        ({"model": "front", "messages": [{"role": "user", "content": "x"}] * 10_000}, 400, "invalid_request"),
    ],
)
async def test_refusals_have_a_real_status_and_openais_envelope(
    calm_house: House, body: dict[str, Any], status: int, code: str
):
    reply = await calm_house.http.post("/v1/chat/completions", json=body)
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["code"] == code
    assert error["message"].endswith(".") and len(error["message"]) < 600
    assert calm_house.station.desk.open_questions == 0


@calm
async def test_openai_client_raises_its_own_errors(calm_house: House):
    async with client(calm_house) as ai:
        with pytest.raises(openai.NotFoundError) as missing:
            await ai.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "x"}])
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.InternalServerError) as broken:
            await ai.chat.completions.create(model="front", messages=[{"role": "user", "content": "silence"}])
        assert broken.value.code == "empty_answer"


@calm
async def test_an_answer_that_breaks_off_is_an_error_and_no_text(calm_house: House):
    reply = await calm_house.http.post("/v1/chat/completions", json=ask("fail"))
    assert reply.status_code == 500 and reply.json()["error"]["code"] == "model_error"
    assert "canary" not in reply.text and "Traceback" not in reply.text
    async with client(calm_house) as ai:
        chunks = await ai.chat.completions.create(
            model="front", messages=[{"role": "user", "content": "fail"}], stream=True
        )
        words = []

        async def hear() -> None:
            async for chunk in chunks:
                words.extend([choice.delta.content for choice in chunk.choices if choice.delta.content])

        with pytest.raises(openai.APIError) as broken:
            await hear()
        assert broken.value.code == "model_error" and words == ["I saw"]


async def test_a_camera_without_frames_is_503_also_when_streaming(open_house: Opening):
    async with open_house(show=None) as house:
        for stream in (False, True):
            reply = await house.http.post("/v1/chat/completions", json=ask(stream=stream, max_age_ms=50))
            assert reply.status_code == 503 and reply.json()["error"]["code"] == "no_frames"
            assert int(reply.headers["retry-after"]) >= 1


async def test_time_out_is_504_and_not_to_be_repeated(open_house: Opening):
    async with open_house() as house:
        house.parts.answerer.gate = threading.Event()
        try:
            reply = await house.http.post("/v1/chat/completions", json=ask(timeout_s=0.2, stream=True))
        finally:
            house.parts.answerer.gate.set()
        assert reply.status_code == 504 and reply.json()["error"]["code"] == "timeout"
        assert reply.headers["x-should-retry"] == "false"


async def test_overload_is_503_with_a_time_to_come_back(open_house: Opening):
    async with open_house(limits=QuestionsConfig(max_concurrent=1, queue=1, queue_per_camera=1)) as house:
        house.parts.answerer.gate = threading.Event()
        waiting = [asyncio.create_task(house.http.post("/v1/chat/completions", json=ask())) for _ in range(2)]
        await until(lambda: house.station.desk.open_questions == 2)
        reply = await house.http.post("/v1/chat/completions", json=ask())
        house.parts.answerer.gate.set()
        assert reply.status_code == 503 and reply.json()["error"]["code"] == "overloaded"
        assert int(reply.headers["retry-after"]) >= 1
        assert [(await one).status_code for one in waiting] == [200, 200]


class Steps:
    """A gate that lets so many words through."""

    def __init__(self, words: int) -> None:
        self._words = threading.Semaphore(words)

    def wait(self, timeout: float) -> bool:
        return self._words.acquire(timeout=timeout)

    def open(self) -> None:
        self._words.release(10_000)


@pytest.mark.parametrize("words", [0, 2])
@pytest.mark.parametrize("stream", [False, True])
async def test_hanging_up_takes_the_question_back(house: House, stream: bool, words: int):
    steps = Steps(words)
    house.parts.answerer.gate = cast("Any", steps)

    async def ask_and_leave() -> None:
        body = ask("slowly", stream=stream, max_tokens=1000)
        async with house.http.stream("POST", "/v1/chat/completions", json=body) as reply:
            async for line in reply.aiter_lines():
                if "I saw" in line:
                    return

    asking = asyncio.create_task(ask_and_leave())
    async with house.station.events.subscribe(replay=lambda told: told.kind == "answer") as events:
        if stream and words:
            await asking
        else:
            await until(lambda: house.station.desk.running_questions)
            asking.cancel()
        async for told in events:
            if told.kind == "answer":
                assert (told.data["status"], told.data["error"]["code"]) == ("rejected", "cancelled")  # type: ignore[index]
                break
    steps.open()
