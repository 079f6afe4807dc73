"""Exactly one terminal answer for each accepted question, whatever happens; a clear refusal for the others."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from stream.clock import HandWoundClock
from stream.config import QuestionsConfig
from stream.desk import Refused, Request
from stream.flow import Answer, MediaEpoch, Question
from stream.journal import Journal
from stream.recovery import REMEMBERED, KnownIds
from stream.request import MOST_TOKENS
from stream.ticket import Ticket
from tests.fakes import fake_station, fault_of, make_station, seen, settle, the, until
from tests.patience import PATIENCE_S


def ask(text: str = "what?", camera: str = "front", **more: Any) -> Request:
    return Request(camera, text, "http", **more)


async def test_an_answer_says_what_was_shown_and_is_journalled_and_published(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, parts), station.events.subscribe() as events:
        parts.sources["front"].show("green")
        await seen(station, "front", 2)
        ticket = await station.desk.ask(ask(id="q-1"))
        pieces = [piece async for piece in ticket.pieces()]
        answer = await ticket.answer()
        assert (answer.status, answer.text) == ("ok", "I saw red green.")
        assert "".join(piece.text for piece in pieces) == answer.text
        assert all(piece.said_s >= answer.question.asked_s for piece in pieces)
        assert the(answer.evidence).frames == 2
        assert answer.usage.prompt_tokens == 8
        assert answer.latency.total_ms >= the(answer.latency.first_token_ms) >= answer.latency.queue_ms >= 0
        assert await station.journal.answer_of("q-1") == json.loads(json.dumps(ticket.payload))
        assert parts.memories["front"].answers_noted == 1
        assert not parts.memories["front"].forks
    kinds = [(event.kind, event.data.get("id")) async for event in events]
    assert kinds.index(("question", "q-1")) < kinds.index(("answer", "q-1"))
    assert kinds.count(("answer", "q-1")) == 1


async def test_it_is_on_the_disk_before_it_is_accepted(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, parts):
        parts.answerer.gate = threading.Event()
        ticket = await station.desk.ask(ask())
        other = Journal(tmp_path / "journal.sqlite")
        async with other:
            assert [entry.id for entry in await other.unfinished()] == [ticket.question.id]
        parts.answerer.gate.set()
        await ticket.answer()


@pytest.mark.parametrize(
    ("request_", "code", "part"),
    [
        (ask(camera="nowhere"), "unknown_camera", "The cameras here: front"),
        (ask("  \n "), "empty_question", "empty"),
        (ask("\x00\x07"), "empty_question", "empty"),
        (ask("x" * 8193), "question_too_long", "8192 bytes"),
        (ask("ä" * 5000), "question_too_long", "8192 bytes"),
        (ask("x" * 1_000_000), "question_too_long", "8192 bytes"),
        (ask("half \ud800"), "bad_request", "character pair"),
        (ask(id=""), "bad_request", "An id"),
        (ask(id="a\nb"), "bad_request", "An id"),
        (ask(id="x" * 129), "bad_request", "An id"),
        (ask(timeout_s=0.0), "bad_request", "timeout_s"),
        (ask(timeout_s=float("nan")), "bad_request", "timeout_s"),
        (ask(max_tokens=-1), "bad_request", "max_tokens"),
        (ask(max_age_ms=0), "bad_request", "max_age_ms"),
        (ask(temperature=9.0), "bad_request", "temperature"),
        (ask(span_s=(5.0, 1.0)), "bad_request", "begin before"),
        (ask(span_s=(0.0, 1.0), since_s=3.0), "bad_request", "not both"),
    ],
)
async def test_what_is_refused_and_why(tmp_path: Path, request_: Request, code: str, part: str) -> None:
    async with fake_station(tmp_path) as (station, _):
        with pytest.raises(Refused) as caught:
            await station.desk.ask(request_)
        assert (caught.value.status, caught.value.code) == ("rejected", code)
        assert part in caught.value.message
        assert await station.journal.history() == []
        assert station.desk.open_questions == 0


async def test_more_tokens_than_are_served_are_as_many_as_are_served(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, _):
        ticket = await station.desk.ask(ask(max_tokens=10**12))
        assert ticket.question.max_tokens == MOST_TOKENS
        assert (await ticket.answer()).status == "ok"


async def test_eight_at_once_answer_as_if_each_were_alone(tmp_path: Path) -> None:
    async with fake_station(tmp_path, ["front", "back"]) as (station, parts):
        parts.sources["front"].show("green")
        parts.sources["back"].show("blue")
        await seen(station, "front", 2)
        await seen(station, "back", 2)
        tickets = [await station.desk.ask(ask(camera=("front", "back")[i % 2])) for i in range(8)]
        answers = [await ticket.answer() for ticket in tickets]
        assert [answer.text for answer in answers] == ["I saw red green.", "I saw red blue."] * 4
        assert not parts.memories["front"].forks
        assert not parts.memories["back"].forks


async def test_overload_is_a_clear_refusal_and_not_a_queue_without_end(tmp_path: Path) -> None:
    limits = QuestionsConfig(max_concurrent=2, queue=3, queue_per_camera=2)
    async with fake_station(tmp_path, ["front", "back"], limits=limits) as (station, parts):
        parts.answerer.gate = threading.Event()
        taken = [await station.desk.ask(ask()) for _ in range(4)]
        with pytest.raises(Refused, match="questions to 'front' are open") as caught:
            await station.desk.ask(ask())
        assert (caught.value.status, caught.value.code) == ("overloaded", "overloaded")
        assert the(caught.value.retry_after_s) >= 1
        taken.append(await station.desk.ask(ask(camera="back")))  # one camera's crowd leaves room for the other
        with pytest.raises(Refused, match="5 questions are open"):
            await station.desk.ask(ask(camera="back"))
        await until(lambda: station.desk.running_questions == 2)
        assert len(parts.memories["front"].forks) + len(parts.memories["back"].forks) <= 2
        parts.answerer.gate.set()
        assert [(await ticket.answer()).status for ticket in taken] == ["ok"] * 5
        assert (await (await station.desk.ask(ask())).answer()).status == "ok"


async def test_the_deadline_covers_queue_and_answering(tmp_path: Path) -> None:
    clock = HandWoundClock()
    limits = QuestionsConfig(max_concurrent=1)
    async with fake_station(tmp_path, clock=clock, limits=limits) as (station, parts):
        parts.answerer.gate = threading.Event()
        first = await station.desk.ask(ask("say it slowly", timeout_s=20))
        await until(lambda: station.desk.running_questions == 1)
        second = await station.desk.ask(ask(timeout_s=5))
        clock.wind(5.0)
        late = await second.answer()
        assert (late.status, fault_of(late).code, late.text) == ("timeout", "timeout", None)
        assert "in the queue" in fault_of(late).message
        clock.wind(15.0)
        late = await first.answer()  # told at once, though the model still holds its turn
        assert "while answering" in fault_of(late).message
        assert late.latency.total_ms == 20_000
        assert station.desk.open_questions == 1  # the place is taken until the fork is given back
        parts.answerer.gate.set()
        await until(lambda: station.desk.open_questions == 0)
        assert not parts.memories["front"].forks


async def test_a_cancelled_question_gets_its_terminal_answer_too(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, parts):
        ticket = await station.desk.ask(ask("say it slowly", max_tokens=1024))
        async for _ in ticket.pieces():
            ticket.cancel()
            break
        answer = await ticket.answer()
        assert (answer.status, fault_of(answer).code, answer.text) == ("rejected", "cancelled", None)
        ticket.cancel("again")  # nothing
        await until(lambda: station.desk.open_questions == 0)
        assert not parts.memories["front"].forks
        assert the(await station.journal.answer_of(ticket.question.id))["status"] == "rejected"


async def test_an_asker_who_leaves_while_it_is_written_takes_the_question_back(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, parts):
        parts.answerer.gate = threading.Event()
        asking = asyncio.ensure_future(station.desk.ask(ask(id="q-1")))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        parts.answerer.gate.set()
        await until(lambda: station.desk.open_questions == 0)
        assert the(await station.journal.answer_of("q-1"))["error"]["code"] == "cancelled"


async def test_a_broken_model_is_an_error_and_never_the_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_station(tmp_path) as (station, parts):
        ticket = await station.desk.ask(ask("please fail"))
        answer = await ticket.answer()
        assert (answer.status, answer.text, fault_of(answer).code) == ("model_error", None, "model_error")
        assert "the model broke" in fault_of(answer).message
        assert "canary" not in json.dumps(ticket.payload) + caplog.text
        assert "Traceback" in caplog.text
        assert not parts.memories["front"].forks
        assert (await (await station.desk.ask(ask())).answer()).status == "ok"


async def test_a_memory_with_no_room_for_one_more_question_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(RuntimeError):
        status = "overloaded"

    def full(_question: object) -> None:
        raise Full("8 questions are being answered already; ask again in a moment.")

    async with fake_station(tmp_path) as (station, parts):
        monkeypatch.setattr(parts.memories["front"], "fork", full)
        answer = await (await station.desk.ask(ask())).answer()
        assert (answer.status, fault_of(answer).code) == ("overloaded", "overloaded")
        assert "ask again" in fault_of(answer).message


async def test_a_model_that_says_nothing_is_an_error(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, _):
        answer = await (await station.desk.ask(ask("silence"))).answer()
        assert (answer.status, fault_of(answer).code) == ("model_error", "empty_answer")


async def test_the_same_id_is_the_same_question(tmp_path: Path) -> None:
    clock = HandWoundClock()
    async with fake_station(tmp_path, clock=clock) as (station, parts):
        first = await station.desk.ask(ask(id="q-1"))
        await first.answer()
        assert await station.desk.ask(ask(id="q-1")) is first
        with pytest.raises(Refused) as caught:
            await station.desk.ask(ask("something else", id="q-1"))
        assert caught.value.code == "duplicate_id"
        assert parts.answerer.closed == 1
        assert len(await station.journal.history()) == 1
        clock.wind(301.0)
        await settle()
        parts.sources["front"].show("blue")
        await until(lambda: station.cameras["front"].age_s() == 0)
        again = await station.desk.ask(ask(id="q-1"))
        assert again is not first
        assert (await again.answer()).text == "I saw red blue."


async def test_who_is_told_to_ask_again_may_soon_do_so_with_the_same_id(tmp_path: Path) -> None:
    clock = HandWoundClock()
    async with fake_station(tmp_path, clock=clock) as (station, parts):
        first = await station.desk.ask(ask("fail", id="q-1"))
        assert (await first.answer()).status == "model_error"
        clock.wind(29.0)
        assert await station.desk.ask(ask("fail", id="q-1")) is first  # a message delivered twice
        clock.wind(2.0)
        parts.sources["front"].show("blue")
        await until(lambda: station.cameras["front"].age_s() == 0)
        assert (await (await station.desk.ask(ask(id="q-1"))).answer()).status == "ok"


async def test_an_id_is_known_while_its_question_is_open_however_long_that_is(tmp_path: Path) -> None:
    clock = HandWoundClock()
    async with fake_station(tmp_path, clock=clock) as (station, parts):
        parts.answerer.gate = threading.Event()
        first = await station.desk.ask(ask(id="q-1", timeout_s=3600))
        await until(lambda: station.desk.running_questions == 1)
        clock.wind(3000.0)
        assert await station.desk.ask(ask(id="q-1")) is first
        parts.answerer.gate.set()
        assert (await first.answer()).status == "ok"
        clock.wind(299.0)
        assert await station.desk.ask(ask(id="q-1")) is first  # five minutes from the answer, not from the question


async def test_known_ids_are_bounded_and_the_open_ones_stay() -> None:
    known = KnownIds()
    waiting = Ticket(Question("open", "what?", "front", 0.0, 1.0), "mqtt", 0.0)
    known.add(waiting, 0.0)
    for number in range(REMEMBERED + 1):
        ticket = Ticket(Question(f"q-{number}", "what?", "front", 0.0, 1.0), "mqtt", 0.0)
        ticket.settle(Answer(ticket.question, "ok", "a cat"), {})
        known.add(ticket, 0.0)
    assert known.get("open", 1e9) is waiting
    assert known.get("q-0", 0.0) is known.get("q-1", 0.0) is None
    assert known.get("q-2", 0.0) and known.get(f"q-{REMEMBERED}", 0.0)


async def test_a_second_asker_who_leaves_does_not_take_back_the_first_ones_question(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, _):
        one = asyncio.ensure_future(station.desk.ask(ask(id="q-1")))
        two = asyncio.ensure_future(station.desk.ask(ask(id="q-1")))
        await asyncio.sleep(0)
        two.cancel()
        assert (await (await one).answer()).status == "ok"


async def test_ids_of_the_last_minutes_are_known_after_a_restart(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, _):
        first = await (await station.desk.ask(ask(id="q-1", reply={"to": "x"}))).answer()
    async with fake_station(tmp_path) as (station, parts):
        again = await station.desk.ask(ask(id="q-1"))
        assert (await again.answer()).text == first.text
        assert again.reply == {"to": "x"}
        assert parts.answerer.closed == 0


async def test_freshness(tmp_path: Path) -> None:
    clock = HandWoundClock()
    async with fake_station(tmp_path, clock=clock) as (station, parts):
        source = parts.sources["front"]
        clock.wind(11.0)
        source.become("offline", "the plug is out; rtsp://u:canary@cam/1")
        await settle()
        ticket = await station.desk.ask(ask())
        stale = await ticket.answer()
        assert (stale.status, fault_of(stale).code, stale.text) == ("stale", "stale", None)
        assert "11.0 s old (limit 10 s)" in fault_of(stale).message
        assert "the plug is out" in fault_of(stale).message
        assert "canary" not in json.dumps(ticket.payload)
        assert stale.newest_frame_age_ms == 11_000
        # Whoever asks about the past, or says that older is fine, is answered.
        assert (await (await station.desk.ask(ask(max_age_ms=20_000))).answer()).status == "ok"
        epoch = station.cameras["front"].epoch
        source.show("green", time_s=50.0)
        await seen(station, "front", 2)
        clock.wind(11.0)
        assert (await (await station.desk.ask(ask(span_s=(0.0, 1.0)))).answer()).text == "I saw red."
        assert (await (await station.desk.ask(ask(span_s=(49.0, 61.0)))).answer()).status == "stale"
        source.become("ended")  # the video is over: the newest frame is as new as it will ever be
        assert (await (await station.desk.ask(ask())).answer()).status == "ok"
        assert isinstance(epoch, MediaEpoch)


async def test_since_means_the_seconds_before_the_question(tmp_path: Path) -> None:
    clock = HandWoundClock()
    async with fake_station(tmp_path, clock=clock) as (station, parts):
        clock.wind(30.0)
        parts.sources["front"].show("blue", time_s=30.0)
        await seen(station, "front", 2)
        clock.wind(5.0)
        answer = await (await station.desk.ask(ask(since_s=10.0))).answer()
        assert answer.question.span_s == (25.0, 35.0)
        assert answer.text == "I saw blue."


async def test_a_camera_without_a_frame(tmp_path: Path) -> None:
    clock = HandWoundClock()
    async with fake_station(tmp_path, ["front", "back"], clock=clock, show=None) as (station, parts):
        parts.sources["front"].become("offline", "no route to host")
        waiting = [await station.desk.ask(ask()) for _ in range(8)]
        # Eight who wait for a dead camera do not stand in the way of a living one.
        parts.sources["back"].show("blue")
        await seen(station, "back", 1)
        assert (await (await station.desk.ask(ask(camera="back"))).answer()).text == "I saw blue."
        clock.wind(10.0)
        answers = [await ticket.answer() for ticket in waiting]
        assert {answer.status for answer in answers} == {"no_frames"}
        assert "no route to host" in fault_of(answers[0]).message


async def test_a_first_frame_that_comes_in_time_is_answered(tmp_path: Path) -> None:
    async with fake_station(tmp_path, show=None) as (station, parts):
        ticket = await station.desk.ask(ask())
        parts.sources["front"].show("green")
        assert (await ticket.answer()).text == "I saw green."


async def test_shutdown_answers_everyone_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.desk.DRAIN_S", 0.2)  # test_station.py keeps the real times
    station, parts = make_station(tmp_path, limits=QuestionsConfig(max_concurrent=2))
    loop = asyncio.get_running_loop()
    async with station.running():
        parts.sources["front"].show("red")
        await seen(station, "front", 1)
        parts.answerer.gate = threading.Event()  # the model hangs
        tickets = [await station.desk.ask(ask()) for _ in range(6)]
        await until(lambda: station.desk.running_questions == 2)
        began = loop.time()
    assert loop.time() - began < 10  # the promise to users, not a measurement
    answers = [await ticket.answer() for ticket in tickets]
    assert {(answer.status, fault_of(answer).code) for answer in answers} == {("rejected", "shutting_down")}
    with pytest.raises(Refused) as caught:
        await station.desk.ask(ask())
    assert caught.value.code == "shutting_down"
    parts.answerer.gate.set()
    async with Journal(tmp_path / "journal.sqlite") as journal:
        assert {entry.status for entry in await journal.history()} == {"rejected"}


async def test_a_disk_that_fails_is_a_refusal_and_not_a_crash(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, _):
        await station.journal._do(lambda disk: disk.execute("PRAGMA query_only=1"))  # as a read-only disk would
        with pytest.raises(Refused, match="make it writable") as caught:
            await station.desk.ask(ask(id="q-1"))
        assert (caught.value.status, caught.value.code) == ("rejected", "journal_unavailable")
        assert not station.ready
        # The connection is opened anew, the disk is back, the same id may be used.
        assert (await (await station.desk.ask(ask(id="q-1"))).answer()).status == "ok"
        assert station.ready


async def test_a_disk_that_hangs_is_a_refusal_and_its_question_has_no_second_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.desk.ACCEPT_S", 0.2)
    async with fake_station(tmp_path) as (station, parts):
        journal, held = station.journal, threading.Event()
        holding = asyncio.ensure_future(journal._do(lambda _: held.wait(PATIENCE_S)))
        with pytest.raises(Refused, match="too slow") as caught:
            await station.desk.ask(ask(id="q-1"))
        assert (caught.value.status, caught.value.code) == ("rejected", "journal_unavailable")
        assert station.desk.open_questions == 1  # what waits for the disk is bounded like all that is open
        held.set()
        await holding
        await until(lambda: station.desk.open_questions == 0)
        entry = the(await journal.entry_of("q-1"))
        assert (entry.status, the(entry.answer)["error"]["code"]) == ("rejected", "journal_unavailable")
        assert entry.told and parts.answerer.closed == 0
        monkeypatch.setattr("stream.desk.ACCEPT_S", PATIENCE_S)
        assert (await (await station.desk.ask(ask(id="q-1"))).answer()).status == "ok"


async def test_the_deadline_counts_while_the_question_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.desk.ACCEPT_S", 2 * PATIENCE_S)
    async with fake_station(tmp_path) as (station, _):
        held = threading.Event()
        holding = asyncio.ensure_future(station.journal._do(lambda _: held.wait(PATIENCE_S)))
        with pytest.raises(Refused, match="too slow"):
            await station.desk.ask(ask(timeout_s=0.05))
        assert not holding.done()
        held.set()
        await holding


async def test_an_answer_is_told_though_its_disk_fails_and_written_when_it_is_back(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, parts):
        parts.answerer.gate = threading.Event()
        ticket = await station.desk.ask(ask(id="q-1"))
        await station.journal._do(lambda disk: disk.execute("PRAGMA query_only=1"))
        parts.answerer.gate.set()
        assert (await ticket.answer()).status == "ok"
        assert await station.journal.answer_of("q-1") is None
        await (await station.desk.ask(ask(id="q-2"))).answer()
        await until(lambda: station.desk._writing.late == 0)
        assert the(await station.journal.answer_of("q-1"))["status"] == "ok"


async def test_every_outcome_is_counted(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, _):
        for text in ("what?", "fail"):
            await (await station.desk.ask(ask(text))).answer()
        with pytest.raises(Refused):
            await station.desk.ask(ask(camera="nowhere"))
        await until(lambda: station.desk.open_questions == 0)
        count = station.meters.registry.get_sample_value
        outcomes = {
            outcome: count("longwatch_question_total", {"source": "http", "outcome": outcome})
            for outcome in ("ok", "model_error", "unknown_camera")
        }
        assert outcomes == {"ok": 1.0, "model_error": 1.0, "unknown_camera": 1.0}
        assert count("longwatch_model_inflight") == count("longwatch_model_queue_depth") == 0.0
