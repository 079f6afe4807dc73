"""One publisher's session: its peer, its track, and the picture that waits to be converted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiortc import MediaStreamTrack, RTCPeerConnection
from av import VideoFrame

from stream.mailbox import Mailbox
from stream.sources.media_clock import MediaClock


@dataclass(frozen=True, slots=True, eq=False)
class Due:
    """A picture that is to be handed on, with the times it had when it came."""

    picture: VideoFrame
    time_s: float  # media time
    arrived_s: float  # monotonic


@dataclass(slots=True, eq=False)
class Publication:
    """One publisher's session, from its offer to its end."""

    id: str
    peer: RTCPeerConnection
    track: MediaStreamTrack | None = None
    task: asyncio.Task[None] | None = None
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    heard_s: float = 0.0  # monotonic time of its newest picture, or of its connection, s
    stamps: MediaClock | None = None  # made when it becomes the publisher
    due: Mailbox[Due] = field(default_factory=lambda: Mailbox(1, "drop_oldest"))


def prepare(connection: RTCPeerConnection, session: Publication) -> None:
    """Take the video, decline the sound, and watch the connection."""
    for transceiver in connection.getTransceivers():
        if transceiver.kind == "video":
            session.track = transceiver.receiver.track
        else:
            transceiver.direction = "inactive"  # no decoder, no queue

    def changed() -> None:
        if connection.connectionState == "connected":
            session.connected.set()

    connection.on("connectionstatechange", changed)
