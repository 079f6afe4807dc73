"""Home Assistant finds the cameras by itself: one retained device announcement per camera. Pure.

Format: device-based MQTT discovery (`dev`, `o`, `cmps`). Ids stay the same for ever; an empty payload removes a device.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from stream.mqtt.outbox import Publication
from stream.mqtt.topics import Topics, is_camera_id

MAKER = "Longwatch"
EVENT_TYPES = ("online", "offline", "memory")
STATE_CHARS = 255  # Home Assistant refuses a longer entity state
_RETAINED = (("status",), ("status", "detail"), ("answer", "last"), ("snapshot",))  # what a camera leaves behind

Json = dict[str, object]


def announcements(topics: Topics, cameras: Mapping[str, str], version: str, *, snapshots: bool) -> list[Publication]:
    """All devices, the service first, for the cameras refer to it. `cameras`: id to a name for people."""
    devices = [_announce(topics.device_config(), _service(topics, version))]
    for camera, name in cameras.items():
        payload = _camera(topics, camera, name, version, snapshots=snapshots)
        devices.append(_announce(topics.device_config(camera), payload))
    return devices


def removal(topics: Topics, camera: str) -> list[Publication]:
    """Take a camera back: its device, and every retained message it left."""
    left = [topics.device_config(camera), *(topics.camera(camera, *rest) for rest in _RETAINED)]
    return [Publication(topic, b"", retain=True) for topic in left]


def gone_camera(topics: Topics, cameras: Mapping[str, object], topic: str, payload: bytes) -> str | None:
    """The camera of ours that a retained announcement speaks of and that is not there any more; else None."""
    start, end = topics.device_config().removesuffix("/config") + "_", "/config"
    if not (topic.startswith(start) and topic.endswith(end)):
        return None
    camera = topic[len(start) : -len(end)]
    if camera in cameras or not is_camera_id(camera):
        return None
    try:
        device = json.loads(payload)
        # Another instance's name may begin like ours ("main" and "main_2"): its own topic tells them apart.
        ours = device["o"]["name"] == MAKER and device["cmps"]["connected"]["state_topic"] == topics.camera(
            camera, "status"
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return camera if ours else None


def _announce(topic: str, payload: Json) -> Publication:
    return Publication(topic, json.dumps(payload, ensure_ascii=False).encode(), retain=True, worth="now")


def _origin(version: str) -> Json:
    return {"name": MAKER, "sw": version}


def _service(topics: Topics, version: str) -> Json:
    me = topics.object_id
    return {
        "dev": {"ids": [me], "name": f"{MAKER} {topics.instance}", "mf": MAKER, "sw": version},
        "o": _origin(version),
        "cmps": {
            "connected": {
                "p": "binary_sensor",
                "unique_id": f"{me}_conn",
                "name": "Connected",
                "device_class": "connectivity",
                "entity_category": "diagnostic",
                "state_topic": topics.status,
                "payload_on": "online",
                "payload_off": "offline",
            }
        },
    }


def _camera(topics: Topics, camera: str, name: str, version: str, *, snapshots: bool) -> Json:
    me = f"{topics.object_id}_{camera}"
    parts = _asking_parts(topics, camera, me) | _state_parts(topics, camera, me)
    if snapshots:
        parts["picture"] = {
            "p": "image",
            "unique_id": f"{me}_img",
            "name": "Picture",
            "image_topic": topics.camera(camera, "snapshot"),
            "content_type": "image/jpeg",
        }
    return {
        "dev": {"ids": [me], "name": name, "mf": MAKER, "sw": version, "via_device": topics.object_id},
        "o": _origin(version),
        "availability": [{"topic": topics.status}, {"topic": topics.camera(camera, "status")}],
        "availability_mode": "all",
        "qos": 1,
        "cmps": parts,
    }


def _asking_parts(topics: Topics, camera: str, me: str) -> Json:
    last = topics.camera(camera, "answer", "last")
    return {
        "ask": {
            "p": "text",
            "unique_id": f"{me}_ask",
            "name": "Ask",
            "command_topic": topics.camera(camera, "ask"),
            "max": STATE_CHARS,
        },
        "answer": {
            "p": "sensor",
            "unique_id": f"{me}_answer",
            "name": "Answer",
            "state_topic": last,
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": last,
        },
    }


def _state_parts(topics: Topics, camera: str, me: str) -> Json:
    return {
        "connected": {
            "p": "binary_sensor",
            "unique_id": f"{me}_conn",
            "name": "Connected",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": topics.camera(camera, "status"),
            "payload_on": "online",
            "payload_off": "offline",
            "json_attributes_topic": topics.camera(camera, "status", "detail"),
            # Of the service alone: that the camera is away is what this sensor is there to say.
            "availability": [{"topic": topics.status}],
        },
        "event": {
            "p": "event",
            "unique_id": f"{me}_event",
            "name": "Event",
            "state_topic": topics.camera(camera, "event"),
            "event_types": list(EVENT_TYPES),
        },
        "clear": {
            "p": "button",
            "unique_id": f"{me}_clear",
            "name": "Forget everything",
            "entity_category": "config",
            "enabled_by_default": False,  # one press is final: the user takes it out on purpose
            "command_topic": topics.camera(camera, "memory", "clear"),
        },
    }
