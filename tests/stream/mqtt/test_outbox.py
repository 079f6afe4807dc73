from __future__ import annotations

import asyncio
from typing import Literal

from stream.mqtt.outbox import MOST_TRIES, SMALL_BYTES, Outbox, Publication


def note(number: int, worth: Literal["late", "now", "little"] = "late", size: int = 1) -> Publication:
    return Publication(f"t/{number}", b"x" * size, worth=worth)


def box(capacity: int = 4, most_bytes: int = 10_000) -> tuple[Outbox, list[int]]:
    lost: list[int] = []
    return Outbox(capacity, most_bytes, lost.append), lost


async def topics(outbox: Outbox) -> list[str]:
    taken = []
    while len(outbox):
        publication = await outbox.take()
        taken.append(publication.topic)
        outbox.done(publication)
    return taken


async def test_answers_wait_for_the_broker_and_the_oldest_goes_first() -> None:
    outbox, lost = box(4)
    for number in range(6):
        outbox.put(note(number))
    assert outbox.dropped == sum(lost) == 2
    assert await topics(outbox) == ["t/2", "t/3", "t/4", "t/5"]


async def test_bytes_are_bounded_too() -> None:
    outbox, _ = box(100, most_bytes=1000)
    for number in range(10):
        outbox.put(note(number, size=300))
    assert await topics(outbox) == ["t/8", "t/9"]
    assert outbox.dropped == 8


async def test_states_and_words_are_not_kept_while_the_broker_is_away() -> None:
    outbox, _ = box()
    outbox.put(note(0, "now"))
    outbox.put(note(1, "little"))
    outbox.put(note(2))
    assert (len(outbox), outbox.dropped) == (1, 2)
    outbox.connected = True
    outbox.put(note(3, "now"))
    outbox.disconnected()
    assert await topics(outbox) == ["t/2"]


async def test_words_never_push_an_answer_out() -> None:
    outbox, _ = box(4)
    outbox.connected = True
    for number in range(2):
        outbox.put(note(number))
    for number in range(10, 20):
        outbox.put(note(number, "little"))
    assert await topics(outbox) == ["t/0", "t/1"]
    assert outbox.dropped == 10


async def test_what_did_not_arrive_is_first_again_in_the_old_order() -> None:
    outbox, _ = box()
    for number in range(3):
        outbox.put(note(number))
    one, two = await outbox.take(), await outbox.take()
    outbox.put_back(two)
    outbox.put_back(one)
    assert await topics(outbox) == ["t/0", "t/1", "t/2"]


async def test_what_is_large_goes_down_with_one_connection_only() -> None:
    outbox, _ = box(4, 10 * SMALL_BYTES)
    outbox.put(note(0, size=SMALL_BYTES + 1))
    outbox.put_back(await outbox.take())
    assert (len(outbox), outbox.dropped) == (0, 1)


async def test_what_is_large_and_can_be_slim_is_tried_once_more() -> None:
    for known_before in (True, False):
        outbox, _ = box(4, 10 * SMALL_BYTES)
        outbox.put(Publication("t/0", b"x" * (SMALL_BYTES + 1), slim=lambda: b"slim"))
        outbox.put(note(1))
        large = await outbox.take()
        if known_before:
            outbox.done(large, arrived=False)
        else:
            outbox.put_back(large)
        assert (len(outbox), outbox.dropped) == (2, 0)
        slim = await outbox.take()
        assert (slim.topic, slim.payload) == ("t/0", b"slim")
        outbox.done(slim, arrived=False)
        assert (len(outbox), outbox.dropped) == (1, 1)


async def test_what_is_small_is_never_given_up_but_lets_others_go_first() -> None:
    outbox, _ = box()
    outbox.put(note(0))
    outbox.put(note(1))
    for _ in range(MOST_TRIES):
        first = await outbox.take()
        assert first.topic == "t/0"
        outbox.put_back(first)
    for _ in range(10 * MOST_TRIES):
        outbox.put_back(await outbox.take())
    assert outbox.dropped == 0 and sorted(await topics(outbox)) == ["t/0", "t/1"]


async def test_empty_means_sent_not_only_taken() -> None:
    outbox, _ = box()
    await outbox.empty()
    outbox.put(note(0))
    waiting = asyncio.ensure_future(outbox.empty())
    publication = await outbox.take()
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.done(publication)
    await waiting


async def test_who_wants_to_know_is_told_once_it_has_arrived_and_only_then() -> None:
    outbox, _ = box()
    arrived: list[str] = []
    for name in ("lost", "too large", "fine"):
        outbox.put(Publication(name, b"x", on_done=lambda name=name: arrived.append(name)))  # type: ignore[misc]
    outbox.put_back(await outbox.take())
    outbox.done(await outbox.take())
    assert arrived == ["lost"]  # it was first in line again
    outbox.done(await outbox.take(), arrived=False)
    outbox.done(await outbox.take())
    assert arrived == ["lost", "fine"]
