"""`publish`: any source through the same door as a browser, over a real connection."""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np
import pytest

from stream import publisher
from stream.publisher import publish
from tests.patience import PATIENCE_S
from tests.stream.rtc.house import MovingBox, open_house, until


def psnr(truth: np.ndarray, seen: np.ndarray) -> float:
    """Peak signal to noise ratio, dB."""
    error = np.mean((truth.astype(np.float64) - seen) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


async def test_what_arrives_is_what_was_sent_and_the_end_is_clean() -> None:
    async with open_house() as house:
        box, agent, source = MovingBox(), house.station.cameras["phone"], house.station.source("phone")
        task = asyncio.create_task(publish(box, f"{house.url}/whip/phone"))
        await until(lambda: len(agent.frames) >= 12)
        frame = agent.latest
        assert frame is not None
        qualities = [psnr(box.picture(index), frame.rgb) for index in range(70)]
        assert max(qualities) > 32  # sharp: a blurred first second would be near 25
        assert sorted(qualities)[len(qualities) // 2] < max(qualities)  # and it is that very picture
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await until(lambda: source.sessions == 0)
        assert source.state.state == "waiting"
        assert box.closed


async def test_a_finite_source_ends_the_publishing() -> None:
    async with open_house() as house:
        box = MovingBox()
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            group.create_task(publish(box, f"{house.url}/whip/phone"))
            await until(lambda: house.station.cameras["phone"].frames)
            box.closed = True  # the source comes to its end, and with it the publishing
        await until(lambda: house.station.source("phone").sessions == 0)


async def test_a_slow_source_is_repeated_so_that_it_is_not_late() -> None:
    async with open_house() as house:
        source = house.station.source("phone")
        box = MovingBox(fps=0.2)  # one picture in five seconds
        task = asyncio.create_task(publish(box, f"{house.url}/whip/phone"))
        await until(lambda: source.counts.decoded >= 6 + 3 * box.shown)
        task.cancel()
        await asyncio.wait([task])


async def test_it_comes_back_when_the_server_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "BACK_OFF_S", (0.1, 0.3))
    async with open_house() as house:
        agent, source = house.station.cameras["phone"], house.station.source("phone")
        task = asyncio.create_task(publish(MovingBox(), f"{house.url}/whip/phone"))
        await until(lambda: len(agent.frames) >= 2)
        for session in list(source._sessions):
            await source.hang_up(session)
        seen = len(agent.frames)
        await until(lambda: len(agent.frames) >= seen + 2)
        assert source.state.state == "online"
        assert source.state.reconnects == 1
        task.cancel()
        await asyncio.wait([task])


async def test_what_can_never_work_is_said() -> None:
    async with open_house(phone=MovingBox()) as house:
        for path in ("/whip/nobody", "/whip/phone", "/healthz"):
            with pytest.raises(ValueError, match="source: whip"):
                await publish(MovingBox(), house.url + path)
