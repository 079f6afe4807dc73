"""kill -9 in the middle of many questions: everyone who was acknowledged has a word, and the memory reaches back."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from stream.journal import Journal
from stream.wire import wall_of
from tests.house.living import PATIENCE_S, answer, client, settings
from tests.servers.mosquitto import Mosquitto
from tests.servers.processes import Command
from tests.stream.mqtt.parties import Party
from tests.stream.rtc.house import until

EACH = 12  # questions over HTTP, and as many over MQTT
QUESTION = "What is there now?"
ANSWERS = "asker/answers"
MOST_STORMS = 5


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


class Life:
    """One process of the service."""

    def __init__(self, command: Command, http: httpx.AsyncClient) -> None:
        self.command = command
        self.http = http

    async def json(self, path: str) -> dict[str, Any]:
        reply = await self.http.get(path)
        assert reply.status_code == 200, reply.text
        told: dict[str, Any] = reply.json()
        return told

    async def events(self, kinds: str) -> AsyncIterator[dict[str, Any]]:
        """Events as they happen; the first one given is that the stream is open."""
        async with self.http.stream("GET", "/api/v1/events/stream", params={"kinds": kinds}) as stream:
            yield {"kind": "open"}
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])


@asynccontextmanager
async def life(config: Path) -> AsyncIterator[Life]:
    command = Command("serve", "--config", str(config))
    try:
        line = await asyncio.to_thread(command.line_with, "Longwatch  http")
        async with client(line.split()[1]) as http:
            yield Life(command, http)
    finally:
        command.kill()


async def post(http: httpx.AsyncClient, name: str) -> str | None:
    """Ask over HTTP with an id; the id when the service said yes before it died."""
    with suppress(httpx.HTTPError):
        reply = await http.post("/api/v1/cameras/yard/ask", json={"question": QUESTION, "id": name})
        assert reply.status_code == 200, reply.text
        return name
    return None


async def storm(one: Life, asker: Party, number: int) -> set[str]:
    """Many ask at once, and the power goes with the first answer; the ids of all that were acknowledged."""
    known, asking = set[str](), list[asyncio.Task[str | None]]()
    with suppress(httpx.HTTPError):
        async for event in one.events("question,answer"):
            if event["kind"] == "open":
                asking = [asyncio.create_task(post(one.http, f"http-{number}-{each}")) for each in range(EACH)]
                for each in range(EACH):
                    asked = {"id": f"mqtt-{number}-{each}", "question": QUESTION}
                    await asker.say("longwatch/main/yard/ask", asked, reply=ANSWERS)
            if event["kind"] == "question":
                known.add(event["data"]["id"])
            if event["kind"] == "answer" and len(known) > EACH:
                one.command.process.send_signal(signal.SIGKILL)
    one.command.process.wait()
    assert one.command.process.returncode == -signal.SIGKILL
    return known | {name for name in await asyncio.gather(*asking) if name}


async def unfinished(path: Path) -> set[str]:
    """The ids of those whom a life that has ended left without an answer."""
    async with Journal(path) as journal:
        return {entry.id for entry in await journal.unfinished()}


async def kept(one: Life, snapshot: Path) -> dict[str, str]:
    """Wait until some time is remembered and written; that time as `from` and `to`."""
    async for event in one.events("memory"):
        covered = event.get("data", {}).get("covered")
        if covered and wall_of(covered["to"]) - wall_of(covered["from"]) > 2:
            break
    end_s = wall_of(covered["to"])
    await until(lambda: snapshot.exists() and snapshot.stat().st_mtime > end_s + 1, PATIENCE_S)
    return dict(covered)


async def words_for(asker: Party, name: str, count: int) -> list[dict[str, Any]]:
    """All that this asker heard about one question, once that is so many answers."""

    def heard() -> list[dict[str, Any]]:
        return [told for told in map(json.loads, asker.words_on(ANSWERS)) if told["id"] == name]

    await until(lambda: len(heard()) >= count, PATIENCE_S)
    return heard()


async def test_kill_9_in_the_middle_of_questions(tmp_path: Path, broker: Mosquitto) -> None:
    config = tmp_path / "config.yaml"
    camera = '  yard: {source: "sim://yard?seed=125&fps=4"}'
    config.write_text(settings(tmp_path, camera, f"mqtt: {{url: {broker.url}}}\nstate_every_s: 2"))
    acknowledged, cut_off, storms = set[str](), set[str](), 0
    async with Party(broker, ANSWERS) as asker:
        async with life(config) as first:
            before = await kept(first, tmp_path / "state" / "yard.memory")
            acknowledged |= await storm(first, asker, storms)
        # A slow machine may have answered everyone before this test heard of the first answer: then once more.
        while not (cut_off := await unfinished(tmp_path / "journal.sqlite")) and storms < MOST_STORMS:
            storms += 1
            async with life(config) as again:
                acknowledged |= await storm(again, asker, storms)
        assert len(acknowledged) > EACH
        async with life(config) as second:
            await everyone_has_a_word(second, acknowledged, cut_off, asker)
            held = await second.json("/api/v1/cameras/yard/memory")
            assert held["covered"]["from"] == before["from"], "the memory reaches back before the power cut"
            then = await answer(second.http, "yard", "What did you see?", **before)
            assert then["status"] == "ok", then
            assert all(sighting["from"] <= before["to"] for sighting in then["evidence"]["sightings"])
            second.command.process.send_signal(signal.SIGTERM)
            said = await asyncio.to_thread(second.command.rest)
            assert second.command.process.returncode == 0 and "Traceback" not in said, said


async def everyone_has_a_word(one: Life, acknowledged: set[str], cut_off: set[str], asker: Party) -> None:
    """The answer, or that it was cut off; over MQTT to where the asker waits."""
    assert cut_off, "the power went too late every time: everything had been answered"
    assert acknowledged - cut_off, "the power went too early: nothing had been answered"
    for name in sorted(acknowledged):
        told = await one.json(f"/api/v1/questions/{name}")
        assert told["question"] == QUESTION
        if name in cut_off:
            assert (told["status"], told["error"]["code"]) == ("rejected", "restarted")
        else:
            assert told["status"] == "ok" and told["answer"] and told["evidence"]["sightings"], told
    for name in (name for name in sorted(acknowledged) if name.startswith("mqtt")):
        first, *again = await words_for(asker, name, 1)
        # One answer. It may be heard again, word for word, only where QoS 1 allows it: the broker had taken it and the
        # power went before its acknowledgement was noted on the disk. Who was cut off is told by this life, once.
        assert all(one == first for one in again) and not (again and name in cut_off)
        assert first["status"] == ("rejected" if name in cut_off else "ok")
        if name not in cut_off:  # who asks again with the same id hears the same
            await asker.say("longwatch/main/yard/ask", {"id": name, "question": QUESTION}, reply=ANSWERS)
            assert (await words_for(asker, name, len(again) + 2))[-1] == first
