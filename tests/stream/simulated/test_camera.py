"""The simulated camera as a source: its address, its pace, its end."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from stream.clock import Clock, HandWoundClock
from stream.flow import Frame
from stream.sources.simulated.camera import SimulatedCamera
from stream.sources.simulated.paint import GOOD, paint
from stream.sources.simulated.world import Script

pytestmark = pytest.mark.timeout(60)


async def take(camera: SimulatedCamera, count: int) -> list[Frame]:
    frames = []
    async for frame in camera:
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_unpaced_frames_are_the_script_frame_by_frame() -> None:
    camera = SimulatedCamera.from_url("sim://street?seed=3&fps=4&speed=0&size=160x120&start=50", HandWoundClock())
    before = camera.state
    frames = await take(camera, 12)
    assert (before.state, camera.state.state) == ("starting", "online")
    assert [f.index for f in frames] == list(range(12))
    assert [f.time_s for f in frames] == [50 + k / 4 for k in range(12)]
    for frame in frames:
        assert np.array_equal(frame.rgb, paint(camera.script, frame.time_s, (160, 120), GOOD))
        assert not frame.rgb.flags.writeable
    more = await take(camera, 2)
    assert [f.index for f in more] == [12, 13]  # watching again goes on, never back
    await camera.aclose()


async def test_speed_is_kept_on_a_wound_clock() -> None:
    clock = HandWoundClock()
    camera = SimulatedCamera(Script(7, "yard"), fps=4, speed=4, clock=clock)  # a frame every 1/16 s, exact in binary

    async def watch() -> list[float]:
        return [frame.time_s async for frame in camera]

    task = asyncio.create_task(watch())
    await settle()
    for _ in range(10):
        clock.wind(1 / 16)
        await settle()
    await camera.aclose()
    assert await task == [k / 4 for k in range(11)]


async def test_a_live_camera_skips_what_nobody_fetched() -> None:
    clock = HandWoundClock()
    camera = SimulatedCamera(Script(1, "hall"), fps=5, clock=clock)
    frames = camera.__aiter__()
    assert (await anext(frames)).index == 0
    clock.wind(2.02)
    late = await anext(frames)
    assert late.index == 10
    assert late.time_s == 2.0
    await camera.aclose()


async def test_closing_ends_a_wait_at_once_and_twice_is_safe() -> None:
    clock = HandWoundClock()  # never wound: only closing can end the wait
    camera = SimulatedCamera(Script(7, "yard"), fps=1, clock=clock)
    task = asyncio.create_task(take(camera, 2))
    await settle()
    assert clock.sleepers == 1
    await camera.aclose()
    await camera.aclose()
    assert len(await task) == 1
    assert camera.state.state == "ended"
    assert await take(camera, 1) == []


async def test_a_cancelled_watcher_is_cancelled() -> None:
    camera = SimulatedCamera(Script(7, "yard"), fps=1, clock=HandWoundClock())
    task = asyncio.create_task(take(camera, 2))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert camera.state.state == "online"


async def test_an_unpaced_camera_lets_others_run() -> None:
    camera, turns = SimulatedCamera(Script(7, "yard"), speed=0, size=(64, 48), clock=Clock()), 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await take(camera, 20)
    task.cancel()
    assert turns >= 10


def test_an_address_says_all_there_is_to_choose() -> None:
    camera = SimulatedCamera.from_url("sim://hall?seed=9&fps=2.5&speed=60&size=640x480&night=1&start=7", Clock())
    assert (camera.script.seed, camera.script.scene, camera.script.day) == (9, "hall", False)
    assert (camera.fps, camera.speed, camera.size, camera.start_s) == (2.5, 60, (640, 480), 7)
    assert SimulatedCamera.from_url("sim://yard?day_s=600", Clock()).script.day_length_s == 600
    assert SimulatedCamera.from_url("sim://yard", Clock()).script == Script(7, "yard")
    wet = SimulatedCamera.from_url("sim://desk?rain=1&pan=0.05&style=comic", Clock()).script
    assert wet == Script(7, "desk", rain=True, pan=0.05, style="comic")


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("sim://moon", "yard"),
        ("sim://", "yard"),
        ("sim://yard/back", "yard"),
        ("sim://yard?colour=red", "colour"),
        ("sim://yard?seed=-1", "seed"),
        ("sim://yard?seed=1.5", "whole"),
        ("sim://yard?fps=0", "fps"),
        ("sim://yard?fps=nan", "fps"),
        ("sim://yard?speed=1e9", "speed"),
        ("sim://yard?speed=inf", "speed"),
        ("sim://yard?size=20000x10", "size"),
        ("sim://yard?size=big", "size"),
        ("sim://yard?night=2", "night"),
        ("sim://yard?rain=yes", "rain"),
        ("sim://yard?pan=0.2", "pan"),
        ("sim://yard?style=oil", "soft"),
        ("sim://yard?seed=" + "1" * 600, "512"),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_a_sentence(url: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as refusal:
        SimulatedCamera.from_url(url, Clock())
    assert len(str(refusal.value)) < 250
    assert str(refusal.value).endswith(".")
