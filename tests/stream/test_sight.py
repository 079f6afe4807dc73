"""Frames that wait together are encoded together, and a bad one costs only its own camera."""

import asyncio
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest

from stream.device import Device
from stream.flow import Tokens
from stream.sight import Sight
from tests.fakes import CountingEncoder, colour_of, frame


def seen_colour(tokens: object) -> str:
    assert isinstance(tokens, Tokens)
    return colour_of(np.asarray(tokens.embeds))


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    device = Device()
    yield device
    await device.close()


async def held(device: Device) -> threading.Event:
    """Keep the device busy until the event is set."""
    entered, go = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        assert go.wait(20)

    turn = asyncio.ensure_future(device.run(hold))
    await asyncio.to_thread(entered.wait, 20)
    turn.add_done_callback(lambda done: done.exception())
    return go


async def test_frames_of_several_cameras_are_one_batch(device: Device) -> None:
    encoder = CountingEncoder()
    sight = Sight(device, encoder)
    go = await held(device)
    colours = ("red", "green", "blue")
    encoding = [asyncio.ensure_future(sight.encode(frame(0, 1.0, colour))) for colour in colours]
    await asyncio.sleep(0)
    go.set()
    tokens = await asyncio.gather(*encoding)
    assert encoder.batches == [3]
    assert [seen_colour(each) for each in tokens] == list(colours)


async def test_a_batch_is_bounded(device: Device) -> None:
    encoder = CountingEncoder()
    sight = Sight(device, encoder, most=4)
    go = await held(device)
    encoding = [asyncio.ensure_future(sight.encode(frame(i, 1.0))) for i in range(10)]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*encoding)
    assert encoder.batches == [4, 4, 2]


async def test_a_lonely_frame_goes_at_once(device: Device) -> None:
    encoder = CountingEncoder()
    tokens = await Sight(device, encoder).encode(frame(0, 2.5, "blue"))
    assert (encoder.batches, tokens.span_s, len(tokens.mass)) == ([1], (2.5, 2.5), 4)


async def test_a_poisoned_frame_fails_alone(device: Device) -> None:
    encoder = CountingEncoder()
    encoder.poison = "grey"
    sight = Sight(device, encoder)
    go = await held(device)
    encoding = [asyncio.ensure_future(sight.encode(frame(0, 1.0, colour))) for colour in ("red", "grey", "blue")]
    await asyncio.sleep(0)
    go.set()
    red, grey, blue = await asyncio.gather(*encoding, return_exceptions=True)
    assert isinstance(grey, ValueError)
    assert [seen_colour(each) for each in (red, blue)] == ["red", "blue"]


async def test_a_cancelled_frame_is_not_encoded(device: Device) -> None:
    encoder = CountingEncoder()
    sight = Sight(device, encoder)
    go = await held(device)
    gone = asyncio.ensure_future(sight.encode(frame(0, 1.0)))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    go.set()
    await sight.encode(frame(1, 2.0))
    assert encoder.batches == [1]
