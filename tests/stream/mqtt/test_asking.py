"""Questions over a real broker: what an asker gets, by MQTT 5 and by 3.1.1."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes import seen
from tests.servers.mosquitto import Mosquitto
from tests.stream.mqtt.parties import ROOT, Party, bridged, extra


async def test_version_5_answer_comes_to_the_response_topic_with_the_same_correlation(
    tmp_path: Path, broker: Mosquitto
) -> None:
    async with bridged(tmp_path, broker) as house, Party(broker, "my/replies") as asker:
        assert house.bridge.state.protocol == "5"
        correlation = bytes(range(256)) * 4  # 1 KiB, every byte
        await asker.say(f"{ROOT}/front/ask", "What did you see?", reply="my/replies", correlation=correlation)
        message = await asker.hear("my/replies")
        answer = json.loads(message.payload)
        assert answer["status"] == "ok" and answer["answer"] == "I saw red."
        assert answer["question"] == "What did you see?" and answer["camera"] == "front"
        assert answer["evidence"]["sightings"] and answer["model"] == "echo"
        assert extra(message, "CorrelationData") == correlation
        assert extra(message, "ContentType") == "application/json"
        assert not message.retain


async def test_version_3_answer_comes_to_reply_to_and_to_the_answer_topic(tmp_path: Path, broker: Mosquitto) -> None:
    async with (
        bridged(tmp_path, broker) as house,
        Party(broker, "my/replies", f"{ROOT}/front/answer/#", f"{ROOT}/front/answer", version=3) as asker,
    ):
        house.parts.sources["front"].show("green")
        assert await seen(house.station, "front", 2)
        await asker.say(f"{ROOT}/front/ask", {"id": "q-1", "question": "And then?", "reply_to": "my/replies"})
        private = await asker.hear_json("my/replies")
        assert private["id"] == "q-1" and private["answer"] == "I saw red green."
        assert await asker.hear_json(f"{ROOT}/front/answer") == private


async def test_last_answer_is_kept_for_home_assistant_in_255_characters(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker) as _, Party(broker, f"{ROOT}/front/answer") as asker:
        await asker.say(f"{ROOT}/front/ask", {"question": "slowly please", "max_tokens": 100})
        full = await asker.hear_json(f"{ROOT}/front/answer")
        assert len(full["answer"]) > 255
        async with Party(broker, f"{ROOT}/front/answer/last") as late:
            message = await late.hear(f"{ROOT}/front/answer/last")
            last = json.loads(message.payload)
            assert message.retain
            assert len(last["state"]) <= 255 and last["state"].endswith("…")
            assert last["answer"] == full["answer"] and last["id"] == full["id"]
            assert "sightings" not in last["evidence"]  # Home Assistant keeps attributes small


async def test_partial_words_come_in_order_before_the_answer_when_wanted(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker, partial=True) as _, Party(broker, f"{ROOT}/front/#") as asker:
        await asker.say(f"{ROOT}/front/ask", {"id": "w", "question": "Words?"})
        answer = await asker.hear_json(f"{ROOT}/front/answer", id="w")
        partial = [json.loads(word) for word in asker.words_on(f"{ROOT}/front/answer/partial")]
        assert [one["seq"] for one in partial] == list(range(len(partial)))
        assert "".join(one["delta"] for one in partial) == answer["answer"]


async def test_no_partial_words_unless_wanted(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker) as _, Party(broker, f"{ROOT}/front/#") as asker:
        await asker.say(f"{ROOT}/front/ask", "Words?")
        await asker.hear(f"{ROOT}/front/answer/last")
        assert not asker.on(f"{ROOT}/front/answer/partial")


async def test_several_cameras_each_answer_with_their_own_id(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker, ("front", "back", "yard")) as house, Party(broker, "r", f"{ROOT}/#") as asker:
        house.parts.sources["back"].show("blue")
        assert await seen(house.station, "back", 2)
        question = {"id": "all", "question": "Colours?", "cameras": ["front", "back"]}
        await asker.say(f"{ROOT}/ask", question, reply="r", correlation=b"c")
        one, two = await asker.hear("r"), await asker.hear("r")
        answers = {json.loads(message.payload)["camera"]: json.loads(message.payload) for message in (one, two)}
        assert answers["front"]["answer"] == "I saw red." and answers["front"]["id"] == "all.front"
        assert answers["back"]["answer"] == "I saw red blue." and answers["back"]["id"] == "all.back"
        assert [extra(message, "CorrelationData") for message in (one, two)] == [b"c", b"c"]
        assert not asker.on(f"{ROOT}/yard/answer")
