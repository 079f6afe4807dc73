"""Questions about numbers, doors, loads, exits and named minutes: each answer found once more, from the script."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pytest

from stream.sources.simulated.balance import Balance
from stream.sources.simulated.history import Glance, History, Run, Sample, Track
from stream.sources.simulated.kinds import COLOURS, KINDS, SCENES
from stream.sources.simulated.quiz import KINDS_ASKED, MODES, Item, ask
from stream.sources.simulated.teacher import TEST_SEEDS, TRAIN_SEEDS, VALIDATION_SEEDS, draw_script
from stream.sources.simulated.truth import Seen, events, visible
from stream.sources.simulated.view import GONE_S, WATCHED_S
from stream.sources.simulated.wording import UNSEEN, WHEN
from stream.sources.simulated.world import Script
from tests.stream.simulated.tracks import answers, everything, history, track, unseen

WALL_S = 1_700_000_000.0
HISTORIES = 200


def script_of(seed: int) -> Script:
    return draw_script(np.random.default_rng(seed))


class Asked(NamedTuple):
    """A question, its script, and the media times of second 0 of its history and of its last look."""

    item: Item
    script: Script
    start: float
    now: float


def collect(kind: str, seeds: range, seconds: float = 100.0) -> list[Asked]:
    """Questions of one kind about many scripts."""
    found = []
    for seed in seeds:
        script, start = script_of(seed), float(seed * 13 % 500)
        h = History.from_script(script, start, start + seconds + seed % 20, ahead_s=6.0).moved(-start)
        items = ask(h, np.random.default_rng(seed), 6, (kind,), wall_s=WALL_S + seed)
        found += [Asked(item, script, start, start + h.now_s) for item in items]
    return found


def looks(script: Script, start: float, span: tuple[float, float]) -> list[list[Seen]]:
    """What was clearly there at each look of a history (2 per s) within [a, b)."""
    ts = np.arange(np.ceil(span[0] * 2) / 2, span[1] - 1e-9, 0.5)
    return [visible(script, start + float(t), least=0.6) for t in ts]


def named(item: Item) -> tuple[str, str | None]:
    return item.named[0]


def fits(item: Item, kind: str | None, colour: str | None) -> bool:
    """Whether a thing is what a question names, which may be of any colour."""
    return named(item) in {(kind, colour), (kind, None)}


def test_numbers_are_read_off_the_truck() -> None:
    for kind, seeds in (("number", range(160)), ("past_number", range(40))):
        right = 0
        for item, script, start, now in collect(kind, seeds):
            span = (now - start, now - start + 0.1) if kind == "number" else (0.0, now - start + 0.1)
            seen = {(s.colour, s.number) for look in looks(script, start, span) for s in look if s.kind == "truck"}
            wanted = {n for c, n in seen if named(item)[1] in {None, c}}
            assert wanted == (set() if item.answer == UNSEEN else {item.answer.replace(" ", "")}), item
            right += item.answer != UNSEEN
        assert right > 15, kind


def test_two_trucks_are_told_apart_by_colour() -> None:
    red = replace(track("truck", "red", (50, 60), (0.2, 0.2)), number="47")
    blue = replace(track("truck", "blue", (50, 60), (0.8, 0.8)), number="05")
    for text, answer in answers(history(red, blue), "number").items():
        assert answer == ("4 7" if "red" in text else "0 5")
        assert "red" in text or "blue" in text
    assert {"4 7"} == set(answers(history(red), "number").values())
    assert ("truck", "red") not in unseen(history(red), "number")
    half = replace(red, samples=tuple(s._replace(shown=0.5) for s in red.samples))
    assert everything(history(half), "number") == []


def test_door_and_light_are_as_the_script_has_them() -> None:
    said: Counter[tuple[str, str]] = Counter()
    for fixture in ("door", "light"):
        for item, script, _start, now in collect(fixture, range(40), 30.0):
            state = script.fixtures(now)
            assert (item.answer == "yes") == {str(k): v for k, v in state.items()}[fixture]
            said[fixture, item.answer] += 1
    assert min(said.values()) > 5
    assert len(said) == 4


def test_who_carries_what() -> None:
    said: Counter[str] = Counter()
    for item, script, _start, now in collect("carrying", range(250), 20.0):
        actors = script.actors(now)
        shown = {s.actor_id for s in visible(script, now) if fits(item, s.kind, s.colour)}
        person = next(a for a, _ in actors if a.id in shown)
        boxes = [b.colour for b, _ in actors if b.carrier(now) == person.id]
        assert item.answer == (f"{'an' if boxes[0] == 'orange' else 'a'} {boxes[0]} box" if boxes else "nothing")
        said[item.answer] += 1
    assert said["nothing"] > 3
    assert len(said) > 4


def test_where_things_will_leave_comes_true() -> None:
    said: Counter[str] = Counter()
    for item, script, _start, now in collect("leaving", range(120), 20.0):
        actor = next(s for s in visible(script, now) if s.kind == named(item)[0])
        left = [e for e in events(script, now, now + 6.01) if e.what == "leave" and e.actor_id == actor.actor_id]
        assert len(left) == 1
        last = [
            s.x
            for t in np.arange(now, left[0].time_s, 0.1)
            for s in visible(script, float(t))
            if s.actor_id == actor.actor_id
        ]
        assert item.answer == ("on the left" if last[-1] < 0.5 else "on the right")
        said[item.answer] += 1
    assert min(said["on the left"], said["on the right"]) > 6


def test_the_future_is_asked_about_only_where_it_was_told() -> None:
    for seed in range(30):
        h = History.from_script(script_of(seed), 50.0, 80.0)
        assert everything(h, "leaving", 3) == []


def test_who_put_a_box_down_left_it() -> None:
    right = 0
    for item, script, start, now in collect("who_left", range(120)):
        drops = [e for e in events(script, start, now) if e.what == "drop"]
        cast = {a.id: a for t in np.arange(start, now, 5.0) for a, _ in script.actors(float(t))}
        boxes = {s.colour for look in looks(script, start, (0, now - start)) for s in look if s.kind == "box"}
        if item.answer == UNSEEN:
            assert not any(fits(item, "box", colour) for colour in boxes)
            continue
        who = {f"the {e.colour} person" for e in drops if fits(item, "box", cast[e.other_id or -1].colour)}
        assert who == {item.answer}
        assert item.lag_s >= GONE_S
        right += 1
    assert right > 25


def test_the_last_one_changes_as_time_goes_on() -> None:
    cars = track("car", "red", (4, 10), (0.05, 0.95)), track("car", "blue", (20, 26), (0.05, 0.95))
    assert set(answers(history(*cars).until(18.0), "last_colour").values()) == {"red"}
    assert answers(history(*cars).until(28.0), "last_colour") == {}  # too fresh
    assert set(answers(history(*cars).until(40.0), "last_colour").values()) == {"blue"}
    close = track("car", "green", (21, 27), (0.95, 0.05))
    assert answers(history(*cars, close), "last_colour") == {}


def test_moments_are_when_things_left_and_doors_moved() -> None:
    said: Counter[str] = Counter()
    what = {
        ("door", True): "open",
        ("door", False): "close",
        ("light", True): "light_on",
        ("light", False): "light_off",
    }
    for item, script, start, now in collect("when", range(80)):
        past = events(script, start, now)
        thing, _ = named(item)
        if thing in {"door", "light"}:
            on = bool(re.search(r"open|\bon\b", item.text))
            times = [e.time_s - start for e in past if e.what == what[str(thing), on]]
        else:
            slivers = _slivers(script, start, now - start)
            times = [k / 2 for k, look in enumerate(slivers) if any(fits(item, *each) for each in look)]
        assert (item.answer == WHEN) == bool(times) == (item.time_s is not None)
        if item.time_s is not None:
            assert 0 <= item.time_s - times[-1] <= 0.5
            assert item.lag_s == pytest.approx(now - start - item.time_s)
            assert item.lag_s >= GONE_S
        said[str(thing)] += 1
    assert {"door", "light", "person", "car"} <= set(said)


def _slivers(script: Script, start: float, seconds: float) -> list[set[tuple[str, str]]]:
    ts = np.arange(0, seconds + 1e-9, 0.5)
    return [{(s.kind, s.colour) for s in visible(script, start + float(t), least=0.08)} for t in ts]


def test_a_door_that_changed_unseen_has_no_moment() -> None:
    def told(*glances: Glance) -> set[str]:
        h = History((Run(0.0, 60.0, 0.5, (), glances),))
        return {i.answer for i in everything(h, "when", 240) if i.named == (("door", None),) and "open" in i.text}

    assert told(Glance(0, False), Glance(20, True)) == {WHEN}
    assert told(Glance(0, False)) == {UNSEEN}
    assert told(Glance(0, False), Glance(20, None), Glance(30, True)) == set()
    assert told(Glance(0, False), Glance(20, True), Glance(25, False), Glance(57, True)) == set()  # too fresh


def test_a_named_minute_is_answered_by_what_it_held() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for kind in ("seen_at", "colour_at", "count_at", "where_at"):
        for item, script, start, now in collect(kind, range(36), 200.0):
            assert item.span is not None
            a, b = item.span
            clock = re.search(r"\d\d:\d\d", item.text)
            assert clock is not None
            assert b - a == 60
            assert now - start - b >= GONE_S - 1e-6
            seen = looks(script, start, (max(a, 0.0), b))
            assert len(seen) >= WATCHED_S * 2
            thing, _ = named(item)
            inside = {s.colour for look in seen for s in look if s.kind == thing}
            match kind:
                case "seen_at":
                    assert (item.answer == "yes") == any(fits(item, thing, c) for c in inside), item
                case "colour_at":
                    assert inside == (set() if item.answer == UNSEEN else {item.answer}), item
                case "count_at":
                    assert item.answer == ("zero", "one", "two", "three", "four")[len(inside)], item
                case "where_at":
                    left = [
                        e
                        for e in events(script, start + a - 0.5, start + b + 0.5)
                        if e.what == "leave" and fits(item, e.kind, e.colour)
                    ]
                    assert (item.answer != UNSEEN) == any(fits(item, thing, c) for c in inside), item
                    assert item.answer == UNSEEN or len(left) == 1, item
            counts[kind, item.answer] += 1
    assert len({kind for kind, _ in counts}) == 4
    assert min(n for (kind, _), n in counts.items() if kind in {"seen_at", "where_at"}) > 6


def test_minutes_are_named_by_utc() -> None:
    h = history(track("car", "red", (70, 80), (0.05, 0.95)), end_s=200.0)
    start = datetime(2024, 5, 6, 14, 4, 0, tzinfo=UTC).timestamp()
    found = [i for k in range(40) for i in ask(h, np.random.default_rng(k), 4, ("seen_at",), wall_s=start)]
    for item in found:
        minute = int(item.text.split(":")[1][:2])
        assert item.span == ((minute - 4) * 60.0, (minute - 3) * 60.0)
        assert item.answer == ("yes" if re.search(r"(red|a) car", item.text) and minute == 5 else "no")
    assert {i.answer for i in found} == {"yes", "no"}
    assert any("red car" in i.text and i.answer == "no" for i in found)  # there, but at another time


def test_too_little_watched_and_not_yet_over_is_not_asked_about() -> None:
    def clocks(h: History) -> set[str]:
        asked = [i for k in range(20) for i in ask(h, np.random.default_rng(k), 6, ("seen_at", "count_at"), wall_s=0.0)]
        return {re.findall(r"\d\d:\d\d", i.text)[0] for i in asked}

    assert clocks(history(end_s=64.0)) == set()
    assert clocks(history(end_s=67.0)) == {"00:00"}
    assert clocks(history(end_s=75.0).moved(45.0)) == set()  # 15 s of the first minute were watched, the second runs
    gap = History.concat([history(end_s=70.0), history(end_s=10.0)], gap_s=130.0)
    assert clocks(gap) == {"00:00"}  # nobody looked from 70 to 200


def test_nothing_that_comes_later_changes_a_question() -> None:
    for seed in range(25):
        script = script_of(seed)
        long = History.from_script(script, 20.0, 180.0)
        short = History.from_script(script, 20.0, 140.0)
        for kind in KINDS_ASKED:
            rngs = (np.random.default_rng(seed) for _ in range(2))
            asked = [
                ask(h, r, 4, (kind,), wall_s=WALL_S) for h, r in zip((long.until(140.0), short), rngs, strict=True)
            ]
            assert asked[0] == asked[1]


def test_any_history_can_be_asked_about() -> None:
    balance, kinds = Balance(), Counter[str]()
    for seed in range(HISTORIES):
        rng = np.random.default_rng(seed)
        parts = []
        for _ in range(int(rng.integers(1, 4))):
            start = float(rng.uniform(0, 500))
            parts.append(
                History.from_script(draw_script(rng), start, start + float(rng.uniform(0, 70)), 1.0, ahead_s=6.0)
            )
        h = History.concat(parts, gap_s=float(rng.uniform(0.5, 30.0)))
        items = ask(h, np.random.default_rng(seed), 20, balance=balance, wall_s=WALL_S)
        assert all(i.mode == MODES[i.kind] for i in items)
        assert all(h.start_s - 60 <= i.evidence_span[0] <= i.evidence_span[1] <= h.now_s for i in items)
        assert all(name in {*KINDS, "door", "light"} for i in items for name, _ in i.named)
        assert all(c is None or c in COLOURS for i in items for _, c in i.named)
        kinds.update(i.kind for i in items)
    assert set(kinds) == set(KINDS_ASKED)


def test_a_truck_half_hidden_tells_no_number_later_either() -> None:
    samples = tuple(Sample(t / 2, 0.5, 0.5, 0.1, 0.7) for t in range(20))
    hidden = Track("truck", "red", samples, number="12")
    assert answers(history(hidden), "past_number") == {}
    assert ("truck", "red") not in unseen(history(hidden), "past_number")


def test_seeds_to_learn_choose_and_report_by_do_not_overlap() -> None:
    assert TRAIN_SEEDS.stop <= VALIDATION_SEEDS.start < VALIDATION_SEEDS.stop <= TEST_SEEDS.start
    drawn = [script_of(seed) for seed in range(400)]
    assert {s.scene for s in drawn} == set(SCENES)
    assert {s.style for s in drawn} == {"plain", "soft"}
    assert 0.1 < sum(s.rain for s in drawn) / 400 < 0.3
    assert 0.15 < sum(s.pan > 0 for s in drawn) / 400 < 0.35
