"""Cameras in one process: none leaves a trace in another's memory, and a bad one takes nobody along."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.cli.console import Trouble
from stream.cli.serve import Service
from stream.flow import Holdings
from tests.house.living import answer, client, closed, is_state, living, remembered
from tests.servers.media import write_sound, write_video
from tests.servers.mosquitto import free_port
from tests.servers.rtsp import CLIPS

CLIP_S = {"worker-zone-detection-preview.mp4": 4.7, "person-bicycle-car-detection-preview.mp4": 3.4}


def recording(folder: Path, name: str) -> Path:
    """A real clip; where the clips are not, numbered pictures, so that no test has to be skipped."""
    path = CLIPS / name
    if not path.is_file():
        path = folder / name
        write_video(path, 40, fps=10, size=(160, 120), b_frames=len(name) % 2)
    return path


async def seen_to_the_end(service: Service, camera: str) -> Holdings:
    agent = service.station.cameras[camera]
    await agent.finished.wait()
    return await agent.holdings()


def ledger(held: Holdings) -> list[tuple[object, ...]]:
    """All that a ledger says but for scores, which depend on who asked."""
    return [(b.id, b.state, b.span_s, b.frames, b.tokens, b.patches, b.reason) for b in held.blocks]


async def test_two_cameras_remember_what_each_alone_would(tmp_path: Path) -> None:
    lines = {
        name[:6]: f"  {name[:6]}: {{source: {recording(tmp_path, name)}, pace: fast, fps: 4, gate: {{kind: all}}}}"
        for name in CLIP_S
    }
    alone: dict[str, Holdings] = {}
    for camera, line in lines.items():
        async with living(tmp_path / camera, line) as service:
            alone[camera] = await seen_to_the_end(service, camera)
    assert len({held.patches_seen for held in alone.values()}) == 2, "the clips differ, or this shows nothing"
    async with living(tmp_path / "both", "\n".join(lines.values())) as service:
        for camera in lines:
            held = await seen_to_the_end(service, camera)
            assert held.frames_seen >= 12 and closed(held)
            assert ledger(held) == ledger(alone[camera])
            assert (held.codes_alive, held.patches_seen) == (alone[camera].codes_alive, alone[camera].patches_seen)


async def test_bad_cameras_beside_a_good_one(tmp_path: Path) -> None:
    """Each is told in a sentence, answers with an honest status, and the good one is not disturbed."""
    (tmp_path / "corrupt.mp4").write_bytes(b"\x00\x00\x00\x18ftypisom" + b"no video at all " * 512)
    write_sound(tmp_path / "sound.mp4")
    sources = {
        "corrupt": (str(tmp_path / "corrupt.mp4"), "corrupt.mp4"),
        "sound": (str(tmp_path / "sound.mp4"), "only sound"),
        "missing": (str(tmp_path / "nowhere.mp4"), "nowhere.mp4"),
        "gone": (f"rtsp://user:canary-word@127.0.0.1:{free_port()}/cam", "127.0.0.1"),
    }
    lines = [f'  {camera}: {{source: "{source}"}}' for camera, (source, _) in sources.items()]
    lines.append('  yard: {source: "sim://yard?seed=125&fps=4"}')
    async with living(tmp_path, "\n".join(lines)) as service, client(service.url) as http:
        for camera in sources:
            await is_state(service, camera, "offline")
        await remembered(service, "yard", lambda held: held.frames_seen > 2)
        for camera, (_, word) in sources.items():
            told = (await http.get(f"/api/v1/cameras/{camera}")).json()["status"]
            assert word in told["reason"] and "canary" not in str(told), told
            asked = await answer(http, camera, "What is there?", timeout_s=1)
            assert asked["http"] == 503 and word in asked["detail"] and "canary" not in str(asked), asked
        assert (await answer(http, "yard", "What is there?"))["status"] == "ok"
        assert (await http.get("/readyz")).status_code == 200


@pytest.mark.parametrize(
    ("source", "word"), [("gopher://127.0.0.1/x", "gopher"), ("sim://moon", "yard"), ("rtsp://:0:/", "no host")]
)
async def test_a_source_that_can_never_be_is_refused_at_the_start(tmp_path: Path, source: str, word: str) -> None:
    with pytest.raises(Trouble, match=rf"cameras\.front\.source: .*{word}"):
        async with living(tmp_path, f'  front: {{source: "{source}"}}'):
            pass
