"""Video over HTTP: recordings, HLS and MJPEG from a real server, and what a hostile one may try."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from stream.clock import Clock
from stream.flow import CameraState, Frame
from stream.sources.web import WebSource
from tests.servers.hasty import HastyClock, until
from tests.servers.media import read_number, write_video
from tests.servers.web import WebServer, mjpeg


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("web") / "recording.mp4"
    write_video(path, 30, options={"movflags": "faststart"})
    return path.read_bytes()


@pytest.fixture(scope="module")
def hls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Three segments of a second each, and their playlist."""
    folder = tmp_path_factory.mktemp("hls")
    write_video(folder / "list.m3u8", 30, form="hls", options={"hls_time": "1", "hls_list_size": "0"})
    return {f"/{path.name}": path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
async def server() -> AsyncIterator[WebServer]:
    async with WebServer() as web:
        yield web


async def read(source: WebSource, most: int, limit_s: float = 60.0) -> list[Frame]:
    frames: list[Frame] = []
    async with asyncio.timeout(limit_s):
        async for frame in source:
            frames.append(frame)
            if len(frames) == most:
                break
    await source.aclose()
    return frames


async def fault(source: WebSource, limit_s: float = 60.0) -> CameraState:
    """What is wrong, once it is; no picture may come before."""
    states: list[CameraState] = []
    source.listen(states.append)
    task = asyncio.ensure_future(anext(aiter(source)))
    try:
        await until(lambda: states or task.done(), limit_s)
        assert not task.done(), "a picture came"
        return states[0]
    finally:
        await source.aclose()
        with contextlib.suppress(StopAsyncIteration):
            await task


async def test_a_recording_is_read_to_its_end_at_any_pace(server: WebServer, recording: bytes) -> None:
    server.pages["/r.mp4"] = ("video/mp4", recording)
    source = WebSource(server.url("/r.mp4"), Clock(), fps=0, pace="fast")
    frames = await read(source, 1000)
    assert [read_number(frame.rgb) for frame in frames] == list(range(30))
    assert [frame.time_s for frame in frames] == pytest.approx([i / 10 for i in range(30)])
    assert source.state.state == "ended" and source.counts.dropped == 0
    assert not source.reader.media.endless


async def test_a_recording_is_looped_and_kept_to_its_pace(server: WebServer, recording: bytes) -> None:
    server.pages["/r.mp4"] = ("video/mp4", recording)
    hasty = HastyClock()
    frames = await read(WebSource(server.url("/r.mp4"), hasty, fps=2, loop=True), 12)
    assert [read_number(frame.rgb) for frame in frames] == [0, 5, 10, 15, 20, 25] * 2
    assert sum(nap for nap in hasty.naps_s if nap < 7) > 3, "it waited for the time of each picture"


async def test_hls_is_taken_segment_by_segment_and_nothing_is_lost(server: WebServer, hls: dict[str, bytes]) -> None:
    for path, data in hls.items():
        server.pages[path] = ("application/vnd.apple.mpegurl" if path.endswith("m3u8") else "video/mp2t", data)
    source = WebSource(server.url("/list.m3u8"), Clock(), fps=0, pace="fast")
    frames = await read(source, 1000)
    assert [read_number(frame.rgb) for frame in frames] == list(range(30))
    assert source.state.state == "ended"
    assert {path for path in server.asked if path.endswith(".ts")} == {p for p in hls if p.endswith(".ts")}


async def test_live_hls_goes_on_with_the_segments_that_appear(server: WebServer, hls: dict[str, bytes]) -> None:
    """The playlist grows while it is watched; its end is not the end of a live camera."""
    lines = hls["/list.m3u8"].decode().replace("#EXT-X-ENDLIST", "").split("\n")
    segments = [path for path in sorted(hls) if path.endswith(".ts")]
    for path in segments:
        server.pages[path] = ("video/mp2t", hls[path])
    third = next(number for number, line in enumerate(lines) if segments[2][1:] in line)

    def publish(whole: bool) -> None:
        shown = lines if whole else [line for n, line in enumerate(lines) if n not in (third - 1, third)]
        server.pages["/live.m3u8"] = ("application/vnd.apple.mpegurl", "\n".join(shown).encode())

    publish(whole=False)
    source = WebSource(server.url("/live.m3u8"), HastyClock(), fps=0)
    numbers: list[int] = []

    async def watch() -> None:
        async for frame in source:
            numbers.append(read_number(frame.rgb))  # noqa: PERF401 (looked at while it runs)

    task = asyncio.create_task(watch())
    await until(lambda: len(numbers) >= 18)
    publish(whole=True)
    await until(lambda: len(numbers) >= 27)  # the decoder holds the last ones back until more comes
    assert numbers[:27] == list(range(27)) and source.state.state == "online"
    assert source.reader.media.endless, "it goes on: a jump of its stamps takes the time that passed"
    await source.aclose()
    await asyncio.wait_for(task, 30)


async def test_mjpeg_has_no_clock_so_ours_is_used(server: WebServer) -> None:
    server.pages["/video"] = ("multipart/x-mixed-replace;boundary=next", lambda: mjpeg(every_s=0.02))
    source = WebSource(server.url("/video"), HastyClock(), fps=0)
    frames = await read(source, 25)
    times = [frame.time_s - frames[0].time_s for frame in frames]
    assert times == sorted(times)
    assert times == pytest.approx([frame.arrived_s - frames[0].arrived_s for frame in frames], abs=0.2)
    numbers = [read_number(frame.rgb) for frame in frames]
    assert numbers == sorted(numbers)


async def test_a_camera_that_stops_is_asked_again(server: WebServer) -> None:
    server.pages["/video"] = ("multipart/x-mixed-replace;boundary=next", lambda: mjpeg(5, 0.02))
    source = WebSource(server.url("/video"), HastyClock(), fps=0)
    frames = await read(source, 12)
    assert source.state.reconnects >= 1 and len(server.asked) >= 2
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})


async def test_silence_is_a_stall(server: WebServer) -> None:
    async def one_and_no_more() -> AsyncIterator[bytes]:
        async for piece in mjpeg(3, 0.0):
            yield piece
        await asyncio.sleep(3600)

    server.pages["/video"] = ("multipart/x-mixed-replace;boundary=next", one_and_no_more)
    source = WebSource(server.url("/video"), HastyClock(), fps=0, stall_s=0.4, connect_s=5.0)
    states: list[CameraState] = []
    source.listen(states.append)
    task = asyncio.create_task(read(source, 1000))
    await until(lambda: any(state.state == "stalled" for state in states))
    await source.aclose()
    await asyncio.wait_for(task, 30)


async def test_a_login_is_asked_for_and_a_hard_password_opens(server: WebServer, recording: bytes) -> None:
    password = "p@:/?#% é"
    server.login = base64.b64encode(f"user:{password}".encode()).decode()
    server.pages["/r.mp4"] = ("video/mp4", recording)
    for login in (f"user:{password}", f"user:{quote(password, safe='')}"):
        frames = await read(WebSource(server.url("/r.mp4", login), Clock(), fps=0, pace="fast"), 5)
        assert len(frames) == 5
    refused = await fault(WebSource(server.url("/r.mp4", "user:wrong-canary"), HastyClock()))
    assert refused.state == "auth_failed" and "canary" not in refused.reason


async def test_what_is_no_video_is_said(server: WebServer) -> None:
    server.pages["/page"] = ("text/html", b"<html><body>Welcome to your camera</body></html>" * 50)
    server.pages["/empty"] = ("video/mp4", b"")
    for path, says in (("/page", "no video"), ("/empty", "no video"), ("/missing", "404")):
        state = await fault(WebSource(server.url(path), HastyClock()))
        assert state.state == "offline" and says in state.reason, path


@pytest.mark.parametrize("way", ["file:", "bare path", "concat", "subfile", "data", "redirect", "script"])
async def test_a_server_cannot_make_us_read_a_file(
    way: str, server: WebServer, hls: dict[str, bytes], tmp_path: Path
) -> None:
    """A playlist or a redirect that names a file of this machine, plainly or behind another protocol."""
    secret = tmp_path / "secret.ts"
    secret.write_bytes(next(data for path, data in hls.items() if path.endswith(".ts")))
    target = {
        "file:": f"file://{secret}",
        "bare path": str(secret),
        "concat": f"concat:{secret}|{secret}",
        "subfile": f"subfile,,start,0,end,0,,:{secret}",
        "data": "data:video/mp2t;base64," + base64.b64encode(secret.read_bytes()).decode(),
        "redirect": f"file://{secret}",
        "script": f"file://{secret}",
    }[way]
    playlist = f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{target}\n#EXT-X-ENDLIST\n"
    if way == "redirect":
        server.pages["/live.m3u8"] = ("redirect", target.encode())
    elif way == "script":
        server.pages["/live.m3u8"] = ("text/plain", f"ffconcat version 1.0\nfile '{target}'\n".encode())
    else:
        server.pages["/live.m3u8"] = ("application/vnd.apple.mpegurl", playlist.encode())
    state = await fault(WebSource(server.url("/live.m3u8"), HastyClock(), fps=0, connect_s=3.0, stall_s=2.0))
    assert state.state in ("offline", "stalled") and server.asked
