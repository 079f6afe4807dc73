"""The nine rules of conduct of the contract, each against a real broker and with a negative control."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from stream.clock import HandWoundClock
from stream.flow import Evidence
from stream.journal import Journal
from stream.mqtt.limits import Limits
from stream.mqtt.outbox import Publication
from tests.fakes import EchoView, the
from tests.servers.mosquitto import Mosquitto
from tests.stream.mqtt.parties import ROOT, Party, bridged, extra, settled, until

ANSWER = f"{ROOT}/front/answer"


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_1_retained_commands_are_ignored(tmp_path: Path, broker: Mosquitto, version: str) -> None:
    async with Party(broker) as yesterday:
        await yesterday.say(f"{ROOT}/front/ask", {"id": "old", "question": "old"}, retain=True)
        await yesterday.say(f"{ROOT}/ask", {"id": "old", "question": "old", "cameras": ["front"]}, retain=True)
        await yesterday.say(f"{ROOT}/front/memory/clear", "x", retain=True)
    async with Party(broker, f"{ROOT}/front/#") as asker, bridged(tmp_path, broker, version=version) as house:
        await asker.say(f"{ROOT}/front/ask", {"id": "new", "question": "new"})
        assert (await asker.hear_json(ANSWER))["id"] == "new"
        assert len(asker.on(ANSWER)) == 1
        assert house.parts.memories["front"].seen  # nobody forgot anything
        # Version 5 is not even sent them; 3.1.1 has to look at the flag.
        assert house.bridge.figures().ignored == (0 if version == "5" else 3)


@pytest.mark.parametrize(
    "topic", ["", "a/#", "a/+/b", "$SYS/x", f"{ROOT}/front/ask", "longwatch/other/x", "homeassistant/status", "x" * 257]
)
async def test_2_bad_response_topics_get_their_refusal_on_the_answer_topic_only(
    tmp_path: Path, broker: Mosquitto, topic: str
) -> None:
    async with bridged(tmp_path, broker) as house, Party(broker, "#") as asker:
        how = {"correlation": b"c"} if topic == "" else {"reply": topic, "correlation": b"c"}
        if topic == "":  # paho cannot send an empty one; 3.1.1's stand-in can
            await asker.say(f"{ROOT}/front/ask", {"id": "bad", "question": "q", "reply_to": ""}, **how)
        else:
            await asker.say(f"{ROOT}/front/ask", {"id": "bad", "question": "q"}, **how)
        refusal = await asker.hear_json(ANSWER)
        assert refusal["status"] == "rejected" and refusal["error"]["code"] == "bad_response_topic"
        assert refusal["answer"] is None and refusal["id"] == "bad"
        await settled(asker)
        assert len(asker.on(ANSWER)) == 1  # no loop
        assert not [
            message
            for message in asker.heard
            if extra(message, "CorrelationData") == b"c" and message.topic.value != f"{ROOT}/front/ask"
        ]
        assert not house.parts.answerer.closed  # it was not asked
        await asker.say(f"{ROOT}/front/ask", {"id": "good", "question": "q"}, reply="fine/topic")
        assert (await asker.hear_json("fine/topic"))["status"] == "ok"


async def test_2_an_allow_list_narrows_response_topics(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker, reply_topics=("clients/#",)) as _, Party(broker, "#") as asker:
        await asker.say(f"{ROOT}/front/ask", "q", reply="elsewhere")
        assert (await asker.hear_json(ANSWER))["error"]["code"] == "bad_response_topic"
        await asker.say(f"{ROOT}/front/ask", "q", reply="clients/7")
        assert (await asker.hear_json("clients/7"))["status"] == "ok"
        assert not asker.on("elsewhere")


async def test_3_correlation_data_above_1_kib_is_refused(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker) as _, Party(broker, "r") as asker:
        for size in (1025, 60_000):
            await asker.say(f"{ROOT}/front/ask", "q", reply="r", correlation=b"c" * size)
            message = await asker.hear("r")
            assert json.loads(message.payload)["error"]["code"] == "correlation_too_long"
            assert extra(message, "CorrelationData") is None  # half of it would be worse than none
        await asker.say(f"{ROOT}/front/ask", "q", reply="r", correlation=b"c" * 1024)
        assert json.loads((await asker.hear("r")).payload)["status"] == "ok"


async def test_4_the_same_id_gets_the_stored_answer_and_is_not_asked_again(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker) as house, Party(broker, "r", "s", ANSWER) as asker:
        question = {"id": "q-1", "question": "What?"}
        await asker.say(f"{ROOT}/front/ask", question, reply="r")
        first = await asker.hear_json("r")
        house.parts.sources["front"].show("blue")
        await asker.say(f"{ROOT}/front/ask", question, reply="s", correlation=b"2")
        message = await asker.hear("s")
        assert json.loads(message.payload) == first and extra(message, "CorrelationData") == b"2"
        assert house.parts.answerer.closed == 1
        await asker.say(f"{ROOT}/front/ask", {**question, "question": "Something else?"}, reply="s")
        other = await asker.hear_json("s")
        assert other["error"]["code"] == "duplicate_id"


async def test_4_a_question_repeated_while_it_is_answered_gets_one_answer(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker) as house, Party(broker, "r", ANSWER) as asker:
        gate = house.parts.answerer.gate = threading.Event()
        for _ in range(3):
            await asker.say(f"{ROOT}/front/ask", {"id": "q-1", "question": "What?"}, reply="r", correlation=b"c")
        await until(lambda: house.bridge.figures().open_questions == 1)
        gate.set()
        await asker.hear("r")
        await asker.hear(ANSWER)
        await settled(asker)
        assert len(asker.on("r")) == len(asker.on(ANSWER)) == 1
        assert house.parts.answerer.closed == 1


async def test_5_questions_asked_while_we_were_away_are_not_answered_later(tmp_path: Path, broker: Mosquitto) -> None:
    async with Party(broker, ANSWER) as asker:
        async with bridged(tmp_path, broker):
            pass
        await asker.say(f"{ROOT}/front/ask", {"id": "away", "question": "q"})
        async with bridged(tmp_path, broker):
            await asker.say(f"{ROOT}/front/ask", {"id": "here", "question": "q"})
            assert (await asker.hear_json(ANSWER))["id"] == "here"
        assert len(asker.on(ANSWER)) == 1


async def test_6_keepalive_no_delay_and_clean_start(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker) as house:
        assert house.bridge.link is not None
        open_socket = house.bridge.link.socket
        assert open_socket is not None
        assert open_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        # Mosquitto's own words: (p2: version 5, c1: clean start, k15: keepalive)
        assert "as longwatch-main (p5, c1, k15)" in broker.log


async def test_7_too_many_open_questions_are_refused_as_overloaded(tmp_path: Path, broker: Mosquitto) -> None:
    few = Limits(open_questions=2)
    async with bridged(tmp_path, broker, limits=few) as house, Party(broker, "r") as asker:
        gate = house.parts.answerer.gate = threading.Event()
        for number in range(3):
            await asker.say(f"{ROOT}/front/ask", {"id": f"q-{number}", "question": "q"}, reply="r")
        refusal = await asker.hear_json("r")
        assert refusal["id"] == "q-2" and refusal["status"] == "overloaded"
        assert refusal["error"]["code"] == "overloaded" and refusal["error"]["retry_after_s"] > 0
        gate.set()
        answers = [await asker.hear_json("r") for _ in range(2)]
        assert {answer["id"]: answer["status"] for answer in answers} == {"q-0": "ok", "q-1": "ok"}


async def test_7_answers_wait_for_the_broker_and_states_are_told_anew(tmp_path: Path, broker: Mosquitto) -> None:
    clock = HandWoundClock()  # the bridge comes back when this test says so, not before the asker listens
    async with bridged(tmp_path, broker, clock=clock) as house:
        gate = house.parts.answerer.gate = threading.Event()
        async with Party(broker) as asker:
            question = {"id": "q", "question": "q"}
            await asker.say(f"{ROOT}/front/ask", question, reply="r", correlation=b"c")
            await until(lambda: house.bridge.figures().open_questions == 1)
        broker.kill()
        await until(lambda: not house.bridge.connected)
        gate.set()
        await until(lambda: house.bridge.figures().open_questions == 0)
        house.parts.sources["front"].become("stalled", "no frames")
        broker.start()
        async with Party(broker, "r", f"{ROOT}/#") as asker:
            clock.wind(1.0)
            assert (await asker.hear(f"{ROOT}/front/status")).payload == b"offline"
            assert (await asker.hear(f"{ROOT}/status")).payload == b"online"  # after the states
            message = await asker.hear("r")
            assert json.loads(message.payload)["status"] == "ok" and extra(message, "CorrelationData") == b"c"
        assert house.bridge.reconnects == 1
        exposition = house.station.meters.exposition().decode()
        assert "longwatch_mqtt_connected 1.0" in exposition and "longwatch_mqtt_reconnects_total 1.0" in exposition


async def test_7_the_outbox_is_bounded_while_the_broker_is_away(tmp_path: Path, broker: Mosquitto) -> None:
    clock = HandWoundClock()
    async with bridged(tmp_path, broker, queue=10, clock=clock) as house:
        broker.kill()
        await until(lambda: not house.bridge.connected)
        for number in range(25):
            house.bridge.publish(Publication(f"late/{number}", b"x"))
        assert house.bridge.figures().dropped_out == 15
        broker.start()
        async with Party(broker, "late/#") as listener:
            clock.wind(1.0)
            await listener.hear("late/24")
            assert [message.topic.value for message in listener.heard] == [f"late/{number}" for number in range(15, 25)]
        assert 'mqtt_dropped_total{direction="out"} 15.0' in house.station.meters.exposition().decode()


async def test_8_both_versions_are_spoken(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker, version="3.1.1") as house, Party(broker, "r", ANSWER) as asker:
        assert house.bridge.state.protocol == "3.1.1"
        assert "as longwatch-main (p2, c1, k15)" in broker.log
        await asker.say(f"{ROOT}/front/ask", {"question": "q", "reply_to": "r"})
        assert (await asker.hear_json("r"))["status"] == "ok"


async def test_9_a_publish_larger_than_the_broker_takes_is_not_sent(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("small")
    with Mosquitto(folder, options=["max_packet_size 20000"]) as broker:
        async with bridged(tmp_path, broker) as house, Party(broker, "out/#", ANSWER) as asker:
            house.bridge.publish(Publication("out/large", b"x" * 30_000))
            house.bridge.publish(Publication("out/small", b"x" * 10_000))
            assert (await asker.hear("out/#")).topic.value == "out/small"
            assert house.bridge.figures().dropped_out == 1
            assert house.bridge.reconnects == 0  # the broker would have thrown us out
            await asker.say(f"{ROOT}/front/ask", "still there?")
            assert (await asker.hear_json(ANSWER))["status"] == "ok"


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_9_an_answer_too_large_for_the_broker_comes_without_its_heat_maps(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """Version 5 knows the limit beforehand; 3.1.1 is thrown out once by the large one."""
    many = tuple((0.001,) * 128 for _ in range(128))
    evidence = EchoView.evidence

    def large(view: EchoView) -> Evidence:
        found = evidence(view)
        return replace(found, sightings=tuple(replace(one, cells=many) for one in found.sightings))

    monkeypatch.setattr(EchoView, "evidence", large)
    with Mosquitto(tmp_path_factory.mktemp("small"), options=["max_packet_size 80000"]) as broker:
        async with bridged(tmp_path, broker, version=version) as house, Party(broker, "r", ANSWER) as asker:
            await asker.say(f"{ROOT}/front/ask", {"id": "q", "question": "q", "reply_to": "r"})
            private = await asker.hear_json("r")
            assert private["answer"] == "I saw red."
            assert ["cells" in one for one in private["evidence"]["sightings"]] == [False]
            kept = the(await house.station.journal.answer_of("q"))
            assert len(kept["evidence"]["sightings"][0]["cells"]) == 128  # over HTTP they are there
            await until(lambda: bool(asker.on(ANSWER)))
            assert json.loads(asker.words_on(ANSWER)[0]) == private
            assert house.bridge.figures().dropped_out == 0
            await until(lambda: house.bridge.connected)
            assert version == "3.1.1" or house.bridge.reconnects == 0
    async with Journal(tmp_path / "journal.sqlite") as journal:
        assert the(await journal.entry_of("q")).told


async def test_9_a_publish_that_costs_the_connection_is_not_tried_for_ever(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Version 3.1.1 is not told the broker's limit: it finds out by being thrown out, once."""
    folder = tmp_path_factory.mktemp("small")
    with Mosquitto(folder, options=["max_packet_size 90000"]) as broker:
        async with bridged(tmp_path, broker, version="3.1.1") as house, Party(broker, "out/#") as listener:
            house.bridge.publish(Publication("out/large", b"x" * 100_000))
            house.bridge.publish(Publication("out/small", b"x"))
            assert (await listener.hear("out/#")).topic.value == "out/small"
            await until(lambda: house.bridge.connected)
            await settled(listener)
            assert house.bridge.reconnects == 1 and house.bridge.figures().dropped_out == 1


async def test_questions_of_an_instance_do_not_reach_another(tmp_path: Path, broker: Mosquitto) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    one.mkdir()
    two.mkdir()
    async with (
        bridged(one, broker, instance="one") as first,
        bridged(two, broker, instance="two") as second,
        Party(broker, "r") as asker,
    ):
        await asker.say("longwatch/two/front/ask", "q", reply="r")
        await asker.hear("r")
        assert (first.parts.answerer.closed, second.parts.answerer.closed) == (0, 1)
