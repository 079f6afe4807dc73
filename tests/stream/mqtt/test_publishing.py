"""What the house says of itself, and how Home Assistant finds it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from stream.mqtt.discovery import announcements, gone_camera
from stream.mqtt.topics import Topics
from tests.fakes import seen
from tests.servers.mosquitto import Mosquitto
from tests.stream.mqtt.parties import QUICK, ROOT, Party, bridged, settled, until

DEVICE = "homeassistant/device"


async def test_camera_states_are_retained_and_follow_the_camera(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker) as house, Party(broker, f"{ROOT}/#") as listener:
        assert (await listener.hear(f"{ROOT}/front/status")).payload == b"online"
        detail = json.loads((await listener.hear(f"{ROOT}/front/status/detail")).payload)
        assert detail["state"] == "online" and detail["last_frame_age_ms"] >= 0
        house.parts.sources["front"].become("auth_failed", "The camera refuses rtsp://cam:***@host/1.", reconnects=3)
        assert (await listener.hear(f"{ROOT}/front/status")).payload == b"offline"
        detail = await listener.hear_json(f"{ROOT}/front/status/detail", state="auth_failed")
        assert detail["reconnects"] == 3 and detail["reason"]
        event = await listener.hear_json(f"{ROOT}/events", kind="camera_state")
        assert event["type"] == "update" or event["type"] == "new"
        assert event["id"] == "front-state" and event["after"]["state"] == "auth_failed"
        flat = await listener.hear_json(f"{ROOT}/front/event")
        assert flat["event_type"] == "offline"
        async with Party(broker, f"{ROOT}/front/status") as late:
            message = await late.hear(f"{ROOT}/front/status")
            assert message.payload == b"offline" and message.retain


async def test_figures_come_regularly(tmp_path: Path, broker: Mosquitto) -> None:
    often = replace(QUICK, stats_every_s=0.1)
    async with bridged(tmp_path, broker, ("front", "back"), limits=often) as _, Party(broker, f"{ROOT}/stats") as one:
        message = await one.hear(f"{ROOT}/stats")
        stats = json.loads(message.payload)
        assert set(stats["cameras"]) == {"front", "back"} and stats["model"] == "echo"
        assert stats["cameras"]["front"]["memory"]["frames_seen"] >= 1
        assert stats["mqtt"]["protocol"] == "5" and stats["uptime_s"] >= 0
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stats["at"])
        assert not message.retain


async def test_pictures_only_when_wanted_and_only_new_ones(tmp_path: Path, broker: Mosquitto) -> None:
    often = replace(QUICK, snapshot_every_s=0.02, stats_every_s=0.05)
    for wanted in (True, False):
        folder = tmp_path / str(wanted)
        folder.mkdir()
        async with (
            bridged(folder, broker, limits=often, snapshots=wanted, instance=str(wanted)) as house,
            Party(broker, f"longwatch/{wanted}/#") as listener,
        ):
            for _ in range(3):
                await listener.hear(f"longwatch/{wanted}/stats")
            pictures = listener.on(f"longwatch/{wanted}/front/snapshot")
            assert len(pictures) == (1 if wanted else 0)
            if wanted:
                assert bytes(pictures[0].payload).startswith(b"\xff\xd8\xff")
                house.parts.sources["front"].show("blue")
                assert await seen(house.station, "front", 2)
                await until(lambda: len(listener.on("longwatch/True/front/snapshot")) == 2)


async def retained(broker: Mosquitto, *topics: str) -> dict[str, bytes]:
    """What the broker keeps."""
    async with Party(broker, *topics) as reader:
        await settled(reader)
        return {one.topic.value: bytes(one.payload) for one in reader.heard if one.retain}


async def test_home_assistant_finds_every_camera(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker, ("front", "back"), snapshots=True) as house:
        found = await retained(broker, f"{DEVICE}/+/config")
        assert set(found) == {f"{DEVICE}/longwatch_main{end}/config" for end in ("", "_front", "_back")}
        service = json.loads(found[f"{DEVICE}/longwatch_main/config"])
        device = json.loads(found[f"{DEVICE}/longwatch_main_front/config"])
        check_device(service)
        check_device(device)
        assert device["dev"]["via_device"] in service["dev"]["ids"]
        assert device["cmps"]["ask"]["command_topic"] == house.bridge.topics.camera("front", "ask")
        assert [one["topic"] for one in device["availability"]] == [f"{ROOT}/status", f"{ROOT}/front/status"]
        # The whole way: what the text entity sends is answered where the sensor looks.
        async with Party(broker, device["cmps"]["answer"]["state_topic"]) as asker:
            await asker.say(device["cmps"]["ask"]["command_topic"], "What?")
            assert (await asker.hear_json("#"))["state"] == "I saw red."


def check_device(device: dict[str, Any]) -> None:
    """The rules of device discovery that a wrong payload breaks."""
    assert device["o"]["name"] and device["dev"]["ids"]
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", name) for name in device["dev"]["ids"])
    ids = [part["unique_id"] for part in device["cmps"].values()]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[a-zA-Z0-9_-]+", name) for name in ids)
    needed = {
        "text": {"command_topic"},
        "sensor": {"state_topic"},
        "binary_sensor": {"state_topic"},
        "image": {"image_topic"},
        "event": {"state_topic", "event_types"},
        "button": {"command_topic"},
    }
    for part in device["cmps"].values():
        assert needed[part["p"]] <= set(part)


async def test_announcements_come_again_when_home_assistant_has_started(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker) as _, Party(broker, f"{DEVICE}/+/config", f"{ROOT}/status") as hub:
        await settled(hub)
        before = len(hub.heard)
        await hub.say("homeassistant/status", "offline")
        await hub.say("homeassistant/status", "online")
        await hub.hear(f"{DEVICE}/longwatch_main_front/config", lambda one: not one.retain)
        assert (await hub.hear(f"{ROOT}/status")).payload == b"online"
        assert len(hub.heard) == before + 3  # once, and only for `online`


async def test_a_camera_that_is_gone_is_taken_back_with_all_it_left(tmp_path: Path, broker: Mosquitto) -> None:
    async with Party(broker) as stranger:
        foreign = json.dumps({"o": {"name": "Other"}, "cmps": {}})
        await stranger.say(f"{DEVICE}/longwatch_main_stranger/config", foreign, retain=True)
    async with bridged(tmp_path, broker, ("front", "old")) as _, Party(broker, f"{ROOT}/+/answer/last") as asker:
        await asker.say(f"{ROOT}/old/ask", "q")
        await asker.hear(f"{ROOT}/old/answer/last")
    async with Party(broker, f"{ROOT}/#", f"{DEVICE}/#") as listener, bridged(tmp_path, broker, ("front",)):
        for _ in range(5):  # the device and its four retained topics
            await listener.hear("#", lambda one: one.payload == b"" and "old" in one.topic.value)
        left = await retained(broker, f"{ROOT}/#", f"{DEVICE}/#")
        assert not [topic for topic in left if "old" in topic]
        assert f"{DEVICE}/longwatch_main_front/config" in left
        assert f"{DEVICE}/longwatch_main_stranger/config" in left  # not ours


def test_cameras_of_another_instance_are_not_taken_for_ours() -> None:
    """`main` and `main_2`: one name begins like the other."""
    ours, theirs = Topics(instance="main"), Topics(instance="main_2")
    for publication in announcements(theirs, {"front": "Front"}, "1", snapshots=False):
        assert gone_camera(ours, {}, publication.topic, publication.payload) is None
    (_, device) = announcements(ours, {"front": "Front"}, "1", snapshots=False)
    assert gone_camera(ours, {}, device.topic, device.payload) == "front"
    assert gone_camera(ours, {"front": object()}, device.topic, device.payload) is None
    for broken in (b"", b"[]", b"{", b'{"o": 1}', b"\xff", b"[" * 100_000):
        assert gone_camera(ours, {}, device.topic, broken) is None


async def test_no_announcements_unless_wanted(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker, discovery=False) as house:
        await until(lambda: house.bridge.connected)
        assert not await retained(broker, "homeassistant/#")
