"""The end of the whole service: no door lets questions in, those that are open get their word, all of it in time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from stream import desk, journal, station
from stream.cli.serve import Service, running
from stream.cli.signals import GRACE_S
from stream.config import Config, parse
from stream.desk import Request
from stream.http import server
from stream.mqtt.limits import Limits
from stream.station import Station
from tests.fakes import FakeParts, fault_of, make_station, seen, until
from tests.patience import PATIENCE_S
from tests.servers.mosquitto import Mosquitto
from tests.stream.mqtt.parties import ROOT, Party, settled


@dataclass
class FakeHouse:
    """What `run_stream.py` would give, without tensors."""

    station: Station

    def load(self, config: Config) -> None:
        pass

    def build(self, config: Config) -> Station:  # noqa: ARG002
        return self.station

    def budget_lines(self, config: Config) -> list[str]:  # noqa: ARG002
        return []


@asynccontextmanager
async def service(folder: Path, more: str = "") -> AsyncIterator[tuple[Service, FakeParts]]:
    config = parse(f'server: {{listen: "127.0.0.1:0"}}\ncameras: {{front: {{source: whip}}}}\n{more}')
    house, parts = make_station(folder, limits=config.questions)
    async with running(FakeHouse(house), config) as one:
        parts.sources["front"].show("red")
        await seen(house, "front", 1)
        yield one, parts


async def test_from_the_first_moment_no_door_lets_questions_in_and_open_ones_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.desk.DRAIN_S", PATIENCE_S)  # the test opens the gate, when it has looked around
    ask = "/api/v1/cameras/front/ask"
    gate, leave = threading.Event(), asyncio.Event()
    up: asyncio.Future[tuple[Service, FakeParts]] = asyncio.get_running_loop().create_future()

    async def life() -> None:
        async with service(tmp_path) as both:
            up.set_result(both)
            await leave.wait()

    living = asyncio.ensure_future(life())
    one, parts = await up
    parts.answerer.gate = gate
    async with httpx.AsyncClient(base_url=one.url, timeout=PATIENCE_S, trust_env=False) as http:
        assert (await http.get("/readyz")).status_code == 200
        asking = asyncio.ensure_future(http.post(ask, json={"question": "q"}, headers={"Accept": "application/json"}))
        await until(lambda: one.station.desk.running_questions == 1)
        leave.set()
        await until(lambda: not one.station.accepting)
        refused = await http.post(ask, json={"question": "too late"})
        ready = await http.get("/readyz")
        gate.set()
        assert refused.status_code == ready.status_code == 503
        assert "shutting_down" in refused.text and not ready.json()["components"]["server"]["ok"]
        assert (await asking).json()["status"] == "ok"
    await living


async def test_the_last_words_come_over_mqtt_and_before_offline(tmp_path: Path) -> None:
    gate = threading.Event()
    with Mosquitto(tmp_path / "mosquitto") as broker:
        async with Party(broker, "r", f"{ROOT}/status") as asker:
            async with service(tmp_path, f"mqtt: {{url: {broker.url}}}") as (one, parts):
                await asker.hear(f"{ROOT}/status")
                parts.answerer.gate = gate
                await asker.say(f"{ROOT}/front/ask", "q", reply="r")
                await until(lambda: one.station.desk.running_questions == 1)
            assert (await asker.hear_json("r"))["error"]["code"] == "shutting_down"
            await settled(asker)
            assert asker.words_on(f"{ROOT}/status") == ["online", "offline"]
            assert len(asker.on("r")) == 1
    gate.set()


def test_the_worst_times_of_all_who_end_fit_the_grace() -> None:
    mqtt = Limits()
    assert mqtt.closing_s + mqtt.last_word_s + mqtt.goodbye_s <= mqtt.leaving_s
    doors = max(mqtt.leaving_s + mqtt.goodbye_s, 2 * desk.DRAIN_S + desk.FLUSH_S)
    cameras = station.LEAVE_S + max(journal.CLOSE_S, station.DEVICE_S)
    assert doors + max(cameras, server.GRACE_S) <= GRACE_S - 0.5


async def test_it_ends_in_time_though_the_device_and_the_broker_hang(tmp_path: Path) -> None:
    hang, entered = threading.Event(), threading.Event()

    def stick() -> None:
        entered.set()
        hang.wait(PATIENCE_S)

    loop = asyncio.get_running_loop()
    with Mosquitto(tmp_path / "mosquitto") as broker:
        async with service(tmp_path, f"mqtt: {{url: {broker.url}}}") as (one, _):
            await until(lambda: one.station.meters.registry.get_sample_value("longwatch_mqtt_connected"))
            stuck = asyncio.ensure_future(one.station.device.run(stick))
            await asyncio.to_thread(entered.wait, PATIENCE_S)
            async with Party(broker) as asker:
                await asker.say(f"{ROOT}/front/ask", "q", reply="r")
                await until(lambda: one.station.desk.open_questions == 1)
            ticket = await one.station.desk.ask(Request("front", "what?", "http"))
            broker.freeze()
            began_s = loop.time()
        took_s = loop.time() - began_s
        broker.thaw()
    assert fault_of(await ticket.answer()).code == "shutting_down"
    assert took_s < GRACE_S  # the promise to users, not a measurement
    hang.set()
    await asyncio.gather(stuck, return_exceptions=True)
