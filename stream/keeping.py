"""A camera's memory over a restart: read back at the start, written now and then and on leaving."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from stream.device import ASK, Device, DeviceClosed

if TYPE_CHECKING:
    from pathlib import Path

    from stream.flow import Holdings
    from stream.ports import StreamMemory
    from stream.telling import Telling

log = logging.getLogger("stream.agent")


class Keeping:
    """Snapshots of one memory at one path; None: nothing is kept. Failures are told and never stop the watching."""

    def __init__(self, path: Path | None, memory: StreamMemory, device: Device, telling: Telling) -> None:
        self.path = path
        self._memory = memory
        self._device = device
        self._telling = telling
        self._frames = 0  # frames seen when it was last written or read

    async def restore(self) -> Holdings | None:
        """Read what a former life remembered. None: there is nothing, or it cannot be read."""
        if self.path is None or not self.path.exists():
            return None
        try:
            await self._device.run(self._memory.restore, self.path, priority=ASK)
            held = await self._device.run(self._memory.holdings, priority=ASK)
        except Exception as error:  # another model's, or damaged: begin anew, but do not overwrite what may be of use
            aside = self.path.with_name(f"{self.path.name}.unread")
            self._telling.fault(f"what was remembered cannot be read and is kept as {aside.name}", error)
            self._put_aside(self.path, aside)
            return None
        self._frames = held.frames_seen
        return held

    def _put_aside(self, path: Path, aside: Path) -> None:
        try:
            path.replace(aside)
        except OSError as error:
            self._telling.fault("it could not be put aside", error)

    async def save(self) -> None:
        """Write what is remembered, when that has changed."""
        if self.path is None:
            return
        try:
            frames = (await self._device.run(self._memory.holdings, priority=ASK)).frames_seen
            if frames != self._frames:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                await self._device.run(self._memory.snapshot, self.path, priority=ASK)
                self._frames = frames
        except DeviceClosed:
            return
        except Exception as error:  # a full disk: go on watching, try again next time
            self._telling.fault("what is remembered cannot be written", error)

    async def save_within(self, seconds: float) -> None:
        """The last one, on leaving; the one before stays when there is no time."""
        try:
            async with asyncio.timeout(seconds):
                await self.save()
        except TimeoutError:
            log.warning("There was no time to write %s; the last snapshot stays.", self.path)
