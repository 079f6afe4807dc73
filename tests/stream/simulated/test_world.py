"""The script: repeatable, reachable anywhere at one price, never overcrowded, and eventful."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from stream.sources.simulated import world
from stream.sources.simulated.kinds import CAST, SCENES
from stream.sources.simulated.truth import events, visible
from stream.sources.simulated.world import CHAPTER_S, CROWD, Script

MINUTES_20 = 1200.0


def test_equal_scripts_tell_equal_stories_and_others_do_not() -> None:
    for scene in SCENES:
        assert events(Script(5, scene), 0, 300) == events(Script(5, scene), 0, 300) != []
    assert events(Script(5, "yard"), 0, 300) != events(Script(6, "yard"), 0, 300)
    assert events(Script(5, "yard"), 0, 300) != events(Script(5, "hall"), 0, 300)


def test_a_moment_does_not_depend_on_what_was_looked_at_before() -> None:
    script = Script(11, "street")
    forwards = [visible(script, k * 0.5) for k in range(400)]
    world.chapter.cache_clear()
    backwards = [visible(script, k * 0.5) for k in reversed(range(400))]
    assert forwards == backwards[::-1]


def test_hour_24_takes_as_many_chapters_as_the_first_minutes() -> None:
    def drafted(t: float) -> int:
        world.chapter.cache_clear()
        visible(Script(3, "yard"), t)
        return world.chapter.cache_info().misses

    early = [drafted(t) for t in (200.0, 200.0 + CHAPTER_S)]
    late = [drafted(86_400 + t) for t in (200.0, 200.0 + CHAPTER_S)]
    assert late == early
    assert max(early) <= 5
    assert events(Script(3, "yard"), 86_400, 86_400 + 600)


def test_nobody_is_alone_for_ever_and_never_more_than_four_are_present() -> None:
    present = Counter(len(Script(seed, "yard").actors(k * 0.5)) for seed in range(6) for k in range(1200))
    assert set(present) == set(range(CROWD + 1))
    assert present[0] > 0.15 * sum(present.values())  # truly empty stretches


def test_no_two_of_one_kind_and_colour_are_there_at_once() -> None:
    for seed in range(6):
        for k in range(600):
            there = [(a.kind, a.colour) for a, _ in Script(seed, "hall").actors(k * 1.0)]
            assert len(set(there)) == len(there)


def test_everything_that_can_happen_happens() -> None:
    what: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    back = 0
    for seed in range(4):
        found = events(Script(seed, "street"), 0, MINUTES_20)
        assert [e.time_s for e in found] == sorted(e.time_s for e in found)
        what.update(e.what for e in found)
        kinds.update(e.kind for e in found if e.kind and e.what == "enter")
        casts = [a for i in range(int(MINUTES_20 // CHAPTER_S)) for a in world.chapter(seed, "street", i)]
        back += sum((a.path[0].x < 0.5) == (a.path[-1].x < 0.5) for a in casts)
    assert set(what) == {"enter", "leave", "stop", "start", "pick_up", "drop", "light_on", "light_off"}
    assert set(kinds) == {*CAST["street"], "box"}
    assert back > 10  # some turn round


def test_who_enters_leaves_again_later() -> None:
    found = events(Script(2, "yard"), 0, MINUTES_20)
    enter = {e.actor_id: e.time_s for e in found if e.what == "enter"}
    leave = {e.actor_id: e.time_s for e in found if e.what == "leave"}
    assert len(enter) > 20
    assert all(leave[i] > t for i, t in enter.items() if i in leave)
    assert all(i in leave for i, t in enter.items() if t < MINUTES_20 - 2 * CHAPTER_S)


def test_stretches_of_events_join_without_gap_or_overlap() -> None:
    script = Script(9, "hall")
    cuts = [0, 63.9, 64.0, 130.5, 400.0]
    joined = [e for a, b in pairwise(cuts) for e in events(script, a, b)]
    assert joined == events(script, 0, 400.0)


def test_a_box_moves_with_its_carrier_and_lies_where_it_was_dropped() -> None:
    carried = dropped = 0
    for seed in range(8):
        script = Script(seed, "yard")
        for e in events(script, 0, 600):
            if e.what == "drop":
                dropped += 1
                after = {s.actor_id: s for s in visible(script, e.time_s + 0.05, least=0)}
                assert e.other_id is not None
                assert after[e.other_id].carried_by is None
                assert not after[e.other_id].moving
        for k in range(600):
            seen = {s.actor_id: s for s in visible(script, float(k), least=0.7)}
            for box in (s for s in seen.values() if s.carried_by in seen):
                carrier = seen[box.carried_by or 0]
                carried += 1
                assert (carrier.kind, box.kind) == ("person", "box")
                assert abs(box.x - carrier.x) < 0.12
    assert carried > 20
    assert dropped > 5


def test_day_and_night_turn_smoothly() -> None:
    assert Script(1, "yard", day=True).nightness(5) == 0
    assert Script(1, "yard", day=False).nightness(5) == 1
    turning = [Script(1, "yard", day_length_s=200).nightness(float(t)) for t in range(400)]
    assert min(turning) == 0
    assert max(turning) == 1
    assert max(abs(b - a) for a, b in pairwise(turning)) < 0.05


@pytest.mark.parametrize(
    ("change", "word"), [({"scene": "moon"}, "moon"), ({"seed": -1}, "seed"), ({"day_length_s": 0}, "day")]
)
def test_what_is_no_script_is_refused_with_a_sentence(change: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Script(**({"seed": 1, "scene": "yard"} | change))  # type: ignore[arg-type]
