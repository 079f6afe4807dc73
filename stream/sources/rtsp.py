"""RTSP cameras: over TCP unless asked otherwise, first picture at the next key frame, endless reconnect."""

from __future__ import annotations

import random
from typing import Literal

from stream.clock import Clock
from stream.sources.address import parse
from stream.sources.errors import SourceError
from stream.sources.live import LiveSource
from stream.sources.reader import Recipe

PROTOCOLS = "rtsp,rtsps,rtp,srtp,udp,tcp,tls"  # a server that redirects cannot lead elsewhere


class RtspSource(LiveSource):
    """A camera at `rtsp://` or `rtsps://`."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        transport: Literal["tcp", "udp"] = "tcp",
        fps: float = 2.0,
        connect_s: float = 10.0,
        stall_s: float = 10.0,
        longest_side: int = 1280,
        name: str = "",
        rng: random.Random | None = None,
    ) -> None:
        address = parse(url)
        if address.scheme not in ("rtsp", "rtsps"):
            raise SourceError("An RTSP camera has a URL that begins with rtsp:// or rtsps://.")
        options = {
            "rtsp_transport": transport,
            "protocol_whitelist": PROTOCOLS,
            # Probing costs a second and then delivers old pictures in a burst; the SDP has said what matters.
            "probesize": "32",
            "analyzeduration": "0",
            # Behind the time-outs of the reader: microseconds on the socket itself.
            "timeout": str(int(1e6 * max(connect_s, stall_s))),
        }
        recipe = Recipe(
            address.url, address.shown, options, open_s=connect_s, fps=fps, longest_side=longest_side, kind="live"
        )
        super().__init__(recipe, clock, name=name, stall_s=stall_s, rng=rng)
