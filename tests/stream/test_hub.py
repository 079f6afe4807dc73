"""Telling never waits: a slow listener loses its oldest, and knows how many."""

import asyncio

import pytest

from stream.hub import EventHub, Hub


async def test_everyone_hears_everything_in_order() -> None:
    hub: Hub[int] = Hub(8)
    async with hub.subscribe() as one, hub.subscribe() as two:
        for item in range(5):
            hub.publish(item)
        hub.close()
        assert [item async for item in one] == [item async for item in two] == [0, 1, 2, 3, 4]


async def test_a_slow_listener_loses_its_oldest_and_the_others_nothing() -> None:
    hub: Hub[int] = Hub(1000)
    async with hub.subscribe(capacity=3) as slow, hub.subscribe() as quick:
        for item in range(10):
            hub.publish(item)
        assert (slow.dropped, quick.dropped, hub.dropped_total) == (7, 0, 7)
        hub.close()
        assert [item async for item in slow] == [7, 8, 9]
        assert len([item async for item in quick]) == 10
    assert hub.dropped_total == 7


async def test_a_listener_that_waits_is_woken() -> None:
    hub: Hub[str] = Hub()
    async with hub.subscribe() as listener:
        waiting = asyncio.ensure_future(anext(listener))
        await asyncio.sleep(0)
        assert not waiting.done()
        hub.publish("news")
        assert await waiting == "news"
    assert hub.listeners == 0


async def test_listeners_are_bounded() -> None:
    hub: Hub[int] = Hub(listeners=1)
    async with hub.subscribe():
        with pytest.raises(RuntimeError, match="listeners are connected"):
            async with hub.subscribe():
                pass


async def test_who_was_away_can_hear_what_it_missed() -> None:
    hub = EventHub(capacity=4, first_id=100)
    for number in range(6):
        hub.emit("tick", "front", 0.0, {"n": number})
    assert hub.last_id == 106
    async with hub.subscribe(replay=hub.after(104)) as missed, hub.subscribe(replay=hub.after(9999)) as stranger:
        hub.close()
        assert [event.data["n"] async for event in missed] == [4, 5]
        # An id of another life says nothing about this one: better twice than not at all.
        assert [event.id async for event in stranger] == [103, 104, 105, 106]
