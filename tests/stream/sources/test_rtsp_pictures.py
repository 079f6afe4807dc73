"""What an RTSP camera may send: other sizes, damage, any clock, too much. The server is real, the clip too."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stream.flow import Frame
from stream.sources import backlog, reader
from stream.sources.media_clock import SLACK_S
from stream.sources.rtsp import RtspSource
from stream.sources.states import Counts
from tests.servers.hasty import HastyClock, until
from tests.servers.rtsp import Faults, RtspCamera, clip
from tests.stream.sources.watching import Watcher, watching


async def test_the_camera_plays_a_real_clip() -> None:
    """Not a test pattern: every tile of the picture has the noise and the grey of a car park, and something moves."""
    rgb = np.stack([frame.rgb for frame in await _frames_of(clip(), 20)]).astype(np.float32)
    saturation = (rgb.max(-1) - rgb.min(-1)).mean()
    assert saturation < 40, "the colours of daylight; bars are near 200"
    assert 1 < np.abs(np.diff(rgb, axis=0)).mean() < 20
    with pytest.raises(FileNotFoundError):
        clip("no-such-clip.mp4")


async def _frames_of(units: tuple[tuple[bytes, ...], ...], count: int) -> list[Frame]:
    async with RtspCamera(units) as camera, watching(camera.url(), HastyClock()) as watcher:
        await watcher.until(lambda: len(watcher.frames) >= count)
        return watcher.frames[:count]


async def test_another_resolution_in_mid_stream_is_followed(hasty: HastyClock) -> None:
    """Row 7."""
    async with RtspCamera(clip()) as camera, watching(camera.url(), hasty) as watcher:
        await watcher.more(5)
        camera.units = clip(size=(160, 96))
        await watcher.until(lambda: watcher.frames[-1].rgb.shape == (96, 160, 3))
        camera.units = clip()
        await watcher.until(lambda: watcher.frames[-1].rgb.shape == (180, 320, 3))
        assert camera.plays == 1 and watcher.said("online")


async def test_a_first_key_frame_that_is_long_in_coming_is_no_stall(hasty: HastyClock) -> None:
    """Row 7: data comes, so the camera is not reset in mid-wait, again and again."""
    async with (
        RtspCamera(clip(), faults=Faults(late_key=150)) as camera,
        watching(camera.url(), hasty, stall_s=4.0) as watcher,
    ):
        await watcher.more(3)
        assert camera.plays == 1 and watcher.source.state.stalls == 0


async def test_damaged_data_is_counted_not_logged_line_by_line(
    hasty: HastyClock, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Row 7: loss and broken NAL units; libav does not write to the console either."""
    caplog.set_level(logging.DEBUG)
    async with (
        RtspCamera(clip(), faults=Faults(drop=0.1, garble=0.3)) as camera,
        watching(camera.url(), hasty) as watcher,
    ):
        await watcher.until(lambda: watcher.source.counts.corrupt + watcher.source.counts.errors > 10)
        camera.faults.drop = camera.faults.garble = 0.0
        await watcher.more(15)
        assert watcher.said("online") and camera.plays == 1
    assert len([r for r in caplog.records if r.name.startswith("stream.")]) <= 4
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("jump_s", [3600, -3600])
async def test_the_camera_clock_jumps_an_hour_and_ours_does_not(jump_s: int, hasty: HastyClock) -> None:
    """Row 8."""
    async with RtspCamera(clip()) as camera, watching(camera.url(), hasty) as watcher:
        await watcher.more(10)
        camera.stamp += jump_s * 90_000
        await watcher.more(25)
        assert watcher.source.counts.jumps >= 1, "the jump has come through, it was not filtered on the way"
    _times_are_sane(watcher)


async def test_the_camera_clock_wraps_around(hasty: HastyClock) -> None:
    """Row 8: RTP time has 32 bits and starts anywhere."""
    async with RtspCamera(clip(), stamp=2**32 - 90_000) as camera, watching(camera.url(), hasty) as watcher:
        await watcher.until(lambda: len(watcher.frames) >= 50)
        assert camera.stamp > 2**32
    _times_are_sane(watcher)


async def test_the_camera_clock_stands_still(hasty: HastyClock) -> None:
    """Row 8: the same stamp again and again."""
    async with RtspCamera(clip()) as camera, watching(camera.url(), hasty) as watcher:
        await watcher.more(5)
        camera.faults.frozen_stamps = True
        await watcher.more(5)
        standing = len(watcher.frames)
        await watcher.more(25)
        assert watcher.times[-1] - watcher.times[standing] > 0.5, "time goes on where the camera's stands"
        camera.faults.frozen_stamps = False
        await watcher.more(5)
    _times_are_sane(watcher)


def _times_are_sane(watcher: Watcher) -> None:
    """Forward only, and not far from the time that truly passed (a busy machine lags by seconds, not by an hour)."""
    arrived = np.array([frame.arrived_s for frame in watcher.frames])
    times = np.array(watcher.times)
    assert (np.diff(times) >= 0).all()
    np.testing.assert_allclose(times - times[0], arrived - arrived[0], atol=SLACK_S + 1.0)


async def test_more_pictures_than_wanted_are_sampled_evenly(hasty: HastyClock) -> None:
    """Row 10: twice the declared rate."""
    async with RtspCamera(clip(), fps=50.0) as camera, watching(camera.url(), hasty, fps=10.0) as watcher:
        await watcher.until(lambda: len(watcher.frames) >= 15)
    assert watcher.times[-1] == pytest.approx(watcher.frames[-1].index / 10, abs=0.35)
    assert watcher.source.counts.decoded >= 3 * len(watcher.frames)


async def test_a_burst_is_bounded_and_its_newest_picture_is_used(hasty: HastyClock) -> None:
    """Row 10: a second's pictures at once, to somebody who is busy meanwhile."""
    async with RtspCamera(clip(), faults=Faults(burst_s=1.0)) as camera:
        source = RtspSource(camera.url(), hasty, fps=0.0, stall_s=8.0)
        frames = aiter(source)
        await asyncio.wait_for(anext(frames), 60)
        await until(lambda: source.counts.delivered >= 60)
        newest = source.counts.delivered
        first = await asyncio.wait_for(anext(frames), 60)
        assert first.index >= newest - 3 and source.counts.dropped >= 50
        await source.aclose()


async def _watch_slowly(
    monkeypatch: pytest.MonkeyPatch, fps: float, enough: Callable[[RtspSource], bool]
) -> tuple[float, Counts]:
    """(media time of the newest picture, s; what was done until then) on a machine that needs twice the time."""
    real = reader.to_rgb

    def slow(*arguments: Any) -> np.ndarray:
        time.sleep(2 / fps)
        return real(*arguments)

    monkeypatch.setattr(reader, "to_rgb", slow)
    monkeypatch.setattr(backlog, "BEHIND_S", 0.2)
    async with RtspCamera(clip(), fps=fps) as camera, watching(camera.url(), HastyClock()) as watcher:
        await watcher.until(lambda: enough(watcher.source))
        return watcher.times[-1], watcher.source.counts


async def test_a_machine_that_is_too_slow_stays_with_the_present(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine that runs this: what is left out, not how fast, is what is looked at."""
    monkeypatch.setattr(backlog, "LATE_S", 0.3)
    time_s, hurried = await _watch_slowly(monkeypatch, 50.0, lambda source: source.counts.skipped >= 60)
    assert 50 * time_s > hurried.decoded + 30, "media time went on over what was left out"


async def test_without_catching_up_a_slow_machine_would_see_ever_older_pictures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: all is decoded, and media time goes on picture by picture."""
    monkeypatch.setattr(backlog, "LATE_S", 1e9)
    monkeypatch.setattr(backlog, "WAIT_S", (1e9, 1e9))  # never caught up, or a hiccup would be taken for a jump
    time_s, naive = await _watch_slowly(monkeypatch, 100.0, lambda source: source.counts.decoded >= 60)
    assert naive.skipped == 0 and 100 * time_s < naive.decoded + 30
