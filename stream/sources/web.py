"""Video over HTTP(S): a camera's MJPEG, HLS, a transport stream, or a recording on a server.

What a server sends decides what libav does next, so it is fenced in: it may fetch over HTTP(S) and nothing else, and
only into formats that are video. A playlist cannot make it read a file of this machine, nor join pieces of one.
"""

from __future__ import annotations

import random
from typing import Literal

from stream.clock import Clock
from stream.sources.address import parse
from stream.sources.errors import SourceError
from stream.sources.live import LiveSource
from stream.sources.reader import Recipe

PROTOCOLS = "http,https,tcp,tls,crypto"
FORMATS = "hls,mpjpeg,mjpeg,mpegts,mov,mp4,matroska,webm,flv,avi,h264,hevc,ogg,aac,webvtt"


class WebSource(LiveSource):
    """`http://` or `https://`. Live pictures are taken as they come, stored ones and HLS at their own pace."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        fps: float = 2.0,
        loop: bool = False,
        pace: Literal["own", "fast"] = "own",
        connect_s: float = 10.0,
        stall_s: float = 10.0,
        longest_side: int = 1280,
        name: str = "",
        rng: random.Random | None = None,
    ) -> None:
        address = parse(url)
        if address.scheme not in ("http", "https"):
            raise SourceError("Video over the web has a URL that begins with http:// or https://.")
        options = {
            "protocol_whitelist": PROTOCOLS,
            "format_whitelist": FORMATS,
            "analyzeduration": "1000000",  # more would hold up live HLS until its next segment
            "timeout": str(int(1e6 * max(connect_s, stall_s))),
        }
        recipe = Recipe(
            address.url,
            address.shown,
            options,
            open_s=connect_s,
            # An HTTP download that is interrupted cannot be taken up again: silence is its end.
            read_s=stall_s,
            resumable=False,
            fps=fps,
            longest_side=longest_side,
            kind="ask",
            loop=loop,
        )
        super().__init__(recipe, clock, name=name, stall_s=stall_s + 1.0, pace=pace, rng=rng)
