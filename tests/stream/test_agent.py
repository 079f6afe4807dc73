"""The loop of one camera: nothing blinds it, nothing grows, and a restart forgets nothing."""

import asyncio
import json
import threading
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from stream.agent import AgentOptions
from stream.clock import HandWoundClock
from stream.desk import Request
from stream.flow import Frame, MediaEpoch, Outcome, Piece, Question
from stream.gate import ChangeGate
from stream.timeline import Rate, Timeline
from tests.fakes import (
    ScriptedSource,
    caught_up,
    fake_station,
    frame,
    make_station,
    picture,
    picture_at,
    seen,
    settle,
    the,
    until,
)


def question(text: str = "what?", **more: Any) -> Question:
    return Question("q-1", text, "front", asked_s=0.0, deadline_s=1e9, **more)


async def test_a_finite_source_is_seen_to_its_end(tmp_path: Path) -> None:
    script = [(0.5 * i, ("red", "green", "blue")[i % 3]) for i in range(30)]
    options = AgentOptions(fps=60.0, overflow="wait")
    async with fake_station(tmp_path, show=None, sources={"front": ScriptedSource(script)}, options=options) as (
        station,
        parts,
    ):
        agent = station.cameras["front"]
        await asyncio.wait_for(agent.finished.wait(), 20)
        assert parts.memories["front"].seen == script
        assert agent.mailbox.dropped == 0
        assert agent.state.state == "ended"


async def test_frames_are_perceived_between_the_words_of_an_answer(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, parts):
        agent, memory = station.cameras["front"], parts.memories["front"]
        counts = []
        async with aclosing(agent.ask(question("say it slowly", max_tokens=5))) as words:
            async for word in words:
                if isinstance(word, Piece):
                    counts.append(memory.frames_seen)
                    assert word.seen_s == 0.0  # the fork sees what was there when it was asked
                    parts.sources["front"].show("blue")
                    await seen(station, "front", counts[-1] + 1)
        assert counts == [1, 2, 3, 4, 5]


async def test_with_a_slow_decode_frames_go_on_being_committed_and_no_queue_grows(tmp_path: Path) -> None:
    """Invariant 16: a decode whose every step is held up, eight at once, and a camera that does not wait."""
    async with fake_station(tmp_path) as (station, parts):
        agent = station.cameras["front"]
        step = parts.answerer.gate = threading.Event()
        tickets = [await station.desk.ask(Request("front", "say it slowly", "http", max_tokens=3)) for _ in range(8)]
        await until(lambda: station.desk.running_questions == 8)
        deepest = sent = 0
        while not all(ticket.done for ticket in tickets):
            for _ in range(5):
                parts.sources["front"].show("blue")
                sent += 1
            await asyncio.sleep(0)
            deepest = max(deepest, len(agent.mailbox), station.device.depth)
            step.set()
            await asyncio.sleep(0.001)
            step.clear()
        step.set()
        await caught_up(station, "front", parts)
        memory = parts.memories["front"]
        assert memory.frames_seen > 3, "few where the machine is busy, but they go on"
        assert memory.frames_seen + agent.mailbox.dropped == 1 + sent  # each frame is seen or counted as dropped
        assert deepest <= 2 + 8 + 3  # the mailbox, a turn per question, and see, pulse and holdings
        assert [(await ticket.answer()).status for ticket in tickets] == ["ok"] * 8


async def test_a_slow_encoder_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, parts):
        agent = station.cameras["front"]
        parts.encoder.gate = threading.Event()
        for index in range(20):
            parts.sources["front"].show(("green", "blue")[index % 2])
        await until(lambda: the(agent.latest).index == 20)
        assert agent.behind <= 3  # two in the mailbox, and one in the encoder
        parts.encoder.gate.set()
        await caught_up(station, "front", parts)
        memory = parts.memories["front"]
        assert memory.frames_seen + agent.mailbox.dropped == 21
        assert agent.mailbox.dropped >= 17
        assert memory.seen[-1] == parts.sources["front"].shown[-1]
        dropped = station.meters.registry.get_sample_value(
            "longwatch_camera_frames_dropped_total", {"camera": "front", "reason": "backpressure"}
        )
        assert dropped == agent.mailbox.dropped


async def test_two_cameras_interleaved_remember_what_each_alone_would(tmp_path: Path) -> None:
    async with fake_station(tmp_path, ["front", "back"], show=None) as (station, parts):
        for index in range(6):
            parts.sources["front"].show(("red", "green")[index % 2])
            parts.sources["back"].show(("blue", "grey")[index % 2], time_s=100.0 + index)
            await seen(station, "front", index + 1)
            await seen(station, "back", index + 1)
        assert parts.memories["front"].seen == parts.sources["front"].shown
        assert parts.memories["back"].seen == parts.sources["back"].shown


async def test_stopping_an_answer_gives_the_fork_back(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, parts):
        async with aclosing(station.cameras["front"].ask(question("say it slowly"))) as words:
            async for _ in words:
                assert parts.memories["front"].forks
                break
        assert not parts.memories["front"].forks
        assert parts.answerer.closed == 1
        assert parts.memories["front"].answers_noted == 0  # half an answer is no evidence of use


async def test_an_answer_ends_with_its_outcome(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, _):
        words = [word async for word in station.cameras["front"].ask(question())]
        outcome = words.pop()
        assert isinstance(outcome, Outcome)
        assert [type(word) for word in words] == [Piece] * 3
        assert outcome.evidence.frames == 1
        assert outcome.usage.completion_tokens == 3


async def test_a_poisoned_frame_is_counted_told_once_and_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_station(tmp_path) as (station, parts), station.events.subscribe() as events:
        parts.encoder.poison = "grey"
        for _ in range(5):
            parts.sources["front"].show("grey")
            await caught_up(station, "front", parts)
        parts.sources["front"].show("green")
        await seen(station, "front", 2)
        count = station.meters.registry.get_sample_value("longwatch_camera_see_errors_total", {"camera": "front"})
        assert count == 5
        assert caplog.text.count("cannot encode grey") == 1
        answer = await (await station.desk.ask(Request("front", "what?", "http"))).answer()
        assert answer.text == "I saw red green."
    faults = [event async for event in events if event.data.get("type") == "fault"]
    assert [fault.data["message"] for fault in faults] == ["see: ValueError: cannot encode grey"]


async def test_a_source_that_raises_is_offline_and_tried_again(tmp_path: Path) -> None:
    clock = HandWoundClock()
    async with fake_station(tmp_path, clock=clock) as (station, parts), station.events.subscribe() as events:
        agent, source = station.cameras["front"], parts.sources["front"]
        source.fail(OSError("cannot open rtsp://u:canary@cam/1"))
        await until(lambda: agent.state.state == "offline")
        assert "canary" not in agent.state.reason
        clock.wind(1.0)
        await settle()
        source.show("green")
        await seen(station, "front", 2)
        assert agent.state.state == "online"
    states = [event.data["state"] async for event in events if event.kind == "camera_state"]
    assert states == ["offline", "online"]


async def test_a_reconnect_keeps_the_memory_and_time_never_runs_back(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, parts):
        source, memory = parts.sources["front"], parts.memories["front"]
        source.show("green", time_s=40.0)
        await seen(station, "front", 2)
        source.become("offline", "reset by peer", reconnects=1)
        source.become("online", reconnects=1)
        for time_s in (0.0, 0.5):  # a source that begins anew, against its promise
            source.show("blue", time_s)
        await seen(station, "front", 3)
        times = [time_s for time_s, _ in memory.seen]
        assert times == sorted(times)
        assert times[-1] > 40.0
        answer = await (await station.desk.ask(Request("front", "what?", "http"))).answer()
        assert answer.text == "I saw red green blue."


async def test_a_restart_forgets_nothing_and_goes_on_in_wall_time(tmp_path: Path) -> None:
    clock = HandWoundClock()
    async with fake_station(tmp_path, clock=clock, snapshots=True) as (station, parts):
        parts.sources["front"].show("green", time_s=8.0)
        clock.wind(8.0)
        await seen(station, "front", 2)
        epoch = station.cameras["front"].epoch
    clock.wind(100.0)
    async with fake_station(tmp_path, clock=clock, snapshots=True, show=None) as (station, parts):
        agent = station.cameras["front"]
        assert agent.age_s() == 100.0
        stale = await (await station.desk.ask(Request("front", "what?", "http"))).answer()
        assert stale.status == "stale"  # nothing new since the start, and it says so
        parts.sources["front"].show("blue", time_s=0.0)
        await seen(station, "front", 3)
        assert agent.epoch.wall_s == epoch.wall_s
        assert parts.memories["front"].seen == [(0.0, "red"), (8.0, "green"), (108.0, "blue")]
        answer = await (await station.desk.ask(Request("front", "what?", "http"))).answer()
        assert answer.text == "I saw red green blue."


async def test_snapshots_are_written_now_and_then(tmp_path: Path) -> None:
    clock = HandWoundClock()
    options = AgentOptions(fps=60.0, snapshot_every_s=60.0)
    async with fake_station(tmp_path, clock=clock, snapshots=True, options=options):
        path = tmp_path / "front.memory"
        assert not path.exists()
        clock.wind(60.0)
        await until(path.exists)
        assert json.loads(path.read_text())["frames"] == 1


async def test_a_damaged_snapshot_is_put_aside_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "front.memory").write_text("not a snapshot")
    async with fake_station(tmp_path, snapshots=True) as (station, _):
        assert "not a snapshot" in caplog.text
        assert (tmp_path / "front.memory.unread").read_text() == "not a snapshot"
        assert station.ready
    assert json.loads((tmp_path / "front.memory").read_text())["frames"] == 1


async def test_what_does_not_change_is_held_at_a_bounded_rate(tmp_path: Path) -> None:
    clock = HandWoundClock()
    gate = ChangeGate(refresh_s=1e6)
    async with fake_station(tmp_path, clock=clock, gate=gate) as (station, parts):
        agent, memory = station.cameras["front"], parts.memories["front"]
        for _ in range(50):
            parts.sources["front"].show("red")
        await until(lambda: the(agent.latest).index == 50)
        assert memory.held == []
        clock.wind(1.0)
        await until(lambda: memory.held)
        assert memory.held == [25.0]  # fifty refused frames, one word to the memory
        assert agent.age_s() == 1.0  # refused frames are fresh frames: they were looked at
        parts.sources["front"].show("red", time_s=30.0)
        parts.sources["front"].show("blue", time_s=31.0)
        await seen(station, "front", 2)
        assert memory.held == [25.0, 30.0]  # told before the change, not after it


async def test_a_tick_each_second_goes_to_the_hub_and_the_deque(tmp_path: Path) -> None:
    clock = HandWoundClock()
    async with fake_station(tmp_path, clock=clock) as (station, parts), station.events.subscribe() as events:
        agent = station.cameras["front"]
        await settle()
        for colour in ("green", "blue", "green"):
            parts.sources["front"].show(colour)
            await caught_up(station, "front", parts)
        clock.wind(1.0)
        await until(lambda: len(agent.ticks) == 1)
        tick = agent.ticks[0]
        assert (tick.frames_in, tick.frames_seen + tick.frames_dropped, tick.lag_s) == (4, 4, 1.0)
        assert (tick.tokens_in, tick.tokens_kept) == (4 * tick.frames_seen, 4 * tick.frames_seen)
        clock.wind(1.0)
        await until(lambda: len(agent.ticks) == 2)
        assert agent.ticks[1].frames_in == 0
    ticks = [event.data["frames_in"] async for event in events if event.kind == "tick"]
    assert ticks == [4, 0]


async def test_what_was_forgotten_or_not_seen_is_looked_at_anew(tmp_path: Path) -> None:
    """The gate stands for what memory holds: after forgetting, and after a failed look, it must not call it known."""
    async with fake_station(tmp_path, gate=ChangeGate(refresh_s=1e6)) as (station, parts):
        source, memory = parts.sources["front"], parts.memories["front"]
        source.show("red")
        await until(lambda: the(station.cameras["front"].latest).index == 1)
        assert memory.frames_seen == 1, "the control: what is known is not looked at twice"
        await station.cameras["front"].clear()
        source.show("red")
        await until(lambda: memory.seen and memory.seen[-1][1] == "red" and memory.frames_seen >= 1)
        parts.encoder.poison = "blue"
        source.show("blue")
        await until(
            lambda: (
                station.meters.registry.get_sample_value("longwatch_camera_see_errors_total", {"camera": "front"}) == 1
            )
        )
        parts.encoder.poison = None
        source.show("blue")
        await until(lambda: memory.seen[-1][1] == "blue")


async def test_clearing_forgets_and_waits_for_a_new_frame(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, parts):
        agent = station.cameras["front"]
        await agent.clear()
        assert (await agent.holdings()).blocks == ()
        assert len(agent.album) == 0
        ticket = await station.desk.ask(Request("front", "what?", "http"))
        parts.sources["front"].show("green")
        assert (await ticket.answer()).text == "I saw green."


async def test_pictures_of_what_was_seen_are_kept(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, parts):
        parts.sources["front"].show("green", time_s=9.0)
        await seen(station, "front", 2)
        await until(lambda: len(station.cameras["front"].album) == 2)
        assert picture_at(station.cameras["front"].album, 8.0)[1] == 9.0


async def test_leaving_ends_what_was_started(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with fake_station(tmp_path, ["front", "back"], snapshots=True) as (station, parts):
        names = {task.get_name() for task in asyncio.all_tasks() - before}
        assert {"watch[front]", "perceive[front]", "pulse[back]", "keep[back]"} <= names
    assert asyncio.all_tasks() == before
    assert parts.sources["front"].closed
    assert parts.sources["back"].closed
    assert "journal" not in {thread.name for thread in threading.enumerate()}
    assert station.device._thread is not None
    assert not station.device._thread.is_alive()


async def test_an_error_inside_the_block_comes_out_as_it_went_in(tmp_path: Path) -> None:
    station, _ = make_station(tmp_path)
    with pytest.raises(KeyError, match="mine"):
        async with station.running():
            raise KeyError("mine")


def test_a_rate_thins_by_media_time_without_drifting() -> None:
    rate = Rate(2.0)
    assert sum(rate.wants(i / 30) for i in range(300)) == 20
    rate = Rate(2.0)
    assert sum(rate.wants(i / 7) for i in range(70)) == 20  # 7 is no multiple of 2
    assert rate.wants(1e6)  # after a gap the next one is due at once, and only that one
    assert not rate.wants(1e6 + 0.1)


def test_times_only_rise_whatever_the_clocks_do() -> None:
    clock = HandWoundClock()
    timeline = Timeline(clock)
    timeline.restore(MediaEpoch(clock.wall_s() + 3600), newest_s=50.0)  # the wall clock was set back by hours
    placed = [timeline.place(frame(i, time_s)).time_s for i, time_s in enumerate((0.0, 0.5, 0.0, 0.5, 99.0))]
    assert placed == sorted(placed)
    assert placed[0] > 50.0


def test_a_fresh_camera_keeps_its_sources_times() -> None:
    clock = HandWoundClock()
    timeline = Timeline(clock)
    first = Frame(0, 5.0, clock.now_s() - 2.0, picture("red"))
    assert timeline.place(first) is first
    assert timeline.epoch.wall(5.0) == clock.wall_s() - 2.0  # when it arrived, not when we got to it
