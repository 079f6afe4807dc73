"""The clock that tests wind."""

from __future__ import annotations

import asyncio
import time

import pytest

from stream.clock import Clock, HandWoundClock


async def test_the_real_clock_follows_the_machine() -> None:
    clock = Clock()
    before = time.monotonic()
    await clock.sleep(-1)
    assert before <= clock.now_s() <= time.monotonic()
    assert abs(clock.wall_s() - time.time()) < 5


async def test_sleepers_wake_in_the_order_of_their_time_and_not_before() -> None:
    clock, woken = HandWoundClock(), []

    async def nap(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as group:
        for name, seconds in (("late", 3.0), ("early", 1.0), ("early too", 1.0), ("at once", 0.0)):
            group.create_task(nap(name, seconds))
        await asyncio.sleep(0.001)
        assert woken == ["at once"] and clock.sleepers == 3
        clock.wind(0.999)
        await asyncio.sleep(0.001)
        assert woken == ["at once"]
        clock.wind(0.002)
        await asyncio.sleep(0.001)
        assert woken == ["at once", "early", "early too"]
        clock.wind(10)
    assert woken[-1] == "late" and clock.sleepers == 0


async def test_a_sleeper_that_was_cancelled_is_passed_over() -> None:
    clock = HandWoundClock()
    nap = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    nap.cancel()
    await asyncio.sleep(0)
    clock.wind(2)
    assert clock.sleepers == 0


def test_monotonic_time_ignores_a_step_of_the_wall_clock_and_never_runs_back() -> None:
    clock = HandWoundClock(now_s=5, wall_s=100)
    clock.wind(2)
    assert (clock.now_s(), clock.wall_s()) == (7, 102)
    clock.set_wall(50)
    assert (clock.now_s(), clock.wall_s()) == (7, 50)
    with pytest.raises(ValueError, match="backwards"):
        clock.wind(-1)
