"""What strangers may send: refused with a reason, nothing crashes, nothing loops, real questions are answered."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stream.clock import HandWoundClock
from stream.mqtt.broker import Incoming
from stream.mqtt.limits import Limits
from tests.servers.mosquitto import Mosquitto
from tests.stream.mqtt.parties import QUICK, ROOT, Party, bridged, settled, until

ANSWER = f"{ROOT}/front/answer"


async def still_answers(asker: Party) -> None:
    await asker.say(f"{ROOT}/front/ask", {"id": "check", "question": "Still there?"})
    assert (await asker.hear_json(ANSWER, id="check"))["status"] == "ok"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\xff\xfe\xfd", "not_utf8"),
        (b"", "empty_question"),
        (b"[1, 2, 3]", "bad_question"),
        (b"[" * 8000, "bad_question"),
        (b"x" * 9000, "question_too_long"),
        (b'{"question": "a", "id": "no spaces"}', "bad_id"),
        (b'{"question": "a", "timeout_s": NaN}', "bad_question"),
        (b'{"question": "a", "windows_s": 3}', "bad_question"),
    ],
)
@pytest.mark.parametrize("version", [5, 3])
async def test_bad_payloads_are_refused_with_a_reason(
    tmp_path: Path, broker: Mosquitto, payload: bytes, code: str, version: int
) -> None:
    async with bridged(tmp_path, broker) as house, Party(broker, ANSWER, "r", version=version) as asker:
        if version == 5:
            await asker.say(f"{ROOT}/front/ask", payload, reply="r", correlation=b"c")
            private = await asker.hear_json("r")
        else:
            await asker.say(f"{ROOT}/front/ask", payload)
            private = await asker.hear_json(ANSWER)
        assert private["status"] == "rejected" and private["error"]["code"] == code
        assert private["answer"] is None and len(private["error"]["message"]) > 15
        await still_answers(asker)
        assert house.parts.answerer.closed == 1
        assert f'question_total{{outcome="{code}",source="mqtt"}} 1.0' in house.station.meters.exposition().decode()


async def test_a_refusal_does_not_replace_the_last_answer(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker) as _, Party(broker, f"{ROOT}/front/#") as asker:
        await still_answers(asker)
        await asker.hear(f"{ANSWER}/last")
        await asker.say(f"{ROOT}/front/ask", b"\xff")
        await asker.hear_json(ANSWER, status="rejected")
        await settled(asker)
        assert len(asker.on(f"{ANSWER}/last")) == 1


@pytest.mark.parametrize(("version", "megabytes"), [("5", 10), ("3.1.1", 10)])
async def test_ten_megabytes(tmp_path: Path, broker: Mosquitto, version: str, megabytes: int) -> None:
    """Version 5: the broker keeps it from us, for we said how much we take. 3.1.1: we get it and refuse it."""
    async with bridged(tmp_path, broker, version=version) as house, Party(broker, ANSWER) as asker:
        await asker.say(f"{ROOT}/front/ask", b"x" * (megabytes << 20))
        if version == "3.1.1":
            assert (await asker.hear_json(ANSWER))["error"]["code"] == "question_too_long"
        await still_answers(asker)
        assert house.bridge.reconnects == 0
        assert len(asker.on(ANSWER)) == (2 if version == "3.1.1" else 1)


async def test_ten_megabytes_stopped_by_the_broker(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "mosquitto", options=["message_size_limit 100000"]) as broker:
        async with (
            bridged(tmp_path, broker) as house,
            Party(broker, ANSWER) as asker,
            Party(broker, version=3) as stranger,  # acknowledged all the same; one of version 5 is thrown out
        ):
            await stranger.say(f"{ROOT}/front/ask", b"x" * (10 << 20))
            await still_answers(asker)
            assert len(asker.on(ANSWER)) == 1 and house.bridge.reconnects == 0


@pytest.mark.parametrize("name", ["nobody", "..", "FRONT", "a b", "a.b", "é", "x" * 200, "status", "ask", " "])
async def test_cameras_that_are_not_there(tmp_path: Path, broker: Mosquitto, name: str) -> None:
    async with bridged(tmp_path, broker) as _, Party(broker, "r", f"{ROOT}/#") as asker:
        await asker.say(f"{ROOT}/{name}/ask", {"id": "q", "question": "q"}, reply="r")
        refusal = await asker.hear_json("r")
        assert refusal["error"]["code"] == "unknown_camera" and "front" in refusal["error"]["message"]
        await settled(asker)
        # A name that could be a camera's gets the word on its answer topic too; others get no topic made of them.
        assert len(asker.on(f"{ROOT}/+/answer")) == (1 if name == "nobody" else 0)
        await still_answers(asker)


async def test_a_topic_with_wildcards_cannot_even_be_published(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker) as _, Party(broker, ANSWER) as asker:
        for name in ("+", "#"):
            with pytest.raises(ValueError, match="wildcard"):
                await asker.say(f"{ROOT}/{name}/ask", "q")
        await still_answers(asker)


async def test_several_cameras_need_to_be_named(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker) as _, Party(broker, "r", ANSWER) as asker:
        cases: tuple[tuple[str | dict[str, Any], str], ...] = (
            ("which?", "unknown_camera"),
            ({"question": "q", "cameras": ["nobody"]}, "unknown_camera"),
            ({"question": "q", "cameras": ["../x"]}, "unknown_camera"),
            ({"question": "q", "cameras": ["a"] * 17}, "bad_question"),
        )
        for payload, code in cases:
            await asker.say(f"{ROOT}/ask", payload, reply="r")
            assert (await asker.hear_json("r"))["error"]["code"] == code
        await asker.say(f"{ROOT}/front/ask", {"question": "q", "cameras": ["back"]}, reply="r")
        assert (await asker.hear_json("r"))["error"]["code"] == "bad_question"
        await asker.say(f"{ROOT}/ask", {"id": "m", "question": "q", "cameras": ["nobody", "front"]}, reply="r")
        answers = [await asker.hear_json("r") for _ in range(2)]
        assert {one["camera"]: one["status"] for one in answers} == {"nobody": "rejected", "front": "ok"}


async def test_a_flood_of_questions_is_slowed_down_and_does_not_become_a_flood_of_refusals(
    tmp_path: Path, broker: Mosquitto
) -> None:
    many = replace(QUICK, asks_per_s=0.001, asks_burst=5, refusals_per_s=0.001, refusals_burst=100)
    async with bridged(tmp_path, broker, limits=many) as house, Party(broker, "r", ANSWER) as asker:
        await asyncio.gather(
            *(asker.say(f"{ROOT}/front/ask", {"id": f"q{n}", "question": "q"}, reply="r") for n in range(400))
        )
        await until(lambda: house.bridge.figures().ignored + house.bridge.dropped_in >= 295)
        await until(lambda: house.bridge.figures().open_questions == 0)
        await until(lambda: len(asker.on("r")) >= 105)
        await settled(asker)
        answers = [json.loads(word) for word in asker.words_on("r")]
        statuses = [one["status"] for one in answers]
        assert statuses.count("ok") == 5
        limited = [one for one in answers if one["status"] == "overloaded"]
        assert len(limited) == 100
        assert {one["error"]["code"] for one in limited} == {"rate_limited"}
        assert all(one["error"]["retry_after_s"] > 0 for one in limited)
        assert house.bridge.connected and house.bridge.reconnects == 0


async def test_a_question_that_expired_is_not_asked(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker) as house, Party(broker, "r") as asker:
        await asker.say(f"{ROOT}/front/ask", {"id": "in-time", "question": "q"}, reply="r", expiry_s=600)
        # In time: it is a deadline, not a refusal.
        assert (await asker.hear_json("r"))["status"] == "ok"
        # A broker throws away what has expired on its way; some deliver what has no second left.
        house.bridge.receive(Incoming(f"{ROOT}/front/ask", b"q", response_topic="r", expiry_s=0, arrived_s=0.0))
        assert (await asker.hear_json("r"))["error"]["code"] == "expired"
        assert house.parts.answerer.closed == 1


async def test_a_message_that_may_live_for_a_day_is_asked_all_the_same(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker) as _, Party(broker, "r") as asker:
        await asker.say(f"{ROOT}/front/ask", "q", reply="r", expiry_s=86_400)
        assert (await asker.hear_json("r"))["status"] == "ok"


async def test_message_expiry_is_the_deadline(tmp_path: Path, broker: Mosquitto) -> None:
    clock = HandWoundClock()
    async with bridged(tmp_path, broker, house={"clock": clock}) as house, Party(broker, "r") as asker:
        gate = house.parts.answerer.gate = threading.Event()
        await asker.say(f"{ROOT}/front/ask", "How long will you wait?", reply="r", expiry_s=60)
        await until(lambda: house.station.desk.running_questions == 1)
        clock.wind(60.0)
        answer = await asker.hear_json("r")
        gate.set()
        assert answer["status"] == "timeout" and "The 60 s for this question ran out" in answer["error"]["message"]
        assert answer["latency_ms"]["total"] == 60_000


async def test_what_waited_while_we_were_frozen_is_refused(tmp_path: Path, broker: Mosquitto) -> None:
    clock = HandWoundClock()
    async with bridged(tmp_path, broker, clock=clock) as house, Party(broker, "r") as asker:
        clock.wind(30.0)  # half a minute without a beat
        await asker.say(f"{ROOT}/front/ask", {"id": "old", "question": "q"}, reply="r")
        refusal = await asker.hear_json("r")
        assert refusal["error"]["code"] == "expired" and "30 s" in refusal["error"]["message"]
        clock.wind(1.5)
        await asker.say(f"{ROOT}/front/ask", {"id": "new", "question": "q"}, reply="r")
        assert (await asker.hear_json("r"))["status"] == "ok"
        assert house.parts.answerer.closed == 1


async def test_forgetting_is_rate_limited_and_only_for_cameras_that_are_there(
    tmp_path: Path, broker: Mosquitto
) -> None:
    slow = Limits(clears_per_s=0.001, clears_burst=1)
    async with bridged(tmp_path, broker, limits=slow) as house, Party(broker, f"{ROOT}/events") as listener:
        await listener.say(f"{ROOT}/nobody/memory/clear", "x")
        await listener.say(f"{ROOT}/front/memory/clear", "x")
        event = await listener.hear_json(f"{ROOT}/events", kind="memory")
        assert event["camera"] == "front" and event["after"]["type"] == "cleared"
        assert not house.parts.memories["front"].seen
        await listener.say(f"{ROOT}/front/memory/clear", "x")
        await settled(listener)
        assert len([one for one in listener.words_on(f"{ROOT}/events") if "cleared" in one]) == 1
