"""From a thread to the loop: bounded, newest wins or the thread waits, and nobody waits for the dead."""

from __future__ import annotations

import asyncio
import threading

import pytest

from stream.sources.handover import Ended, Handover


async def test_the_newest_wins_and_the_rest_is_counted() -> None:
    handover: Handover[int] = Handover(2, "drop_oldest")

    def work() -> None:
        for number in range(100):
            assert handover.put(number)
        handover.finish()

    await asyncio.to_thread(work)
    assert [await handover.get(), await handover.get()] == [98, 99]
    assert handover.dropped == 98
    with pytest.raises(Ended):
        await handover.get()


async def test_a_thread_that_waits_loses_nothing() -> None:
    handover: Handover[int] = Handover(2, "wait")

    def work() -> None:
        for number in range(500):
            handover.put(number)
        handover.finish()

    thread = threading.Thread(target=work)
    thread.start()
    assert [await asyncio.wait_for(handover.get(), 60) for _ in range(500)] == list(range(500))
    with pytest.raises(Ended):
        await asyncio.wait_for(handover.get(), 60)
    thread.join(60)
    assert handover.dropped == 0


async def test_the_error_comes_after_the_last_item() -> None:
    handover: Handover[int] = Handover(2, "wait")
    handover.put(1)
    handover.finish(ValueError("broken"))
    assert await handover.get() == 1
    with pytest.raises(ValueError, match="broken"):
        await handover.get()
    await asyncio.wait_for(handover.finished(), 60)


async def test_abandoning_frees_a_waiting_thread_and_a_waiting_task() -> None:
    handover: Handover[int] = Handover(1, "wait")
    refused: list[bool] = []

    def work() -> None:
        handover.put(1)
        refused.append(not handover.put(2))

    thread = threading.Thread(target=work)
    thread.start()
    await asyncio.sleep(0.01)
    handover.abandon()
    await asyncio.to_thread(thread.join, 60)
    assert refused == [True]
    with pytest.raises(Ended):
        await asyncio.wait_for(handover.get(), 60)

    other: Handover[int] = Handover(1, "wait")
    task = asyncio.create_task(other.get())
    await asyncio.sleep(0)
    other.abandon()
    with pytest.raises(Ended):
        await asyncio.wait_for(task, 60)


def test_a_thread_outlives_its_loop_quietly() -> None:
    async def make() -> Handover[int]:
        return Handover(1, "wait")

    handover = asyncio.run(make())
    assert handover.put(1)
    assert not handover.put(2)  # would wait for ever if it had not noticed
