"""What is kept on disk of a memory: forgotten is forgotten there as well."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stream.agent import AgentOptions
from stream.clock import HandWoundClock
from tests.fakes import fake_station, seen, until

EVERY_S = 60.0
OPTIONS = AgentOptions(fps=60.0, snapshot_every_s=EVERY_S)


async def test_forgetting_outlives_a_crash(tmp_path: Path) -> None:
    clock, kept = HandWoundClock(), tmp_path / "front.memory"
    left_by_crashes = (tmp_path / "front.memory.unread", tmp_path / f".front.memory.{os.getpid()}.part")
    async with fake_station(tmp_path, clock=clock, snapshots=True, options=OPTIONS) as (station, _):
        for left in left_by_crashes:
            left.write_text("a picture of yesterday")
        clock.wind(EVERY_S)
        await until(kept.exists)
        async with station.events.subscribe() as events:
            await station.cameras["front"].clear()
            async for event in events:
                if event.data.get("type") == "cleared":
                    break
        # As a crash would leave it: what a new life finds is what lies in the folder now.
        assert not kept.exists() and not any(left.exists() for left in left_by_crashes)
    async with fake_station(tmp_path, clock=clock, snapshots=True, options=OPTIONS, show=None) as (station, _):
        held = await station.cameras["front"].holdings()
        assert held.blocks == () and held.covered_s is None
        assert station.cameras["front"].age_s() is None


async def test_what_is_seen_after_forgetting_is_kept_again(tmp_path: Path) -> None:
    async with fake_station(tmp_path, snapshots=True) as (station, parts):
        await station.cameras["front"].clear()
        parts.sources["front"].show("green", time_s=8.0)
        await seen(station, "front", 2)
    async with fake_station(tmp_path, snapshots=True, show=None) as (station, parts):
        assert parts.memories["front"].seen == [(8.0, "green")]


async def test_a_disk_that_does_not_let_go_is_an_error_and_not_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(f"{path} is on a read-only disk")

    async with fake_station(tmp_path, snapshots=True) as (station, _), station.events.subscribe() as events:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", refuse)
            with pytest.raises(PermissionError):
                await station.cameras["front"].clear()
        assert (await station.cameras["front"].holdings()).blocks == ()  # at least what can be forgotten is
        assert len(station.cameras["front"].album) == 0
        station.events.close()
        told = [event.data async for event in events if event.kind == "memory"]
        assert "cleared" not in [one["type"] for one in told]
        assert any("cannot be removed" in str(one.get("message")) for one in told)
