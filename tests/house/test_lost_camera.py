"""A camera that is killed and comes back: what was remembered before is there all the time, and still answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stream.flow import Holdings, MediaEpoch
from stream.wire import rfc3339, wall_of
from tests.house.living import answer, client, closed, is_state, living, remembered
from tests.servers.mosquitto import free_port
from tests.servers.processes import rtsp_process

QUESTION = "What did you see?"


def asked_span(held: Holdings, epoch: MediaEpoch) -> dict[str, str]:
    """`from` and `to` of a question about exactly what these holdings cover."""
    assert held.covered_s is not None
    return {name: rfc3339(epoch.wall(at_s)) for name, at_s in zip(("from", "to"), held.covered_s, strict=True)}


def rests_on_then(told: dict[str, Any], span: dict[str, str]) -> None:
    """An answer from what was remembered before the camera was lost, and from nothing else."""
    assert told["status"] == "ok" and told["answer"], told
    evidence = told["evidence"]
    assert evidence["sightings"] and not told["abstained"]
    for sighting in evidence["sightings"]:
        assert wall_of(sighting["to"]) >= wall_of(span["from"])
        assert wall_of(sighting["from"]) <= wall_of(span["to"])


async def test_a_killed_camera_comes_back_and_what_it_showed_before_still_answers(tmp_path: Path) -> None:
    port = free_port()
    camera = f'  front: {{source: "rtsp://127.0.0.1:{port}/cam", fps: 4, stall_s: 60}}'
    async with living(tmp_path, camera) as service, client(service.url) as http:
        agent = service.station.cameras["front"]
        async with rtsp_process(port, "--fps", "12") as process:
            await remembered(service, "front", lambda held: len(closed(held)) >= 2)
            reconnects = agent.state.reconnects
            process.kill()
            await is_state(service, "front", "offline")
        before, epoch = await agent.holdings(), agent.epoch
        span = asked_span(before, epoch)
        rests_on_then(await answer(http, "front", QUESTION, **span), span)  # while it is away, too

        async with rtsp_process(port, "--fps", "12"):
            await is_state(service, "front", "online")
            after = await remembered(service, "front", lambda held: len(closed(held)) >= len(closed(before)) + 2)
            assert agent.state.reconnects == reconnects + 1
            # Every block is there with the span it had; only the one that was open went on or was closed.
            for block in closed(before).values():
                assert closed(after)[block.id].span_s[0] == block.span_s[0]
                assert closed(after)[block.id].tokens == block.tokens
            assert after.covered_s is not None and before.covered_s is not None
            assert after.covered_s[0] == before.covered_s[0] and after.covered_s[1] > before.covered_s[1]
            assert after.frames_seen > before.frames_seen and agent.epoch.wall_s == epoch.wall_s

            rests_on_then(await answer(http, "front", QUESTION, **span), span)
            now = await answer(http, "front", "What is there now?")
            assert now["status"] == "ok", now
            assert wall_of(now["evidence"]["newest_frame_at"]) > wall_of(span["to"])
