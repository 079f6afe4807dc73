"""Answers whose disk fails when they are told: written as soon as it works, in nobody's way, never told twice."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stream.desk import Request
from stream.journal import Journal, JournalError
from stream.writing import BATCH, UNWRITTEN, Writing
from tests.fakes import fake_station, make_station, the, until


class Stubborn(Journal):
    """Its disk fails, or hangs, for as long as a test wants it to."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))
        self.fails = True
        self.hangs: set[int] = set()
        self.written: dict[int, Mapping[str, Any]] = {}

    async def finish(self, seq: int, payload: Mapping[str, Any]) -> None:
        if self.fails:
            raise JournalError("The disk is away.")
        if seq in self.hangs:
            await asyncio.Event().wait()
        self.written[seq] = payload


async def test_late_answers_are_written_when_the_disk_is_back_though_nobody_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stream.writing.RETRY_S", 0.01)
    journal = Stubborn()
    writing = Writing(journal)
    trying = asyncio.create_task(writing.keep_trying())
    for seq in range(BATCH + 3):
        await writing.write(seq, {"seq": seq})
    await asyncio.sleep(0.05)  # several tries in vain
    assert writing.late == BATCH + 3 and not journal.written
    journal.fails = False
    await until(lambda: not writing.late)
    assert list(journal.written) == list(range(BATCH + 3))
    trying.cancel()


async def test_nobody_waits_for_the_late_ones_of_others() -> None:
    journal = Stubborn()
    writing = Writing(journal)
    trying = asyncio.create_task(writing.keep_trying())
    await writing.write(1, {})
    journal.fails, journal.hangs = False, {1}
    await asyncio.wait_for(writing.write(2, {}), 1.0)  # it would wait for ever
    assert list(journal.written) == [2]
    trying.cancel()


async def test_late_answers_are_bounded_and_the_oldest_is_given_up() -> None:
    journal = Stubborn()
    writing = Writing(journal)
    for seq in range(UNWRITTEN + 2):
        await writing.write(seq, {})
    assert writing.late == UNWRITTEN
    journal.fails = False
    await writing.flush(10.0)
    assert (min(journal.written), len(journal.written), writing.late) == (2, UNWRITTEN, 0)


async def test_a_flush_ends_in_time_and_loses_nothing() -> None:
    journal = Stubborn()
    writing = Writing(journal)
    await writing.write(1, {})
    journal.fails, journal.hangs = False, {1}
    await writing.flush(0.01)
    assert writing.late == 1


async def test_an_answer_told_while_the_disk_failed_is_not_told_otherwise_by_the_next_life(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, parts):
        parts.answerer.gate = threading.Event()
        ticket = await station.desk.ask(Request("front", "what?", "mqtt", id="q-1"))
        await station.journal._do(lambda disk: disk.execute("PRAGMA query_only=1"))  # the next write fails
        parts.answerer.gate.set()
        assert (await ticket.answer()).status == "ok"
        assert await station.journal.answer_of("q-1") is None
    again, _ = make_station(tmp_path)
    async with again.running():
        assert again.desk.recovered == ()
        assert the(await again.journal.answer_of("q-1"))["status"] == "ok"
