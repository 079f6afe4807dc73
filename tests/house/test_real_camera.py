"""Before a real camera the bundled model says that it is out of its depth; before a simulated one it answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import run_stream
from models.answerer import OUT_OF_DEPTH
from models.depth import LIMIT
from stream.cli.serve import Service
from tests.house.living import GUESS, SAY, answer, client, living, remembered
from tests.servers.rtsp import CLIPS

CLIP = CLIPS / "one-by-one-person-detection.mp4"
REAL = f'  door: {{source: "{CLIP}", loop: true}}'
CAMERAS = f'{REAL}\n  yard: {{source: "sim://yard?seed=7000125&fps=4"}}'


async def both_seen(service: Service) -> None:
    for camera in ("door", "yard"):
        await remembered(service, camera, lambda held: held.frames_seen > 2)


async def test_asking_a_real_camera_and_a_simulated_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with living(tmp_path, CAMERAS, model=SAY) as service, client(service.url) as http:
        await both_seen(service)

        def say(camera: str, *more: str) -> tuple[int, str]:
            status = run_stream.main(["ask", camera, "What is there?", "--server", service.url, *more])
            return status, capsys.readouterr().out

        status, words = await asyncio.to_thread(say, "door")
        assert status == 0 and " ".join(words.split()).startswith(OUT_OF_DEPTH) and "trained on: score" in words
        status, words = await asyncio.to_thread(say, "yard")
        assert status == 0 and words.strip() and "trained on" not in words

        told = json.loads((await asyncio.to_thread(say, "door", "--json"))[1])
        assert (told["status"], told["answer"], told["abstained"]) == ("ok", OUT_OF_DEPTH, True)
        assert told["evidence"]["out_of_depth"] is True and told["evidence"]["depth_score"] > LIMIT
        assert told["usage"] == {"prompt_tokens": 0, "completion_tokens": 0} and not told["evidence"]["sightings"]
        told = json.loads((await asyncio.to_thread(say, "yard", "--json"))[1])
        assert (told["status"], told["abstained"]) == ("ok", False) and told["evidence"]["sightings"]
        assert told["evidence"]["out_of_depth"] is False and 0 < told["evidence"]["depth_score"] <= LIMIT

        figures = (await http.get("/metrics")).text
        assert 'longwatch_camera_depth_score{camera="door"}' in figures
        assert "longwatch_answers_out_of_depth_total 2.0" in figures
        for camera, lost in (("door", True), ("yard", False)):
            held = (await http.get(f"/api/v1/cameras/{camera}/memory")).json()
            assert held["out_of_depth"] is lost


async def test_who_wants_its_guesses_gets_them_and_is_told(tmp_path: Path) -> None:
    async with living(tmp_path, REAL, model=GUESS) as service, client(service.url) as http:
        await remembered(service, "door", lambda held: held.frames_seen > 2)
        told = await answer(http, "door", "What is there?")
        assert told["status"] == "ok" and told["answer"] != OUT_OF_DEPTH
        assert told["evidence"]["out_of_depth"] is True and told["usage"]["completion_tokens"] > 0
        assert told["abstained"] is False
