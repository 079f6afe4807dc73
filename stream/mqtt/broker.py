"""Whom we talk to, in which version, and what comes from there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Version = Literal["5", "3.1.1"]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to connect and as whom."""

    host: str
    port: int
    client_id: str
    will_topic: str
    tls: bool = False
    ca_file: Path | None = None
    username: str | None = None
    password: str | None = None
    keepalive_s: int = 15

    def __repr__(self) -> str:
        return f"Broker({self.name})"

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, eq=False)
class Incoming:
    """One message as it came, with what MQTT 5 tells about it."""

    topic: str
    payload: bytes
    retain: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None
    expiry_s: int | None = None  # what is left of the Message Expiry Interval, s
    arrived_s: float = 0.0  # monotonic clock
