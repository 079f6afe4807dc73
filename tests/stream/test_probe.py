"""What a person reads who asks whether a camera can be used."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from stream.probe import Finding, probe
from tests.servers.hasty import descriptors, threads, until
from tests.servers.media import write_sound, write_video
from tests.servers.rtsp import Faults, RtspCamera, clip


def lines(findings: list[Finding]) -> str:
    return "\n".join(f"{'ok' if finding.ok else 'no'} {finding.text}" for finding in findings)


async def test_a_good_camera_is_described_without_its_password() -> None:
    async with RtspCamera(clip(), login=("user", "hush-canary")) as camera:
        text = lines(await probe(camera.url(), watch_s=1.2))
    assert "ok rtsp://127.0.0.1" in text and "a live stream" in text
    assert "ok Video h264, 320 x 180, 25 pictures per second declared." in text
    assert "ok First picture after" in text and "ok Pictures of 320 x 180" in text
    assert "pictures per second seen over" in text and "ok A key frame every 0.5 s." in text
    assert "no " not in [line[:3] for line in text.split("\n")] and "canary" not in text


@pytest.mark.parametrize(
    ("fault", "login", "path", "says"),
    [
        (Faults(), "user:wrong-canary", "/cam", "refuses the user name or password"),
        (Faults(), None, "/nowhere", "no such stream (404)"),
        (Faults(mute=True), None, "/cam", "did not answer within 2 s"),
        (Faults(stalled=True), None, "/cam", "sent no picture for 0.5 s"),
        (Faults(drop=0.3), None, "/cam", "pictures damaged"),
    ],
)
async def test_a_bad_one_is_said_in_one_line(fault: Faults, login: str | None, path: str, says: str) -> None:
    before = threads(), descriptors()
    # A busy machine is neither a mute camera nor a stalled one: only those two are to run out of time.
    connect_s, stall_s = 2.0 if fault.mute else 60.0, 0.5 if fault.stalled else 60.0
    async with RtspCamera(clip(), login=("user", "right-canary"), faults=fault) as camera:
        findings = await probe(camera.url(login, path), watch_s=1.5, connect_s=connect_s, stall_s=stall_s)
    assert [finding.ok for finding in findings].count(False) == 1
    assert says in findings[-1].text and not findings[-1].ok
    assert "canary" not in lines(findings)
    with contextlib.suppress(TimeoutError):
        await until(lambda: threads() <= before[0] and descriptors() <= before[1], 60)
    assert threads() <= before[0] and descriptors() <= before[1]


async def test_a_file_is_read_faster_than_it_plays(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write_video(path, 50, fps=10)
    text = lines(await probe(str(path), watch_s=60))
    assert (
        "a recording of 5.0 s" in text and "10 pictures per second seen" in text and "A key frame every 1.0 s" in text
    )
    assert "no " not in [line[:3] for line in text.split("\n")]


async def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    write_sound(tmp_path / "sound.mp4")
    for url, says in (
        (str(tmp_path / "sound.mp4"), "only sound"),
        (str(tmp_path / "missing.mp4"), "There is no file"),
        ("gopher://cam", "begins with gopher:"),
        ("rtsp://", "unparseable"),
        ("webcam:98", "There is no camera at"),
        ("whip", "others publish through"),
    ):
        findings = await probe(url)
        assert [finding.ok for finding in findings] == [False], url
        assert says in findings[0].text
