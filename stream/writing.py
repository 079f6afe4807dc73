"""Answers to the journal: on the disk before they are told, unless the disk fails; then as soon as it is back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

from stream.journal import Journal, JournalError
from stream.redact import redact

log = logging.getLogger("stream.desk")
WRITE_S = 1.5  # an answer waits this long for its disk, then it is published all the same
UNWRITTEN = 1024  # answers that wait for a disk that comes back; the oldest is given up first


class Writing:
    """Writes answers; what could not be written is tried again after the next one that could."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._late: deque[tuple[int, Mapping[str, Any]]] = deque(maxlen=UNWRITTEN)

    @property
    def late(self) -> int:
        """Answers that were told and are not on the disk."""
        return len(self._late)

    async def write(self, seq: int, payload: Mapping[str, Any]) -> None:
        """Returns when the answer is on the disk, or when that takes too long."""
        try:
            async with asyncio.timeout(WRITE_S):
                await self._journal.finish(seq, payload)
        except (JournalError, TimeoutError) as error:
            log.error("An answer is not in the journal yet: %s", redact(error) or "the disk is too slow.")
            self._late.append((seq, payload))
            return
        while self._late:
            late = self._late.popleft()
            try:
                await self._journal.finish(*late)
            except JournalError:
                self._late.appendleft(late)
                return
