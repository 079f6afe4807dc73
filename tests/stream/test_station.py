"""All cameras together: they start and leave side by side, and none takes the others along."""

import asyncio
import threading
from pathlib import Path

import pytest

from stream.desk import Request
from tests.fakes import fake_station, fault_of, make_station, seen
from tests.patience import PATIENCE_S


async def test_readiness_names_what_is_missing(tmp_path: Path) -> None:
    station, parts = make_station(tmp_path, ["front", "back"])
    ready = [station.ready]
    async with station.running():
        parts.sources["front"].show("red")
        await seen(station, "front", 1)
        readiness = station.readiness()
        ready.append(station.ready)
        assert not readiness["cameras"].ready
        assert "back" in readiness["cameras"].detail
        assert "front" not in readiness["cameras"].detail
    assert [*ready, station.ready] == [False, True, False]


async def test_a_bug_in_one_camera_leaves_the_others_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    station, parts = make_station(tmp_path, ["front", "back"])

    async def broken() -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(station.cameras["front"], "_pulse", broken)
    async with station.running():
        parts.sources["back"].show("blue")
        await seen(station, "back", 1)
        answer = await (await station.desk.ask(Request("back", "what?", "cli"))).answer()
        assert answer.text == "I saw blue."
    assert "Camera front has stopped" in caplog.text


async def test_it_ends_in_time_though_the_device_hangs(tmp_path: Path) -> None:
    station, parts = make_station(tmp_path, ["front", "back"], snapshots=True)
    loop = asyncio.get_running_loop()
    hang, entered = threading.Event(), threading.Event()
    async with station.running():
        parts.sources["front"].show("red")
        await seen(station, "front", 1)

        def stick() -> None:
            entered.set()
            hang.wait(PATIENCE_S)

        stuck = asyncio.ensure_future(station.device.run(stick))
        await asyncio.to_thread(entered.wait, PATIENCE_S)
        ticket = await station.desk.ask(Request("front", "what?", "mqtt"))
        began = loop.time()
    assert loop.time() - began < 10  # the promise to users, not a measurement
    assert fault_of(await ticket.answer()).code == "shutting_down"
    hang.set()
    await asyncio.gather(stuck, return_exceptions=True)


async def test_cancelling_the_whole_ends_the_whole(tmp_path: Path) -> None:
    started = asyncio.Event()

    async def serve() -> None:
        async with fake_station(tmp_path):
            started.set()
            await asyncio.Event().wait()

    before = asyncio.all_tasks()
    serving = asyncio.ensure_future(serve())
    await asyncio.wait_for(started.wait(), PATIENCE_S)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert serving.cancelled()
    assert asyncio.all_tasks() == before
