"""What was acknowledged is on the disk: also after kill -9, and never without end."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stream.clock import Clock, HandWoundClock
from stream.flow import Answer, MediaEpoch, Question
from stream.journal import Entry, Journal, JournalError
from stream.journal_file import SCHEMA_VERSION
from stream.wire import Payload, answer_payload
from tests.fakes import make_station, the
from tests.patience import PATIENCE_S


def question(name: str, camera: str = "front") -> Question:
    return Question(name, f"what about {name}?", camera, asked_s=0.0, deadline_s=30.0)


def payload(name: str, wall_s: float = 100.0, text: str = "a cat") -> Payload:
    return answer_payload(Answer(question(name), "ok", text, answered_wall_s=wall_s), MediaEpoch(0.0))


async def accept(journal: Journal, name: str, wall_s: float = 100.0, **more: Any) -> int:
    return await journal.accept(question(name), source="mqtt", asked_wall_s=wall_s, **more)


async def test_a_question_is_unfinished_until_its_answer_is_there(tmp_path: Path) -> None:
    async with Journal(tmp_path / "j.sqlite") as journal:
        seq = await accept(journal, "q-1", reply={"topic": "home/answers"})
        (entry,) = await journal.unfinished()
        assert (entry.id, entry.camera, entry.source, entry.reply) == (
            "q-1",
            "front",
            "mqtt",
            {"topic": "home/answers"},
        )
        assert await journal.answer_of("q-1") is None
        await journal.finish(seq, payload("q-1"))
        assert await journal.unfinished() == []
        assert the(await journal.answer_of("q-1"))["answer"] == "a cat"


async def test_the_first_answer_stays(tmp_path: Path) -> None:
    async with Journal(tmp_path / "j.sqlite") as journal:
        seq = await accept(journal, "q-1")
        await journal.finish(seq, payload("q-1", text="first"))
        await journal.finish(seq, payload("q-1", text="second"))
        assert the(await journal.answer_of("q-1"))["answer"] == "first"


async def test_only_answers_over_mqtt_that_did_not_arrive_are_untold(tmp_path: Path) -> None:
    async with Journal(tmp_path / "j.sqlite") as journal:
        seqs = [await accept(journal, f"q-{number}") for number in range(5)]
        for seq in seqs[:4]:
            await journal.finish(seq, payload(f"q-{seq}", wall_s=100.0 + seq))
        over_http = await journal.accept(question("http"), source="http", asked_wall_s=100.0)
        await journal.finish(over_http, payload("http", wall_s=200.0))
        journal.told(seqs[1])
        assert [entry.seq for entry in await journal.untold(0.0, 10)] == [seqs[0], seqs[2], seqs[3]]
        assert [entry.seq for entry in await journal.untold(103.0, 10)] == [seqs[2], seqs[3]]
        assert [entry.seq for entry in await journal.untold(0.0, 2)] == [seqs[2], seqs[3]]  # the newest
        assert [entry.told for entry in await journal.history(limit=4)] == [False, True, False, False]


LAYOUT_1 = """
CREATE TABLE questions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, camera TEXT NOT NULL, text TEXT NOT NULL,
    source TEXT NOT NULL, reply TEXT, asked_wall_s REAL NOT NULL, status TEXT, answered_wall_s REAL, answer TEXT
);
CREATE INDEX questions_by_id ON questions (id);
CREATE INDEX questions_unfinished ON questions (seq) WHERE status IS NULL;
INSERT INTO questions (id, camera, text, source, asked_wall_s) VALUES ('open', 'front', 'what?', 'mqtt', 90.0);
PRAGMA user_version=1;
"""


async def test_a_journal_of_the_first_layout_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with closing(sqlite3.connect(path)) as disk:
        disk.executescript(LAYOUT_1)
        row = ("done", "front", "what?", "mqtt", 90.0, "ok", 100.0, json.dumps(payload("done")))
        columns = "id, camera, text, source, asked_wall_s, status, answered_wall_s, answer"
        disk.execute(f"INSERT INTO questions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        disk.commit()
    for _ in range(2):
        async with Journal(path, clock=HandWoundClock(wall_s=100.0)) as journal:
            assert [(entry.id, entry.told) for entry in await journal.history()] == [("open", False), ("done", True)]
            assert [entry.id for entry in await journal.unfinished()] == ["open"]
            assert await journal.untold(0.0, 10) == []
    with closing(sqlite3.connect(path)) as disk:
        assert disk.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


async def test_a_journal_of_a_later_layout_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with closing(sqlite3.connect(path)) as disk:
        disk.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    async with Journal(path) as journal:
        with pytest.raises(JournalError, match="newer Longwatch"):
            await accept(journal, "q-1")


async def test_history_is_read_by_cursor(tmp_path: Path) -> None:
    async with Journal(tmp_path / "j.sqlite") as journal:
        for number in range(5):
            await journal.accept(
                question(f"q-{number}", "front" if number % 2 else "back"), source="http", asked_wall_s=1.0
            )
        first = await journal.history(limit=2)
        rest = await journal.history(after=first[-1].seq)
        assert [entry.id for entry in first + rest] == [f"q-{number}" for number in range(5)]
        assert [entry.id for entry in await journal.history(camera="front")] == ["q-1", "q-3"]
        assert [entry.id for entry in await journal.latest(2)] == ["q-3", "q-4"]
        assert [entry.id for entry in await journal.latest(2, camera="back")] == ["q-2", "q-4"]


async def test_questions_that_come_together_are_committed_together(tmp_path: Path) -> None:
    async with Journal(tmp_path / "j.sqlite") as journal:
        before = journal.commits
        seqs = await asyncio.gather(*(accept(journal, f"q-{number}") for number in range(40)))
        assert sorted(seqs) == list(range(1, 41))
        assert journal.commits - before <= 20  # one or two as a rule; never one each


async def test_a_question_taken_back_before_its_turn_is_not_written(tmp_path: Path) -> None:
    async with Journal(tmp_path / "j.sqlite") as journal:
        held, busy = threading.Event(), threading.Event()

        def hold(_: sqlite3.Connection) -> None:
            busy.set()
            held.wait(PATIENCE_S)

        holding = asyncio.ensure_future(journal._do(hold))
        await asyncio.to_thread(busy.wait, PATIENCE_S)
        asking = asyncio.ensure_future(accept(journal, "q-1"))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        held.set()
        await holding
        assert await journal.history() == []


async def test_rows_and_age_are_bounded_and_the_unfinished_stay(tmp_path: Path) -> None:
    clock = HandWoundClock(wall_s=100_000.0)
    async with Journal(tmp_path / "j.sqlite", max_rows=50, keep_days=1.0, clock=clock) as journal:
        waiting = await accept(journal, "waiting", wall_s=0.0)
        old = await accept(journal, "old", wall_s=0.0)
        await journal.finish(old, payload("old", wall_s=1.0))
        seqs = await asyncio.gather(*(accept(journal, f"q-{number}", wall_s=100_000.0) for number in range(130)))
        await asyncio.gather(*(journal.finish(seq, payload(f"q-{seq}", wall_s=100_000.0)) for seq in seqs))
        entries = await journal.history(limit=1000)
        assert len(entries) <= 50 + 64 + 1  # the bound, plus what came since it was looked at, plus who waits
        assert [entry.seq for entry in await journal.unfinished()] == [waiting]
        assert await journal.entry_of("old") is None


async def test_what_is_too_old_goes_when_the_journal_is_opened(tmp_path: Path) -> None:
    """A service that answers little, or starts often, never comes to the next look at the bounds."""
    clock, path = HandWoundClock(), tmp_path / "j.sqlite"
    for days in (0.0, 0.5, 2.0):
        clock.wind(days * 86_400)
        async with Journal(path, keep_days=1.0, max_rows=3, clock=clock) as journal:
            for number in range(2):
                seq = await accept(journal, f"{days}-{number}", wall_s=clock.wall_s())
                await journal.finish(seq, payload(f"{days}-{number}", wall_s=clock.wall_s()))
    assert [entry.id for entry in await _all(path, max_rows=3, clock=clock)] == ["2.0-0", "2.0-1"]
    assert [entry.id for entry in await _all(path, max_rows=1, clock=clock)] == ["2.0-1"]


async def _all(path: Path, **bounds: Any) -> list[Entry]:
    async with Journal(path, **bounds) as journal:
        return await journal.history()


async def test_one_bad_row_costs_only_its_asker(tmp_path: Path) -> None:
    async with Journal(tmp_path / "j.sqlite") as journal:
        broken = Question("q-bad", "half a pair: \ud800", "front", 0.0, 1.0)
        results = await asyncio.gather(
            accept(journal, "q-1"),
            journal.accept(broken, source="http", asked_wall_s=0.0),
            accept(journal, "q-2"),
            return_exceptions=True,
        )
        assert isinstance(results[1], JournalError)
        assert [entry.id for entry in await journal.unfinished()] == ["q-1", "q-2"]


async def test_a_path_that_cannot_be_written_is_a_sentence_and_heals(tmp_path: Path) -> None:
    blocked = tmp_path / "folder"
    blocked.write_text("a file where the folder should be")
    async with Journal(blocked / "j.sqlite") as journal:
        with pytest.raises(JournalError, match="make it writable"):
            await accept(journal, "q-1")
        assert "cannot be used" in journal.fault
        blocked.unlink()
        assert await accept(journal, "q-2") == 1
        assert journal.fault == ""


async def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    async with Journal(path) as journal:
        await accept(journal, "q-1")

        # SQLite then says what it says when the disk is full.
        await journal._do(lambda disk: disk.execute("PRAGMA max_page_count=8").fetchone())

        async def fill() -> None:
            for number in range(200):
                long = Question(f"q-{number}", "x" * 8000, "front", 0.0, 1.0)
                await journal.accept(long, source="http", asked_wall_s=0.0)

        with pytest.raises(JournalError, match="full"):
            await fill()
        assert (await journal.entry_of("q-1")) is not None


async def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    path.write_bytes(b"holiday pictures" * 1000)
    async with Journal(path) as journal:
        with pytest.raises(JournalError, match="move the file away"):
            await accept(journal, "q-1")
    assert path.read_bytes() == b"holiday pictures" * 1000


async def test_a_closed_journal_says_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    with pytest.raises(JournalError, match="closed"):
        await accept(journal, "q-1")


VICTIM = """
import asyncio, os, sys
from pathlib import Path
from stream.desk import Request
from tests.fakes import fake_station

async def main():
    answered = []
    async with fake_station(Path(sys.argv[1])) as (station, _):
        async def ask(number):
            text = f"say it slowly {number}" if number % 2 else f"what {number}?"
            ticket = await station.desk.ask(Request("front", text, "mqtt", id=f"q-{number}", max_tokens=1000))
            print("accepted", ticket.question.id, flush=True)  # the acknowledgement, as a client would see it
            await ticket.answer()
            print("answered", ticket.question.id, flush=True)
            answered.append(number)
            if len(answered) == 3:  # the others wait, or are in the middle of a word
                os.kill(os.getpid(), 9)
        await asyncio.gather(*(ask(number) for number in range(12)), asyncio.sleep(60))

asyncio.run(main())
"""


def killed(tmp_path: Path) -> list[tuple[str, str]]:
    """What a client was told before the service died in the middle of its answers: word and question id."""
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", VICTIM, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}
    ) as victim:
        assert victim.stdout is not None
        told = [(word, name) for word, name in map(str.split, victim.stdout)]
    assert victim.returncode == -signal.SIGKILL
    return told


async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    told = await asyncio.to_thread(killed, tmp_path)
    accepted = {name for word, name in told if word == "accepted"}
    answered = {name for word, name in told if word == "answered"}
    assert accepted > answered

    station, _ = make_station(tmp_path, clock=Clock())
    async with station.running(), station.events.subscribe(replay=lambda event: event.kind == "answer") as events:
        entries = {entry.id: entry for entry in await station.journal.history(limit=100)}
        assert accepted <= set(entries)
        assert all(entry.status is not None for entry in entries.values())
        assert {entries[name].status for name in answered} == {"ok"}
        restarted = {name for name, entry in entries.items() if entry.status == "rejected"}
        assert accepted - answered <= restarted | {name for name, entry in entries.items() if entry.status == "ok"}
        assert restarted
        assert all(the(entries[name].answer)["error"]["code"] == "restarted" for name in restarted)
        station.events.close()
        assert {event.data["id"] for event in [event async for event in events]} == restarted
    # The second restart has nothing to tell: each has its one terminal answer.
    again, _ = make_station(tmp_path)
    async with again.running():
        assert again.desk.recovered == ()
