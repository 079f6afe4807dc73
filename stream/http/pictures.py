"""JPEGs of what a camera shows now: made at most once per frame and width, never on the event loop."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from PIL import Image

from stream.http.problems import Problem

if TYPE_CHECKING:
    import numpy as np

    from stream.agent import Agent
    from stream.flow import Frame

WIDTHS = (320, 640, 960, 1280, 1920)  # so few that all of a camera fit in the cache
LOOK_S = 0.1  # between two looks for a newer frame while somebody watches: 10 pictures per second at most
WATCHERS = 16  # motion JPEG streams at once, all cameras
MAKERS = 2  # JPEGs being made at once
BOUNDARY = "longwatch-frame"


def jpeg_of(rgb: np.ndarray, width: int | None, quality: int = 82) -> bytes:
    """(H, W, 3) uint8 sRGB as JPEG, no wider than `width` pixels."""
    image = Image.fromarray(rgb)
    if width is not None and image.width > width:
        image = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


class Pictures:
    """The newest pictures of all cameras. Bounded: one JPEG per camera and width."""

    def __init__(self) -> None:
        self.watchers = 0
        self.made = 0
        self._latest: dict[tuple[str, int | None], tuple[Frame, asyncio.Task[bytes]]] = {}
        self._makers = asyncio.Semaphore(MAKERS)

    async def newest(self, agent: Agent, width: int | None) -> tuple[Frame, bytes]:
        """The newest frame and its JPEG. Raises `Problem` 503 before the first frame."""
        frame = agent.latest
        if frame is None:
            raise Problem(503, "no_frames", "This camera has not shown a picture yet.", retry_after_s=2)
        key = (agent.camera, next((step for step in WIDTHS if width is not None and step >= width), None))
        held = self._latest.get(key)
        if held is None or held[0] is not frame:
            held = self._latest[key] = (frame, asyncio.create_task(self._make(frame, key[1])))
        return frame, await asyncio.shield(held[1])

    async def _make(self, frame: Frame, width: int | None) -> bytes:
        async with self._makers:
            self.made += 1
            return await asyncio.to_thread(jpeg_of, frame.rgb, width)

    def check_room(self) -> None:
        """Raises `Problem` 503 when enough people watch already."""
        if self.watchers >= WATCHERS:
            message = f"{WATCHERS} live pictures are being watched already; close one and try again."
            raise Problem(503, "too_many_watchers", message, retry_after_s=10)

    async def parts(self, agent: Agent, width: int | None) -> AsyncIterator[bytes]:
        """Parts of a multipart/x-mixed-replace body, one per new frame; a slow reader skips frames."""
        self.watchers += 1
        try:
            yield f"--{BOUNDARY}\r\n".encode()
            shown: Frame | None = None
            while True:
                if agent.latest is None or agent.latest is shown:
                    await agent.clock.sleep(LOOK_S)
                    continue
                shown, jpeg = await self.newest(agent, width)
                # The next boundary goes along: browsers show a part only when they have seen its end.
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                yield head.encode() + jpeg + f"\r\n--{BOUNDARY}\r\n".encode()
                await agent.clock.sleep(LOOK_S)
        finally:
            self.watchers -= 1
