"""An RTSP camera that comes, goes and comes again. The server is real, the clip too; only the waits are cut short."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest

from stream.flow import Frame
from stream.sources.errors import SourceError
from stream.sources.rtsp import RtspSource
from stream.station import LEAVE_S
from tests.servers.hasty import HastyClock, descriptors, threads, until
from tests.servers.mosquitto import free_port
from tests.servers.processes import rtsp_process
from tests.servers.rtsp import Faults, RtspCamera, clip
from tests.stream.sources.watching import watching

HARD = "p@:/?#% é-canary"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_pictures_arrive_in_order_at_the_rate_of_the_camera(transport: str, hasty: HastyClock) -> None:
    async with RtspCamera(clip()) as camera, watching(camera.url(), hasty, transport=transport) as watcher:
        await watcher.until(lambda: len(watcher.frames) >= 25)
        frames, state = watcher.frames, watcher.source.state
    assert frames[0].rgb.shape == (180, 320, 3) and frames[0].rgb.std() > 10, "a picture, not a grey field"
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    assert (np.diff(watcher.times) > 0).all() and watcher.times[-1] == pytest.approx(frames[-1].index / 25, abs=0.5)
    assert (state.state, state.reconnects, state.stalls) == ("online", 0, 0)
    assert watcher.source.state.state == "ended"
    info = watcher.source.info
    assert info is not None and (info.codec, info.width, info.height) == ("h264", 320, 180)


@pytest.mark.parametrize("scheme", ["digest", "basic"])
@pytest.mark.parametrize("raw", [True, False])
async def test_a_hard_password_opens_the_door(scheme: str, raw: bool, hasty: HastyClock) -> None:
    async with RtspCamera(clip(), login=("us er@site", HARD), scheme=scheme) as camera:
        url = camera.url(f"us%20er%40site:{HARD}" if raw else None)
        async with watching(url, hasty) as watcher:
            await watcher.more(3)


async def test_absent_at_start_it_is_offline_at_once_and_comes_when_it_comes(hasty: HastyClock) -> None:
    """Row 1 of the fault list; another camera notices nothing."""
    camera = RtspCamera(clip(), port=free_port())
    async with RtspCamera(clip()) as other, watching(other.url(), hasty) as neighbour:
        async with watching(camera.url(), hasty) as watcher:
            await watcher.until(lambda: watcher.said("offline"))
            assert "Nothing listens" in watcher.source.state.reason and not watcher.frames
            await watcher.until(lambda: len(watcher.states) >= 3)
            async with camera:
                await watcher.until(lambda: watcher.said("online"))
                assert watcher.source.state.reconnects == 0, "it has not come back, it has come"
        assert {state.state for state in neighbour.states} <= {"online"}


async def test_ten_resets_leave_nothing_behind(hasty: HastyClock) -> None:
    """Row 2: every time it returns; time and numbering go on; no thread and no descriptor is left."""
    async with RtspCamera(clip()) as camera, watching(camera.url(), hasty) as watcher:
        await watcher.more(3)
        before = threads(), descriptors()
        for cycle in range(10):
            camera.reset_clients()
            await watcher.until(lambda c=cycle: watcher.source.state.reconnects == c + 1)  # type: ignore[misc]
            await watcher.more(2)
        await watcher.until(lambda: threads() <= before[0] and descriptors() <= before[1])
        assert camera.plays == 11
    assert watcher.times == sorted(watcher.times)
    indices = [frame.index for frame in watcher.frames]
    assert indices == sorted(set(indices))
    assert [state.state for state in watcher.states] == ["online", *["offline", "online"] * 10, "ended"]


async def test_a_server_that_is_killed_and_started_again_comes_back(hasty: HastyClock) -> None:
    port = free_port()
    async with watching(f"rtsp://127.0.0.1:{port}/cam", hasty) as watcher:
        async with rtsp_process(port) as process:
            await watcher.more(5)
            process.send_signal(signal.SIGKILL)
            await watcher.until(lambda: watcher.said("offline"))
        last = watcher.frames[-1]
        hasty.skip(600)
        async with rtsp_process(port):
            await watcher.until(lambda: watcher.said("online"))
            first = next(frame for frame in watcher.frames if frame.index > last.index)
            assert first.time_s - last.time_s == pytest.approx(first.arrived_s - last.arrived_s, abs=0.5)
            assert first.time_s - last.time_s > 600, "the gap took the time that it took"


async def test_a_stall_is_seen_by_the_clock_of_frames_and_the_reader_is_abandoned(hasty: HastyClock) -> None:
    """Row 3: the connection stays up, pictures stop."""
    async with RtspCamera(clip()) as camera, watching(camera.url(), hasty, stall_s=0.6) as watcher:
        await watcher.more(5)
        stuck = watcher.source.reader
        camera.faults.stalled = True
        await watcher.until(lambda: watcher.said("stalled"))
        assert "no picture for 0.6 s" in watcher.source.state.reason and watcher.source.state.stalls >= 1
        camera.faults.stalled = False
        await watcher.until(lambda: watcher.said("online"))
        await watcher.until(lambda: stuck is not None and not stuck.alive)
        assert watcher.source.reader is not stuck
    assert watcher.times == sorted(watcher.times)


async def test_a_short_silence_is_no_stall(hasty: HastyClock) -> None:
    """Longer than the time-out of a single read, shorter than `stall_s`: the same connection goes on."""
    async with RtspCamera(clip()) as camera, watching(camera.url(), hasty, stall_s=8.0) as watcher:
        await watcher.more(5)
        camera.faults.stalled = True
        await asyncio.sleep(1.2)
        camera.faults.stalled = False
        await watcher.more(10)
        assert camera.plays == 1 and watcher.source.state.stalls == 0


async def test_a_port_that_never_answers_is_given_up_off_the_loop(hasty: HastyClock) -> None:
    """Row 4."""
    async with (
        RtspCamera(clip(), faults=Faults(mute=True)) as camera,
        watching(camera.url(), hasty, connect_s=0.5) as watcher,
    ):
        beats = 0
        while not watcher.said("offline"):
            beats += 1
            await asyncio.sleep(0.01)
        assert beats > 10, "the loop went on meanwhile"
        assert "did not answer within 0.5 s" in watcher.source.state.reason
        camera.faults.mute = False
        camera.reset_clients()
        await watcher.until(lambda: watcher.said("online"))


async def test_a_wrong_password_is_a_state_of_its_own_with_long_waits() -> None:
    """Row 5: a minute at least between attempts, ten at most; it recovers when the camera's password is set right."""
    hasty = HastyClock(haste=1000.0)
    async with (
        RtspCamera(clip(), login=("user", "right-word")) as camera,
        watching(camera.url("user:wrong-word"), hasty) as watcher,
    ):
        await watcher.until(lambda: len([s for s in watcher.states if s.state == "auth_failed"]) >= 4)
        waits = [nap for nap in hasty.naps_s if nap >= 59][:3]
        assert len(waits) == 3 and waits == sorted(waits)
        assert all(low <= wait <= 1.2 * low for wait, low in zip(waits, (60, 120, 300), strict=True))
        assert "user name or password" in watcher.source.state.reason
        assert not watcher.frames
        camera.login = ("user", "wrong-word")
        await watcher.until(lambda: watcher.said("online"))


def waits_of(source: RtspSource) -> list[float]:
    """The waits between attempts, s, as they are decided from now on."""
    waits: list[float] = []
    next_s = source._away.next_s

    def remembered_s() -> float:
        waits.append(next_s())
        return waits[-1]

    source._away.next_s = remembered_s  # type: ignore[method-assign]
    return waits


async def test_waits_grow_while_it_is_away_and_only_good_pictures_shorten_them(hasty: HastyClock) -> None:
    """Row 6."""
    async with RtspCamera(clip()) as camera, watching(camera.url(), hasty, stall_s=60.0) as watcher:
        waits = waits_of(watcher.source)

        async def wait_after_reset() -> float:
            count = watcher.source.state.reconnects
            before = len(waits)
            camera.reset_clients()
            await watcher.until(lambda: watcher.source.state.reconnects > count)
            await watcher.more(2)
            reasons = [s.reason for s in watcher.states if s.state == "offline"]
            assert "Next attempt in" in reasons[-1]
            return waits[before]

        await watcher.more(2)
        first, second = await wait_after_reset(), await wait_after_reset()
        assert 0.8 <= first <= 1.2 and 1.6 <= second <= 2.4, "a camera that dies each second is tried less often"
        hasty.skip(31)
        await watcher.more(2)
        third = await wait_after_reset()
        assert 0.8 <= third <= 1.2, "after half a minute of pictures it is a first failure again"


async def test_a_camera_that_is_unplugged_is_tried_less_and_less_often(hasty: HastyClock) -> None:
    """Where it is plain that nothing can be opened, the good pictures of long ago shorten the wait only once."""

    class Unplugged(RtspSource):
        plugged = True

        def _check(self) -> None:
            if not self.plugged:
                raise SourceError("There is no camera.", "not_found")

    async with RtspCamera(clip()) as camera:
        source = Unplugged(camera.url(), hasty, fps=0.0, stall_s=60.0, rng=random.Random(1))
        waits = waits_of(source)
        frames = aiter(source)
        await anext(frames)
        hasty.skip(31)
        await anext(frames)
        await until(lambda: source.reader.healthy_s > 31)
        source.plugged = False
        camera.reset_clients()
        rest = asyncio.create_task(_rest(frames))
        await until(lambda: len(waits) >= 5)
        assert [round(wait / step, 1) for wait, step in zip(waits, (1, 2, 5, 10, 30), strict=False)] == pytest.approx(
            [1.0] * 5, abs=0.21
        )
        await source.aclose()
        await asyncio.wait_for(rest, 30)


async def _rest(frames: AsyncIterator[Frame]) -> None:
    async for _ in frames:
        pass


async def test_a_camera_that_has_no_such_stream_or_an_error_says_so(hasty: HastyClock) -> None:
    async with RtspCamera(clip()) as camera:
        async with watching(camera.url(path="/nowhere"), hasty) as watcher:
            await watcher.until(lambda: "no such stream (404)" in watcher.source.state.reason)
        camera.faults.status = "503 Service Unavailable"
        async with watching(camera.url(), hasty) as watcher:
            await watcher.until(lambda: watcher.said("offline"))
            camera.faults.status = ""
            await watcher.until(lambda: watcher.said("online"))


async def test_a_camera_that_sends_only_sound_says_so_and_is_watched_for_a_picture(hasty: HastyClock) -> None:
    async with RtspCamera(clip(), faults=Faults(sound_only=True)) as camera, watching(camera.url(), hasty) as watcher:
        await watcher.until(lambda: watcher.said("offline"))
        assert "holds no video (only sound)" in watcher.source.state.reason and not watcher.frames
        camera.faults.sound_only = False
        await watcher.until(lambda: watcher.said("online"))
        await watcher.more(2)


async def test_closing_is_prompt_also_while_nothing_comes(hasty: HastyClock) -> None:
    async with RtspCamera(clip(), faults=Faults(stalled=True)) as camera:
        source = RtspSource(camera.url(), hasty, stall_s=60.0, connect_s=2.0)
        task = asyncio.ensure_future(anext(aiter(source)))
        await until(lambda: camera.plays)
        await asyncio.wait_for(source.aclose(), 30)
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(task, 30)
        await source.aclose()
        await until(lambda: source.reader is not None and not source.reader.alive)


async def test_closing_waits_once_for_a_thread_that_hangs(hasty: HastyClock) -> None:
    """A port that never answers; the station gives all its cameras `station.LEAVE_S` seconds."""
    async with RtspCamera(clip(), faults=Faults(mute=True)) as camera:
        source = RtspSource(camera.url(), hasty, connect_s=20.0)
        hasty.haste = 1.0  # the loop must not lose patience before the thread does
        task = asyncio.ensure_future(anext(aiter(source)))
        await until(lambda: camera.connections)
        waits: list[asyncio.Future[None]] = []
        finished = source.reader.frames.finished

        async def counted() -> None:
            waits.append(asyncio.ensure_future(finished()))
            await waits[-1]

        source.reader.frames.finished = counted  # type: ignore[method-assign]
        task.cancel()  # as whoever iterates leaves first
        await asyncio.wait([task])
        begun_s = time.monotonic()
        await source.aclose()
        assert len(waits) == 1 and time.monotonic() - begun_s < LEAVE_S
        camera.faults.mute = False
        camera.reset_clients()
        await until(lambda: not source.reader.alive)


async def test_the_password_appears_nowhere(
    hasty: HastyClock, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Through every failure there is: wrong login, wrong path, no answer, reset, stall, nobody there."""
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    async with RtspCamera(clip(), login=("user", HARD)) as camera:
        for url, fault in (
            (camera.url(f"user:x{HARD}"), Faults()),
            (camera.url(f"user:{HARD}", path="/nowhere"), Faults()),
            (camera.url(f"user:{HARD}"), Faults(status="500 Oops")),
            (camera.url(f"user:{HARD}"), Faults(mute=True)),
            (camera.url(f"user:{HARD}"), Faults(stalled=True)),
            (camera.url(f"user:{HARD}").replace(str(camera.port), str(free_port())), Faults()),
        ):
            camera.faults = fault
            connect_s = 0.3 if fault.mute else 5.0
            async with watching(url, hasty, connect_s=connect_s, stall_s=0.3) as watcher:
                await watcher.until(lambda w=watcher: w.states)  # type: ignore[misc]
                said += [f"{state.state} {state.reason}" for state in watcher.states]
                said += [repr(watcher.source.recipe), repr(watcher.source.reader), str(watcher.source.info)]
    captured = capfd.readouterr()
    everything = "\n".join([*said, caplog.text, captured.out, captured.err])
    assert "auth_failed" in everything and "stalled" in everything and "404" in everything
    assert "canary" not in everything
