"""One thread, bounded lanes, fair turns, and nothing left behind when somebody leaves."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest

from stream.device import ASK, SEE, Device, DeviceClosed


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    device = Device(capacity=8)
    yield device
    await device.close()


class Held:
    """Keeps the device busy until `release`, so that a test can fill the lanes behind it."""

    def __init__(self, device: Device) -> None:
        self.opened, self.entered = threading.Event(), threading.Event()
        self.task = asyncio.ensure_future(device.run(self._turn))

    def _turn(self) -> None:
        self.entered.set()
        assert self.opened.wait(20)

    async def begun(self) -> "Held":
        await asyncio.to_thread(self.entered.wait, 20)
        return self

    async def release(self) -> None:
        self.opened.set()
        await self.task


async def test_all_turns_run_on_the_same_single_thread(device: Device) -> None:
    threads = await asyncio.gather(*(device.run(threading.get_ident, priority=p) for p in (SEE, ASK) * 4))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_seeing_goes_first_but_a_waiting_asker_is_never_starved() -> None:
    device = Device(sees_in_a_row=2)
    held = await Held(device).begun()
    order: list[str] = []
    turns = [asyncio.ensure_future(device.run(order.append, "ask", priority=ASK)) for _ in range(2)]
    turns += [asyncio.ensure_future(device.run(order.append, "see", priority=SEE)) for _ in range(6)]
    await asyncio.sleep(0)
    await held.release()
    await asyncio.gather(*turns)
    assert order == ["see", "see", "ask", "see", "see", "ask", "see", "see"]
    await device.close()


async def test_the_lanes_are_bounded() -> None:
    device = Device(capacity=3)
    held = await Held(device).begun()
    asks = [asyncio.ensure_future(device.run(lambda: None, priority=ASK)) for _ in range(10)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert device.depth == 3
    await held.release()
    await asyncio.gather(*asks)
    assert device.depth == 0
    await device.close()


async def test_exceptions_travel_and_the_thread_lives_on(device: Device) -> None:
    def broken() -> None:
        raise KeyError("a kernel")

    with pytest.raises(KeyError, match="a kernel"):
        await device.run(broken)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await device.run(next, iter(()))
    assert await device.run(lambda: 7) == 7


async def test_iterate_takes_a_turn_per_item_so_that_others_come_between(device: Device) -> None:
    seen: list[object] = []

    async def words() -> None:
        async with aclosing(device.iterate(lambda: iter(range(4)))) as items:
            async for item in items:
                seen.append(item)
                await device.run(seen.append, "frame", priority=SEE)

    await words()
    assert seen == [0, "frame", 1, "frame", 2, "frame", 3, "frame"]


async def test_leaving_an_iteration_closes_it_on_the_device_thread(device: Device) -> None:
    closed_on: list[int] = []

    def numbers() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed_on.append(threading.get_ident())

    async with aclosing(device.iterate(numbers)) as items:
        async for item in items:
            if item == 3:
                break
    assert closed_on == [await device.run(threading.get_ident)]


async def test_an_iterator_that_raises_raises_here_and_is_closed(device: Device) -> None:
    closed: list[bool] = []

    def numbers() -> Iterator[int]:
        try:
            yield 1
            raise ValueError("half way")
        finally:
            closed.append(True)

    got: list[int] = []

    async def read() -> None:
        async with aclosing(device.iterate(numbers)) as items:
            async for item in items:
                got.append(item)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(ValueError, match="half way"):
        await read()
    assert got == [1]
    assert closed == [True]


async def test_a_cancelled_turn_that_waits_never_runs(device: Device) -> None:
    held = await Held(device).begun()
    ran: list[str] = []
    waiting = asyncio.ensure_future(device.run(ran.append, "too late"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await held.release()
    await device.run(lambda: None, priority=ASK)
    assert ran == []


async def test_the_result_of_a_turn_whose_caller_left_is_undone_on_the_device(device: Device) -> None:
    started, go = threading.Event(), threading.Event()
    undone: list[tuple[str, int]] = []

    def make() -> str:
        started.set()
        assert go.wait(20)
        return "fork"

    turn = asyncio.ensure_future(device.run(make, undo=lambda made: undone.append((made, threading.get_ident()))))
    await asyncio.to_thread(started.wait, 20)
    turn.cancel()
    await asyncio.gather(turn, return_exceptions=True)
    assert undone == []
    go.set()
    thread = await device.run(threading.get_ident, priority=ASK)
    await device.run(lambda: None, priority=ASK)
    assert undone == [("fork", thread)]


async def test_cancelling_twice_still_closes_the_iterator(device: Device) -> None:
    inside, go, closed = threading.Event(), threading.Event(), threading.Event()

    def slow() -> Iterator[int]:
        try:
            inside.set()
            assert go.wait(20)
            yield 1
        finally:
            closed.set()

    async def reader() -> None:
        async with aclosing(device.iterate(slow)) as items:
            async for _ in items:
                pass

    task = asyncio.ensure_future(reader())
    await asyncio.to_thread(inside.wait, 20)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not closed.is_set()  # the turn is still running: nobody may touch the iterator now
    go.set()
    assert await asyncio.to_thread(closed.wait, 20)


async def test_closing_refuses_what_waits_and_what_comes_later() -> None:
    device = Device()
    held = await Held(device).begun()
    waiting = asyncio.ensure_future(device.run(lambda: None))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(device.close())
    with pytest.raises(DeviceClosed):
        await waiting
    await held.release()
    assert await closing is True
    with pytest.raises(DeviceClosed, match="shutting down"):
        await device.run(lambda: None)


async def test_a_turn_that_hangs_does_not_hold_the_end() -> None:
    device = Device()
    held = await Held(device).begun()
    assert await device.close(wait_s=0.01) is False
    held.opened.set()  # let the thread go
    await held.task
