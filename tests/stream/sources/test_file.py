"""Files: every picture once, at the right time, and one clear sentence for what is no video."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from stream.clock import Clock, HandWoundClock
from stream.flow import Frame
from stream.sources.errors import SourceError
from stream.sources.file import FileSource
from tests.servers.hasty import descriptors, threads, until
from tests.servers.media import numbered, read_number, write_sound, write_video
from tests.servers.rtsp import CLIPS, clip


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "numbers.mp4"
    write_video(path, 30, fps=10)
    return path


async def read(source: FileSource, most: int = 10_000) -> list[Frame]:
    frames = []
    async for frame in source:
        frames.append(frame)
        if len(frames) == most:
            break
    await source.aclose()
    return frames


async def test_every_picture_comes_once_in_order_and_read_only(video: Path) -> None:
    source = FileSource(video, Clock(), fps=0, pace="fast")
    first = source.state
    assert first.state == "starting"
    frames = await read(source)
    assert [read_number(frame.rgb) for frame in frames] == list(range(30))
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.time_s for frame in frames] == pytest.approx([i / 10 for i in range(30)])
    assert frames[0].rgb.shape == (48, 64, 3) and frames[0].rgb.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        frames[0].rgb[0] = 1
    last = source.state
    assert last.state == "ended" and "its end" in last.reason
    assert source.counts.decoded == source.counts.delivered == 30 and source.counts.dropped == 0


@pytest.mark.parametrize(("fps", "numbers"), [(2.0, [0, 5, 10, 15, 20, 25]), (1.0, [0, 10, 20]), (4.0, None)])
async def test_pictures_are_sampled_by_media_time(video: Path, fps: float, numbers: list[int] | None) -> None:
    frames = await read(FileSource(video, Clock(), fps=fps, pace="fast"))
    seen = [read_number(frame.rgb) for frame in frames]
    assert seen == numbers if numbers else len(seen) == 12


async def test_at_its_own_pace_a_picture_comes_when_its_time_has_come(video: Path) -> None:
    clock = HandWoundClock()
    source = FileSource(video, clock, fps=2.0)
    frames: list[Frame] = []

    async def watch() -> None:
        async for frame in source:  # one by one: what is being looked at is when they come
            frames.append(frame)  # noqa: PERF401

    task = asyncio.create_task(watch())
    for due in range(6):
        while len(frames) <= due or clock.sleepers == 0:
            if task.done():
                break
            await asyncio.sleep(0.005)
        assert len(frames) == due + 1, "nothing comes before its time"
        clock.wind(0.5)
    await asyncio.wait_for(task, 60)
    assert [frame.arrived_s - frames[0].arrived_s for frame in frames] == pytest.approx([i / 2 for i in range(6)])


async def test_a_loop_goes_on_for_ever_and_time_with_it(video: Path) -> None:
    frames = await read(FileSource(video, Clock(), fps=0, pace="fast", loop=True), most=100)
    times = [frame.time_s for frame in frames]
    assert [read_number(frame.rgb) for frame in frames] == [i % 30 for i in range(100)]
    assert times == pytest.approx([i / 10 for i in range(100)])


async def test_a_large_picture_is_scaled_down(tmp_path: Path) -> None:
    write_video(tmp_path / "large.mkv", 3, size=(640, 360))
    frames = await read(FileSource(tmp_path / "large.mkv", Clock(), fps=0, pace="fast", longest_side=160))
    assert frames[0].rgb.shape == (90, 160, 3)
    assert [read_number(frame.rgb) for frame in frames] == [0, 1, 2]


async def test_a_real_clip_with_b_frames_comes_in_order() -> None:
    path = CLIPS / "one-by-one-person-detection.mp4"
    frames = await read(FileSource(path, Clock(), fps=0, pace="fast", longest_side=64))
    steps = np.diff([frame.time_s for frame in frames])
    assert len(frames) == 80 and (steps > 0).all() and steps.max() < 0.2


async def test_pictures_come_upright(tmp_path: Path) -> None:
    """Filmed with the phone on its side: the left edge belongs at the bottom."""
    on_its_side = numbered(0)
    on_its_side[:, :16] = 220
    write_video(tmp_path / "phone.mp4", [on_its_side] * 2, turned=90)
    frames = await read(FileSource(tmp_path / "phone.mp4", Clock(), fps=0, pace="fast"))
    assert frames[0].rgb.shape == (64, 48, 3)
    assert frames[0].rgb[-12:].mean() > 200
    assert frames[0].rgb[:40].mean() < 60


async def test_a_damaged_file_gives_what_is_whole_and_counts_the_rest(tmp_path: Path) -> None:
    rng, units = random.Random(5), clip()
    data = bytearray(b"".join(b"\0\0\0\1" + nal for unit in units for nal in unit))
    (tmp_path / "whole.h264").write_bytes(data)
    for _ in range(200):
        data[rng.randrange(3000, len(data))] = rng.randrange(256)
    (tmp_path / "damaged.h264").write_bytes(data)
    for name in ("whole", "damaged"):
        source = FileSource(tmp_path / f"{name}.h264", Clock(), fps=0, pace="fast")
        frames = await read(source)
        assert source.state.state == "ended"
        assert (source.counts.errors + source.counts.corrupt > 0) == (name == "damaged")
        assert len(frames) == 40 if name == "whole" else 0 < len(frames) <= 40
        assert all(np.diff([frame.time_s for frame in frames]) > 0)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "There is no file at"),
        ("empty", "is empty"),
        ("folder", "is a folder"),
        ("text", "no video that can be read"),
        ("noise", "no video that can be read"),
        ("header only", "no video that can be read"),
        ("sound", "only sound"),
    ],
)
async def test_what_is_no_video_is_said_in_one_sentence(kind: str, says: str, tmp_path: Path, video: Path) -> None:
    path = tmp_path / "thing.mp4"
    _write(path, kind, video)
    source = FileSource(path, Clock())
    with pytest.raises(SourceError, match=says) as caught:
        await read(source)
    assert isinstance(caught.value, ValueError)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert source.state.state == "offline" and says in source.state.reason
    await source.aclose()
    assert source.state.state == "offline", "closing does not hide why"


async def test_a_file_that_appears_later_is_read_when_asked_again(tmp_path: Path, video: Path) -> None:
    """A recording that is still being copied: absent, then half there, then whole."""
    path = tmp_path / "later.mp4"
    source = FileSource(path, Clock(), fps=0, pace="fast")
    for present, says in ((False, "There is no file"), (True, "no video that can be read")):
        if present:
            _write(path, "header only", video)
        for _ in range(2):  # the same again is no worse
            with pytest.raises(SourceError, match=says):
                await anext(aiter(source))
            assert source.state.state == "offline" and says in source.state.reason
    shutil.copy(video, path)
    frames = aiter(source)
    assert read_number((await anext(frames)).rgb) == 0
    seen = source.state
    assert (seen.state, seen.reason) == ("online", "")
    assert [read_number(frame.rgb) async for frame in frames] == list(range(1, 30))
    assert source.state.state == "ended"
    await source.aclose()


def _write(path: Path, kind: str, video: Path) -> None:
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("Dear Sir or Madam,\n" * 100)
    elif kind == "noise":
        path.write_bytes(random.Random(1).randbytes(100_000))
    elif kind == "header only":
        path.write_bytes(video.read_bytes()[:40])
    elif kind == "sound":
        write_sound(path)


async def test_a_name_cannot_smuggle_in_a_protocol(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`concat:a|b` is a file of that name or nothing."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="There is no file"):
        await read(FileSource(f"concat:{video}|{video}", Clock()))
    shutil.copy(video, "concat:a|b")
    assert len(await read(FileSource("concat:a|b", Clock(), fps=0, pace="fast"))) == 30


async def test_leaving_early_leaves_nothing_behind(video: Path) -> None:
    async def look_in() -> None:
        source = FileSource(video, Clock(), fps=0, pace="fast", loop=True)
        assert len(await read(source, most=3)) == 3
        await source.aclose()

    await look_in()
    before = threads(), descriptors()
    for _ in range(10):
        await look_in()
    await until(lambda: threads() <= before[0] and descriptors() <= before[1], 60)
