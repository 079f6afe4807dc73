"""From a configuration to a source: what is known, what is refused, and in which words."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

import pytest

from stream.clock import Clock
from stream.sources.file import FileSource
from stream.sources.opening import open_source
from stream.sources.rtsp import RtspSource
from stream.sources.web import WebSource
from stream.sources.webcam import WebcamSource
from tests.servers.hasty import until


@dataclass(frozen=True)
class Camera:
    source: str
    transport: Literal["tcp", "udp"] = "tcp"
    fps: float = 2.0
    stall_s: float = 10.0
    connect_s: float = 10.0
    loop: bool = False
    pace: Literal["own", "fast"] = "own"
    name: str | None = "door"


@pytest.mark.parametrize(
    ("source", "kind", "shown"),
    [
        ("rtsp://user:secret-word@cam/live", RtspSource, "rtsp://cam/live"),
        ("RTSPS://cam:322/live", RtspSource, "rtsps://cam:322/live"),
        ("http://cam/video?token=secret-word", WebSource, "http://cam/video?token=***"),
        ("https://cam/live.m3u8", WebSource, "https://cam/live.m3u8"),
        ("clips/door.mp4", FileSource, "clips/door.mp4"),
        ("file:///clips/the%20door.mp4", FileSource, "/clips/the door.mp4"),
        ("file:clips/door.mp4", FileSource, "clips/door.mp4"),
        ("C:\\clips\\door.mp4", FileSource, "C:\\clips\\door.mp4"),
        ("-f lavfi", FileSource, "-f lavfi"),
        ("webcam:0", WebcamSource, "0"),
        ("/dev/video3", WebcamSource, "3"),
    ],
)
async def test_every_known_kind_becomes_its_source(source: str, kind: type, shown: str) -> None:
    opened = open_source(Camera(source), Clock())
    assert type(opened) is kind and isinstance(opened, RtspSource | WebSource | FileSource | WebcamSource)
    assert shown in opened.recipe.shown and "secret-word" not in opened.recipe.shown + repr(opened.recipe)
    assert opened.state.state == "starting"
    await opened.aclose()


async def test_settings_reach_the_source() -> None:
    settings = Camera("rtsp://cam", transport="udp", fps=5.0, stall_s=3.0, connect_s=4.0)
    source = open_source(settings, Clock())
    assert isinstance(source, RtspSource)
    assert (source.recipe.fps, source.recipe.open_s, source.recipe.options["rtsp_transport"]) == (5.0, 4.0, "udp")


async def test_a_publisher_and_a_simulated_camera_are_opened_by_name() -> None:
    for source in ("whip", "sim://yard?seed=7&fps=2&speed=60"):
        opened = open_source(Camera(source), Clock())
        assert opened.state.state in ("waiting", "starting", "online")
        await opened.aclose()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "no source"),
        ("ftp://cam/x", "begins with ftp:"),
        ("concat:/etc/passwd|/etc/passwd", "begins with concat:"),
        ("tcp://127.0.0.1:80", "begins with tcp:"),
        ("exec:rm -rf x", "begins with exec:"),
        ("lavfi:testsrc", "begins with lavfi:"),
        ("pipe:0", "begins with pipe:"),
        ("rtsp:/cam", "two slashes"),
        ("rtsp://", "unparseable"),
        ("rtsp://cam;rm -rf/x\r\nDESCRIBE", "control character"),
        ("http://user:secret-word@", "unparseable"),
        ("webcam:front", "webcam:0"),
        ("webcam:0; rm", "webcam:0"),
    ],
)
async def test_everything_else_is_refused_in_a_sentence(source: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        open_source(Camera(source), Clock())
    assert "secret-word" not in str(caught.value) and "\n" not in str(caught.value)


async def test_a_webcam_that_is_not_there_is_said() -> None:
    source = WebcamSource("webcam:97", Clock())
    states: list[str] = []
    source.listen(lambda state: states.append(f"{state.state}: {state.reason}"))
    frames = aiter(source)
    task = asyncio.ensure_future(anext(frames))
    await until(lambda: states)
    await source.aclose()
    with pytest.raises(StopAsyncIteration):
        await task
    assert states[0].startswith("offline: There is no camera at /dev/video97; this machine has:")
