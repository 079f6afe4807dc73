"""Answers to the journal: on the disk before they are told, unless the disk fails; then as soon as it is back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from stream.journal import Journal, JournalError
from stream.redact import redact

log = logging.getLogger("stream.desk")
WRITE_S = 1.5  # an answer waits this long for its disk, then it is published all the same
RETRY_S = 3.0  # between two tries to write the late ones
UNWRITTEN = 1024  # answers that wait for a disk that comes back; the oldest is given up first
BATCH = 64  # late answers written together: one commit, and not the whole queue of the journal


class Writing:
    """Writes answers; `keep_trying` is a task's work and writes those that could not be written when they were told."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._late: dict[int, Mapping[str, Any]] = {}  # by `seq`, oldest first
        self._disk_works = asyncio.Event()

    @property
    def late(self) -> int:
        """Answers that were told and are not on the disk."""
        return len(self._late)

    async def write(self, seq: int, payload: Mapping[str, Any]) -> None:
        """Returns when the answer is on the disk, or when that takes too long. Waits for no other's."""
        try:
            async with asyncio.timeout(WRITE_S):
                await self._journal.finish(seq, payload)
        except (JournalError, TimeoutError) as error:
            log.error("An answer is not in the journal yet: %s", redact(error) or "the disk is too slow.")
            while len(self._late) >= UNWRITTEN:
                del self._late[next(iter(self._late))]
            self._late[seq] = payload
        else:
            self._disk_works.set()

    async def keep_trying(self) -> None:
        """Write what is late: every few seconds, and at once when another answer shows that the disk works."""
        while True:
            self._disk_works.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await self._disk_works.wait()
            await self.flush(RETRY_S)

    async def flush(self, within_s: float) -> None:
        """Write what is late, as far as it can be done in this time. What was written twice counts once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                waiting = list(self._late.items())
                for start in range(0, len(waiting), BATCH):
                    batch = waiting[start : start + BATCH]
                    writes = (self._journal.finish(seq, payload) for seq, payload in batch)
                    failures = await asyncio.gather(*writes, return_exceptions=True)
                    for (seq, _), failure in zip(batch, failures, strict=True):
                        if failure is None:
                            self._late.pop(seq, None)
                    if all(failures):
                        return
