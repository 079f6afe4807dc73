"""From one life to the next: an accepted question gets its one answer at shutdown, and after a kill."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from stream.clock import HandWoundClock
from stream.desk import Request
from stream.recovery import RESEND_S
from tests.fakes import fake_station, the
from tests.patience import PATIENCE_S
from tests.servers.mosquitto import Mosquitto, find
from tests.stream.mqtt.parties import ROOT, Party, bridged, extra, own_python, program, settled, until


async def test_open_questions_are_answered_before_offline(tmp_path: Path, broker: Mosquitto) -> None:
    gate = threading.Event()
    async with Party(broker, "r", f"{ROOT}/status", f"{ROOT}/front/answer") as asker:
        async with bridged(tmp_path, broker) as house:
            house.parts.answerer.gate = gate
            await asker.say(f"{ROOT}/front/ask", {"id": "q", "question": "q"}, reply="r")
            await until(lambda: house.station.desk.open_questions == 1)
            threading.Timer(4.0, gate.set).start()  # longer than the bridge waits for it
        answer = await asker.hear_json("r")
        assert answer["status"] == "rejected" and answer["error"]["code"] == "shutting_down"
        await settled(asker)
        said = [message.topic.value for message in asker.heard if not message.retain]
        assert said.count("r") == said.count(f"{ROOT}/front/answer") == 1
        assert asker.words_on(f"{ROOT}/status")[-1] == "offline"
        assert said.index("r") < max(place for place, topic in enumerate(said) if topic == f"{ROOT}/status")


KILLED = """
import asyncio, os, sys, threading
from pathlib import Path
from tests.stream.mqtt.parties import ROOT, Party, bridged, until

async def main(folder, url):
    async with bridged(Path(folder), url) as house, Party(int(url.rpartition(":")[2])) as asker:
        house.parts.answerer.gate = threading.Event()
        await asker.say(f"{ROOT}/front/ask", {"id": "q-1", "question": "q"}, reply="r", correlation=bytes(range(256)))
        await until(lambda: house.station.desk.running_questions == 1)
        os.kill(os.getpid(), 9)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_after_a_kill_the_asker_is_told_where_he_waits(tmp_path: Path, broker: Mosquitto) -> None:
    async with Party(broker, "r", f"{ROOT}/front/answer") as asker:
        killed = own_python(KILLED, str(tmp_path), broker.url)
        await until(lambda: killed.poll() is not None)
        assert killed.returncode == -9
        assert not asker.on("r")
        async with bridged(tmp_path, broker, house={"clock": HandWoundClock()}):  # no half minute passes in between
            message = await asker.hear("r")
            answer = json.loads(message.payload)
            assert (answer["id"], answer["status"], answer["error"]["code"]) == ("q-1", "rejected", "restarted")
            assert extra(message, "CorrelationData") == bytes(range(256))
            # Asked again with the same id: the same word, not a second answer.
            await asker.say(f"{ROOT}/front/ask", {"id": "q-1", "question": "q"}, reply="r")
            assert (await asker.hear_json("r"))["error"]["code"] == "restarted"
        async with bridged(tmp_path, broker):  # told once, not at every start
            await asker.say(f"{ROOT}/front/ask", {"id": "q-2", "question": "q"}, reply="r")
            assert (await asker.hear_json("r"))["id"] == "q-2"


async def test_an_answer_the_broker_did_not_live_to_take_is_brought_by_the_next_life(
    tmp_path: Path, broker: Mosquitto
) -> None:
    correlation = bytes(range(256))
    async with bridged(tmp_path, broker) as house:
        gate = house.parts.answerer.gate = threading.Event()
        async with Party(broker) as asker:
            await asker.say(f"{ROOT}/front/ask", {"id": "q", "question": "q"}, reply="r", correlation=correlation)
            await until(lambda: house.station.desk.running_questions == 1)
        broker.kill()
        await until(lambda: not house.bridge.connected)
        gate.set()
        await until(lambda: house.station.desk.open_questions == 0)
        kept = await house.station.journal.answer_of("q")
    broker.start()
    async with Party(broker, "r", f"{ROOT}/front/answer") as asker:
        for _ in range(2):  # the second life brings it, the third has nothing to bring
            async with bridged(tmp_path, broker, connect=False):
                message = asker.on("r")[0] if asker.on("r") else await asker.hear("r")
                assert json.loads(message.payload) == the(kept) and the(kept)["status"] == "ok"
                assert extra(message, "CorrelationData") == correlation
        await settled(asker)
        assert len(asker.on("r")) == len(asker.on(f"{ROOT}/front/answer")) == 1


async def test_an_answer_that_nobody_waits_for_any_more_is_not_brought(tmp_path: Path, broker: Mosquitto) -> None:
    clock = HandWoundClock()
    async with fake_station(tmp_path, clock=clock) as (station, _):
        for name in ("old", "new"):
            await (await station.desk.ask(Request("front", "q", "mqtt", id=name, reply={"topic": "r"}))).answer()
            clock.wind(RESEND_S - 1)
    async with Party(broker, "r") as asker, bridged(tmp_path, broker, house={"clock": clock}):
        assert (await asker.hear_json("r"))["id"] == "new"
        await settled(asker)
        assert len(asker.on("r")) == 1


async def test_an_old_answer_does_not_replace_the_newer_one_that_is_kept(tmp_path: Path, broker: Mosquitto) -> None:
    clock = HandWoundClock()
    async with bridged(tmp_path, broker, house={"clock": clock}) as house, Party(broker, "r") as asker:
        silent = Request("front", "q", "mqtt", id="unheard")  # as if the broker had been away just then
        await (await house.station.desk.ask(silent)).answer()
        clock.wind(1.0)
        await asker.say(f"{ROOT}/front/ask", {"id": "heard", "question": "q"}, reply="r")
        await asker.hear_json("r")
    async with (
        Party(broker, f"{ROOT}/front/answer", f"{ROOT}/front/answer/last") as asker,
        bridged(tmp_path, broker, house={"clock": clock}),
    ):
        await asker.hear_json(f"{ROOT}/front/answer", id="unheard")
        await settled(asker)
        assert [json.loads(word)["id"] for word in asker.words_on(f"{ROOT}/front/answer/last")] == ["heard"]


@pytest.mark.parametrize("version", ["5", "311"])
async def test_mosquittos_own_command_line_can_ask(tmp_path: Path, broker: Mosquitto, version: str) -> None:
    """The line of the documentation: `mosquitto_rr` asks and prints the answer; 3.1.1 asks and listens."""
    where = ["-h", "127.0.0.1", "-p", str(broker.port), "-V", version]
    async with bridged(tmp_path, broker):
        if version == "5":
            line = [
                find("mosquitto_rr"),
                *where,
                "-t",
                f"{ROOT}/front/ask",
                "-m",
                "What?",
                "-e",
                "me/answers",
                "-W",
                f"{PATIENCE_S:.0f}",
            ]
        else:
            line = [find("mosquitto_sub"), *where, "-t", f"{ROOT}/front/answer", "-C", "1", "-W", f"{PATIENCE_S:.0f}"]
        listening = program(*line)
        if version != "5":
            await until(lambda: "mosquitto_sub" in broker.log or f"{ROOT}/front/answer (QoS 0)" in broker.log)
            tell = [find("mosquitto_pub"), *where, "-q", "1", "-t", f"{ROOT}/front/ask", "-m", "What?"]
            telling = program(*tell)
            await until(lambda: telling.poll() is not None)
            assert telling.returncode == 0
        await until(lambda: listening.poll() is not None)
        assert listening.stdout is not None
        assert json.loads(listening.stdout.read())["answer"] == "I saw red."
