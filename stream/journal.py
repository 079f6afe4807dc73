"""Questions and answers on disk: what was acknowledged survives kill -9.

SQLite in WAL mode with `synchronous=FULL`, in a thread of its own. Writes that arrive together are committed
together, so that a burst of questions costs one fsync and not one each. Bounded by rows and by age; only finished
questions leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from stream.clock import Clock
from stream.journal_file import open_disk, trim
from stream.journal_job import Job
from stream.redact import redact
from stream.wire import wall_of

if TYPE_CHECKING:
    from stream.flow import Question

T = TypeVar("T")
log = logging.getLogger(__name__)
_COLUMNS = "seq, id, camera, text, source, reply, asked_wall_s, status, answered_wall_s, answer, told"
TOGETHER = 256  # writes in one transaction
CLOSE_S = 1.0  # at the end, for what is queued
TRIM_EVERY = 64  # finished questions between two looks at the bounds


class JournalError(RuntimeError):
    """The journal cannot be written or read; the text says why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One question and, when `status` is set, its answer."""

    seq: int  # rises with every question; the cursor of `history`
    id: str
    camera: str
    text: str
    source: str
    reply: Mapping[str, str] | None  # where the asker wanted the answer; the journal only carries it
    asked_wall_s: float  # Unix time, s
    status: str | None = None
    answered_wall_s: float | None = None
    answer: Mapping[str, Any] | None = None  # the answer JSON of `wire.answer_payload`
    told: bool = False  # the asker's broker has acknowledged the answer


class Journal:
    """`async with` it, or `await open()` and `await close()`. Every failure is a `JournalError` with a sentence."""

    def __init__(
        self,
        path: Path,
        *,
        keep_days: float = 30.0,
        max_rows: int = 100_000,
        waiting: int = 4096,
        clock: Clock | None = None,
    ) -> None:
        """`waiting`: calls that may queue for the disk before new ones are refused."""
        self.path = path
        self.fault = ""  # why the last call failed; empty when it did not
        self.commits = 0
        self._keep_s = keep_days * 86_400
        self._max_rows = max_rows
        self._clock = clock or Clock()
        self._jobs: queue.Queue[Job | None] = queue.Queue(waiting)
        self._thread: threading.Thread | None = None
        self._finished = 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Start the thread. A disk that fails now is tried again at the next call; `fault` says why."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
            with contextlib.suppress(JournalError):
                await self._do(lambda _: None)

    async def close(self) -> None:
        """Finish what is queued, then end."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with contextlib.suppress(queue.Full):  # a disk that hangs: the thread is left behind
                await asyncio.to_thread(self._jobs.put, None, True, CLOSE_S)
                await asyncio.to_thread(thread.join, CLOSE_S)

    async def accept(
        self, question: Question, *, source: str, asked_wall_s: float, reply: Mapping[str, str] | None = None
    ) -> int:
        """Write a question; when this returns it is on the disk. Returns its `seq`.

        Cancelled before its turn has come, it is not written.
        """
        row = (question.id, question.camera, question.text, source, json.dumps(reply) if reply else None, asked_wall_s)
        insert = "INSERT INTO questions (id, camera, text, source, reply, asked_wall_s) VALUES (?, ?, ?, ?, ?, ?)"
        gone = threading.Event()

        def work(disk: sqlite3.Connection) -> int:
            return 0 if gone.is_set() else disk.execute(insert, row).lastrowid or 0

        try:
            return await self._do(work)
        except asyncio.CancelledError:
            gone.set()
            raise

    async def finish(self, seq: int, payload: Mapping[str, Any]) -> None:
        """Write the one terminal answer of a question; a second one changes nothing."""
        row = (payload["status"], wall_of(payload["answered_at"]), json.dumps(payload, ensure_ascii=False), seq)
        update = "UPDATE questions SET status = ?, answered_wall_s = ?, answer = ? WHERE seq = ? AND status IS NULL"

        def work(disk: sqlite3.Connection) -> None:
            disk.execute(update, row)
            self._finished += 1
            if self._finished % TRIM_EVERY == 0:
                self._trim(disk)

        await self._do(work)

    def told(self, seq: int) -> None:
        """Note that an answer has arrived. Never waits: without the note the answer is told twice, not lost."""

        def work(disk: sqlite3.Connection) -> None:
            disk.execute("UPDATE questions SET told = 1 WHERE seq = ? AND told = 0", (seq,))

        try:
            self._queue(work).unheard()
        except JournalError as error:
            log.warning("An answer that has arrived may be told once more after a restart: %s", redact(error))

    async def untold(self, since_wall_s: float, limit: int) -> list[Entry]:
        """The newest answers to questions over MQTT that were given since then and have not arrived, oldest first."""
        # Written as the index is, or it would not be used.
        where = "WHERE told = 0 AND source = 'mqtt' AND status IS NOT NULL AND answered_wall_s >= ?"
        return (await self._select(f"{where} ORDER BY answered_wall_s DESC LIMIT ?", since_wall_s, limit))[::-1]

    async def unfinished(self) -> list[Entry]:
        """Accepted and never answered: after a crash, those who still wait."""
        return await self._select("WHERE status IS NULL ORDER BY seq")

    async def history(self, after: int = 0, limit: int = 100, camera: str | None = None) -> list[Entry]:
        """Up to `limit` questions after a cursor (`Entry.seq`), oldest first."""
        where, values = ("AND camera = ?", (camera,)) if camera else ("", ())
        return await self._select(f"WHERE seq > ? {where} ORDER BY seq LIMIT ?", after, *values, max(0, limit))

    async def latest(self, limit: int = 20, camera: str | None = None) -> list[Entry]:
        """The newest questions, oldest first."""
        where, values = ("WHERE camera = ?", (camera,)) if camera else ("", ())
        return (await self._select(f"{where} ORDER BY seq DESC LIMIT ?", *values, max(0, limit)))[::-1]

    async def entry_of(self, question_id: str) -> Entry | None:
        """The newest question of this id."""
        entries = await self._select("WHERE id = ? ORDER BY seq DESC LIMIT 1", question_id)
        return entries[0] if entries else None

    async def answer_of(self, question_id: str) -> Mapping[str, Any] | None:
        """The answer JSON of the newest question of this id; None when there is none (yet)."""
        entry = await self.entry_of(question_id)
        return entry.answer if entry else None

    async def _select(self, clause: str, *values: object) -> list[Entry]:
        query = f"SELECT {_COLUMNS} FROM questions {clause}"  # noqa: S608 - clauses are written above, values are bound
        return await self._do(lambda disk: [_entry(row) for row in disk.execute(query, values)])

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._queue(work).future
        return result

    def _queue(self, work: Callable[[sqlite3.Connection], object]) -> Job:
        if self._thread is None:
            raise JournalError("The journal is closed.")
        job = Job(work)
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise JournalError("The journal's disk is too slow; try again in a moment.") from None
        return job

    def _run(self) -> None:
        disk: sqlite3.Connection | None = None
        while True:
            jobs, ended = self._gather()
            if jobs:
                disk = self._serve(disk, jobs)
            if ended:
                if disk is not None:
                    disk.close()
                return

    def _gather(self) -> tuple[list[Job], bool]:
        """Wait for work, then take all that came along."""
        jobs: list[Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == TOGETHER:
                return jobs, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _serve(self, disk: sqlite3.Connection | None, jobs: list[Job]) -> sqlite3.Connection | None:
        """All in one transaction; when that fails, each in its own, so that one bad write costs only its asker."""
        try:
            disk = disk or self._open_disk()
            results = self._commit(disk, jobs)
        except Exception as error:
            if disk is not None and len(jobs) > 1:
                for job in jobs:
                    disk = self._serve(disk, [job])
                return disk
            self.fault = self._sentence(error)
            for job in jobs:
                job.tell(None, JournalError(self.fault))
            if disk is not None:
                with contextlib.suppress(sqlite3.Error):
                    disk.close()
            return None  # opened anew at the next call: the disk may be back by then
        self.fault = ""
        for job, result in zip(jobs, results, strict=True):
            job.tell(result, None)
        return disk

    def _commit(self, disk: sqlite3.Connection, jobs: list[Job]) -> list[object]:
        disk.execute("BEGIN IMMEDIATE")
        try:
            results = [job.work(disk) for job in jobs]
            disk.execute("COMMIT")
        except BaseException:
            if disk.in_transaction:
                disk.execute("ROLLBACK")
            raise
        self.commits += 1
        return results

    def _open_disk(self) -> sqlite3.Connection:
        disk = open_disk(self.path)
        with contextlib.suppress(sqlite3.Error):  # a disk too full to forget anything may be read all the same
            self._trim(disk)  # a life may be too short to come to its next look at the bounds
        return disk

    def _trim(self, disk: sqlite3.Connection) -> None:
        trim(disk, self._max_rows, self._clock.wall_s() - self._keep_s)

    def _sentence(self, error: Exception) -> str:
        return (
            f"The journal {self.path} cannot be used: {error}. Free some space, make it writable, or move the file "
            "away and let a new one begin."
        )


def _entry(row: tuple[Any, ...]) -> Entry:
    seq, name, camera, text, source, reply, asked, status, answered, answer, told = row
    return Entry(
        seq=seq,
        id=name,
        camera=camera,
        text=text,
        source=source,
        reply=json.loads(reply) if reply else None,
        asked_wall_s=asked,
        status=status,
        answered_wall_s=answered,
        answer=json.loads(answer) if answer else None,
        told=bool(told),
    )
