"""What every part of the MQTT side shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream.clock import Clock
from stream.mqtt.limits import Limits
from stream.mqtt.outbox import Outbox
from stream.mqtt.topics import Topics

if TYPE_CHECKING:
    from stream.station import Station


@dataclass(frozen=True, slots=True, eq=False)
class Common:
    """The house on one side, the way to the broker on the other, and the rules between them."""

    station: Station
    topics: Topics
    outbox: Outbox
    limits: Limits
    clock: Clock
