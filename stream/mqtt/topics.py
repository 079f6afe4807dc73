"""The names on the broker. Pure: text in, text out.

    <p>/<n>/status                  online | offline, retained, the last will
    <p>/<n>/ask                     a question to several cameras
    <p>/<n>/stats, <p>/<n>/events
    <p>/<n>/<c>/ask                 a question to one camera
    <p>/<n>/<c>/answer[/last|/partial]
    <p>/<n>/<c>/status[/detail], /event, /snapshot, /memory/clear

`<p>` is the prefix, `<n>` the instance, `<c>` a camera id.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

RESERVED = frozenset({"status", "ask", "events", "stats"})  # they stand where a camera id would
RESPONSE_TOPIC_CHARS = 256

_CAMERA = re.compile(r"[a-z0-9_-]{1,64}")
_LEVEL = re.compile(r"[A-Za-z0-9_.-]{1,64}")

Verb = Literal["ask", "ask_many", "clear", "hub_status"]


@dataclass(frozen=True, slots=True)
class Destination:
    """Who a message is for: what to do, and with which camera ("" for all). `camera` is unchecked text."""

    verb: Verb
    camera: str = ""


def is_camera_id(text: str) -> bool:
    """True for `[a-z0-9_-]{1,64}` that is none of the reserved words."""
    return _CAMERA.fullmatch(text) is not None and text not in RESERVED


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics of one instance. `discovery` is the prefix Home Assistant listens under."""

    prefix: str = "longwatch"
    instance: str = "main"
    discovery: str = "homeassistant"

    def __post_init__(self) -> None:
        for key, text in (("mqtt.prefix", self.prefix), ("mqtt.discovery_prefix", self.discovery)):
            if len(text) > 128 or not all(_LEVEL.fullmatch(level) for level in text.split("/")):
                raise ValueError(f"{key}: {text!r} cannot begin a topic; use letters, digits, _ . - and single / only.")
        if not _LEVEL.fullmatch(self.instance):
            raise ValueError(f"mqtt.instance: {self.instance!r} must be one word of letters, digits, _ . and -.")

    @property
    def root(self) -> str:
        """`<p>/<n>`: everything of this instance is under it."""
        return f"{self.prefix}/{self.instance}"

    @property
    def status(self) -> str:
        """Availability of the service."""
        return f"{self.root}/status"

    @property
    def ask(self) -> str:
        """Where questions to several cameras arrive."""
        return f"{self.root}/ask"

    @property
    def stats(self) -> str:
        """Figures, once a minute."""
        return f"{self.root}/stats"

    @property
    def events(self) -> str:
        """What happened, as before and after."""
        return f"{self.root}/events"

    @property
    def hub_status(self) -> str:
        """Where Home Assistant says that it has (re)started."""
        return f"{self.discovery}/status"

    @property
    def commands(self) -> tuple[str, ...]:
        """Filters of all that others may tell us."""
        return (f"{self.root}/+/ask", self.ask, f"{self.root}/+/memory/clear")

    def camera(self, camera: str, *rest: str) -> str:
        """`<p>/<n>/<c>/...`."""
        return "/".join((self.root, camera, *rest))

    @property
    def object_id(self) -> str:
        """Home Assistant's id of this instance: `[a-zA-Z0-9_-]` only."""
        return re.sub(r"[^A-Za-z0-9_-]", "_", f"{self.prefix}_{self.instance}")

    def device_config(self, camera: str = "") -> str:
        """Discovery topic of a camera, or of the service itself."""
        return f"{self.discovery}/device/{self.object_id}{'_' + camera if camera else ''}/config"

    @property
    def client_id(self) -> str:
        """The MQTT client identifier: the same over restarts, so that a second instance of one name is noticed."""
        return f"{self.prefix}-{self.instance}".replace("/", "-")

    def destination(self, topic: str) -> Destination | None:
        """What an incoming topic asks for; None: not a command of ours."""
        if topic == self.ask:
            return Destination("ask_many")
        if topic == self.hub_status:
            return Destination("hub_status")
        if not topic.startswith(self.root + "/"):
            return None
        match topic[len(self.root) + 1 :].split("/"):
            case [camera, "ask"]:
                return Destination("ask", camera)
            case [camera, "memory", "clear"]:
                return Destination("clear", camera)
        return None

    def response_fault(self, topic: str, allowed: Sequence[str] = ()) -> str | None:
        """Why we will not answer to this topic, as a sentence; None: it is fine.

        A broker passes on any Response Topic it is given. Ours must not carry us into our own commands (a loop) or
        into another program's discovery. `allowed` narrows it further to these topic filters.
        """
        if not topic:
            return "The response topic is empty."
        if len(topic) > RESPONSE_TOPIC_CHARS:
            return f"The response topic is longer than {RESPONSE_TOPIC_CHARS} characters."
        if any(mark in topic for mark in "+#\0"):
            return "The response topic holds a wildcard or a zero character."
        if any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in topic):
            return "The response topic holds a control character."
        if topic.startswith("$"):
            return "The response topic begins with $, which belongs to the broker."
        for prefix in (self.prefix, self.discovery):
            if topic == prefix or topic.startswith(prefix + "/"):
                return f"The response topic lies under {prefix}/, which is not for answers to requests."
        if allowed and not any(covers(pattern, topic) for pattern in allowed):
            return "The response topic is not among the topics this service may answer to."
        return None


def covers(pattern: str, topic: str) -> bool:
    """True when an MQTT topic filter (with + and #) matches a topic."""
    levels, names = pattern.split("/"), topic.split("/")
    for place, level in enumerate(levels):
        if level == "#":
            return True
        if place >= len(names) or level not in ("+", names[place]):
            return False
    return len(levels) == len(names)
