"""A publisher whose endpoint is away says so once, and once when it is back."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from stream import publisher
from stream.clock import Clock
from stream.sources.webrtc import WhipSource
from tests.servers.hasty import until
from tests.stream.rtc.house import MovingBox, open_house


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, bool]]:
    """What a person reads who does not debug."""
    heard = [
        record for record in caplog.records if record.name == "stream.publisher" and record.levelno >= logging.INFO
    ]
    return [(record.levelname, "works again" in record.message) for record in heard]


async def test_an_endpoint_that_is_away_is_told_once_per_change(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "stream.publisher")
    monkeypatch.setattr(publisher, "BACK_OFF_S", (0.02, 0.05))
    source = WhipSource(Clock(), fps=10)
    await source.aclose()  # answers 503
    async with open_house(phone=source) as house:
        publishing = asyncio.create_task(publisher.publish(MovingBox(), f"{house.url}/whip/phone"))
        await until(lambda: sum("does not work" in record.message for record in caplog.records) >= 5)
        assert said(caplog) == [("WARNING", False)]
        house.station.cameras["phone"].source = WhipSource(Clock(), fps=10)
        await until(lambda: len(said(caplog)) == 2)
        assert said(caplog) == [("WARNING", False), ("INFO", True)]
        publishing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await publishing
