"""A camera's memory over a restart: read back at the start, written now and then and on leaving, or forgotten."""

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
            aside = _unread(self.path)
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
            await self._device.run(self._write, self.path, priority=ASK)
        except DeviceClosed:
            return
        except Exception as error:  # a full disk: go on watching, try again next time
            self._telling.fault("what is remembered cannot be written", error)

    def _write(self, path: Path) -> None:
        """On the device thread, in one turn: what is counted is what is written."""
        frames = self._memory.holdings().frames_seen
        if frames != self._frames:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._memory.snapshot(path)
            self._frames = frames

    async def forget(self) -> None:
        """Clear the memory and all that is kept of it. Raises `OSError` when the disk does not let go of it."""
        try:
            await self._device.run(self._erase, priority=ASK)
        except OSError as error:
            self._telling.fault("what was remembered cannot be removed from the disk", error)
            raise

    def _erase(self) -> None:
        """On the device thread, in one turn: a save comes before it or after it, never between."""
        self._memory.clear()
        self._frames = self._memory.holdings().frames_seen  # nothing to write until something is seen
        if self.path is not None:
            # Also what a former life could not read, and what one that crashed had half written.
            for path in (self.path, _unread(self.path), *self.path.parent.glob(f".{self.path.name}.*.part")):
                path.unlink(missing_ok=True)

    async def save_within(self, seconds: float) -> None:
        """The last one, on leaving; the one before stays when there is no time."""
        try:
            async with asyncio.timeout(seconds):
                await self.save()
        except TimeoutError:
            log.warning("There was no time to write %s; the last snapshot stays.", self.path)


def _unread(path: Path) -> Path:
    """Where a snapshot goes that cannot be read."""
    return path.with_name(f"{path.name}.unread")
