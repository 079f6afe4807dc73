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
        hub.emit("answer", "front", 0.0, {"n": number})
    assert hub.last_id == 106
    async with hub.subscribe(replay=hub.after(104)) as missed, hub.subscribe(replay=hub.after(9999)) as stranger:
        hub.close()
        assert [event.data["n"] async for event in missed] == [4, 5]
        # An id of another life says nothing about this one: better twice than not at all.
        assert [event.id async for event in stranger] == [103, 104, 105, 106]


async def test_what_every_second_says_pushes_out_nothing_of_what_happened() -> None:
    hub = EventHub(capacity=4, first_id=100)
    first = hub.emit("answer", "front", 0.0, {"n": 0})
    for number in range(100):
        hub.emit("tick", "front", 0.0, {"n": number})
        hub.emit("memory", "front", 0.0, {"type": "held"})
        hub.emit("camera_state", "back", 0.0, {"n": number})  # a camera that flaps
    fault = hub.emit("memory", "front", 0.0, {"type": "fault"})
    kept = hub.recent()
    assert [event for event in kept if event.kind != "camera_state"] == [first, fault]
    assert [event.id for event in kept] == sorted(event.id for event in kept)
    assert len(kept) == 2 + 4
    assert hub.gap_after(first.id, {"camera_state", "answer"})
    assert not hub.gap_after(first.id, {"answer", "memory", "tick"})
    assert not hub.gap_after(kept[1].id, {"camera_state"})
    assert hub.gap_after(99, {"answer"})  # of the life before: nobody knows


async def test_what_is_not_wanted_takes_no_place_in_a_listeners_queue() -> None:
    hub: Hub[int] = Hub(1000)
    async with hub.subscribe(capacity=2, wants=lambda item: item < 3) as listener:
        for item in range(1, 100):
            hub.publish(item)
        hub.close()
        assert listener.dropped == 0
        assert [item async for item in listener] == [1, 2]
