"""The bounded queue between tasks."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.mailbox import Closed, Mailbox


async def test_dropping_keeps_the_newest_in_order_counts_the_rest_and_never_waits() -> None:
    box: Mailbox[int] = Mailbox(2, "drop_oldest")
    for number in range(5):
        await asyncio.wait_for(box.put(number), 1)
    assert len(box) == 2 and box.dropped == 3
    assert [await box.get(), await box.get()] == [3, 4]


async def test_waiting_holds_the_writer_until_there_is_room() -> None:
    box: Mailbox[int] = Mailbox(1, "wait")
    await box.put(1)
    assert not box.offer(9)
    late = asyncio.create_task(box.put(2))
    await asyncio.sleep(0.001)
    assert not late.done()
    assert await box.get() == 1
    await late
    assert await box.get() == 2 and box.dropped == 0


async def test_closing_lets_readers_finish_and_turns_writers_away() -> None:
    box: Mailbox[int] = Mailbox(2, "wait")
    await box.put(1)
    await box.put(2)
    stuck = asyncio.create_task(box.put(3))
    await asyncio.sleep(0)
    box.close()
    box.close()
    with pytest.raises(Closed):
        await stuck
    assert box.closed and [await box.get(), await box.get()] == [1, 2]
    with pytest.raises(Closed):
        await box.get()
    with pytest.raises(Closed):
        box.offer(4)


async def test_closing_wakes_every_reader() -> None:
    box: Mailbox[int] = Mailbox(1)
    readers = [asyncio.create_task(box.get()) for _ in range(3)]
    await asyncio.sleep(0)
    box.close()
    results = await asyncio.gather(*readers, return_exceptions=True)
    assert all(isinstance(result, Closed) for result in results)


async def test_a_reader_that_gives_up_takes_nothing_with_it() -> None:
    box: Mailbox[int] = Mailbox(1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(box.get(), 0.001)
    await box.put(7)
    assert await box.get() == 7


@settings(deadline=None, max_examples=25)
@given(capacity=st.integers(1, 5), items=st.lists(st.integers(), max_size=20), takers=st.integers(1, 3))
def test_nothing_is_lost_or_doubled_when_writers_wait(capacity: int, items: list[int], takers: int) -> None:
    async def run() -> list[int]:
        box: Mailbox[int] = Mailbox(capacity, "wait")
        taken: list[int] = []

        async def take() -> None:
            while True:
                try:
                    taken.append(await box.get())
                except Closed:
                    return
                assert len(box) <= capacity

        async with asyncio.TaskGroup() as group:
            for _ in range(takers):
                group.create_task(take())
            for item in items:
                await box.put(item)
            box.close()
        return taken

    assert sorted(asyncio.run(run())) == sorted(items)


def test_a_mailbox_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="room for at least one"):
        Mailbox(0)
