"""Five scenes with their casts, doors, lights, weather and a camera that turns."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest

from stream.sources.simulated import world
from stream.sources.simulated.fittings import fixture_box
from stream.sources.simulated.fixtures import LEAST_S, switches
from stream.sources.simulated.kinds import CAST, FIXTURES, SCENES
from stream.sources.simulated.truth import events, fixtures_seen, visible
from stream.sources.simulated.world import CHAPTER_S, Actor, Script

HOUR_S = 3600.0


def cast_of(script: Script, chapters: int = 40) -> list[Actor]:
    return [a for i in range(chapters) for a in world.chapter(script.seed, script.scene, i, script.pan)]


def test_each_scene_has_its_own_cast_and_boxes_where_there_are_people() -> None:
    for scene in SCENES:
        kinds = Counter(a.kind for a in cast_of(Script(1, scene)))
        carried = {"box"} if "person" in CAST[scene] else set()
        assert set(kinds) == {*CAST[scene], *carried}


def test_trucks_have_numbers_that_tell_them_apart() -> None:
    numbers: Counter[str] = Counter()
    for seed in range(12):
        cast = cast_of(Script(seed, "street"))
        trucks = [a for a in cast if a.kind == "truck"]
        assert all(a.number == "" for a in cast if a.kind != "truck")
        assert all(len(a.number) == 2 and 7 <= int(a.number) <= 98 for a in trucks)
        numbers.update(a.number for a in trucks)
        for a, b in combinations(trucks, 2):
            assert a.number != b.number or a.end_s < b.start_s or b.end_s < a.start_s
    assert len(numbers) > 60


def test_people_meet_stand_together_and_part() -> None:
    meetings = 0
    for seed in range(6):
        people = [a for a in cast_of(Script(seed, "room")) if a.kind == "person" and not a.loads and len(a.path) == 4]
        for a, b in combinations(people, 2):
            if a.path[1].t == b.path[1].t:
                meetings += 1
                assert a.path[2].t == b.path[2].t >= a.path[1].t + 4
                assert 0.1 < abs(a.path[1].x - b.path[1].x) < 0.16
                assert (a.path[0].x < 0.5) != (b.path[0].x < 0.5)
    assert meetings > 5


@pytest.mark.parametrize("scene", SCENES)
def test_doors_and_lights_switch_now_and_then_and_stay_for_a_while(scene: str) -> None:
    script = Script(4, scene)  # type: ignore[arg-type]
    turned = [s for i in range(int(HOUR_S // CHAPTER_S)) for s in switches(4, script.scene, i, CHAPTER_S)]
    assert {s.fixture for s in turned} == set(FIXTURES[script.scene]) == set(script.fixtures(0.0))
    for fixture in FIXTURES[script.scene]:
        mine = [s for s in turned if s.fixture == fixture]
        assert 25 < HOUR_S / len(mine) < 60
        assert all(b.t - a.t >= LEAST_S for a, b in pairwise(mine))
        assert all(a.on != b.on for a, b in pairwise(mine))
        for s in mine:
            assert script.fixtures(s.t - 0.01)[fixture] != s.on
            assert script.fixtures(s.t + 0.01)[fixture] == s.on
    named = [e for e in events(script, 0, HOUR_S) if e.kind is None]
    assert {e.what for e in named} == {
        what
        for f in FIXTURES[script.scene]
        for what in {"door": ("open", "close"), "light": ("light_on", "light_off")}[f]
    }


def test_a_fixture_is_the_same_whether_looked_at_forwards_or_at_once() -> None:
    script = Script(9, "hall")
    walked = [script.fixtures(float(t)) for t in range(3000)]
    assert Script(9, "hall").fixtures(2718.0) == walked[2718]
    assert len({tuple(sorted(state.items())) for state in walked}) == 4


def test_a_turning_camera_moves_everything_alike_and_slowly() -> None:
    script = Script(3, "yard", pan=0.1)
    views = [script.view_x(t * 0.5) for t in range(1000)]
    assert max(views) > 0.09
    assert min(views) < -0.09
    assert max(abs(b - a) for a, b in pairwise(views)) < 0.005  # never as fast as anyone walks
    seen = 0
    for k in range(800):
        poses = {a.id: (a, pose) for a, pose in script.actors(k * 0.5)}
        for s in visible(script, k * 0.5, least=0.99):
            seen += 1
            assert s.x == pytest.approx(poses[s.actor_id][1].x - views[k], abs=0.002)
    assert seen > 100
    assert all(view == 0 for view in map(Script(3, "yard").view_x, range(50)))


def test_whoever_enters_or_leaves_a_turning_picture_passes_its_edge() -> None:
    script, checked = Script(8, "street", pan=0.1), 0
    cast = {a.id: a for a in cast_of(script)}
    for e in events(script, 0, 1500):
        if e.what in {"enter", "leave"}:
            x = cast[e.actor_id].at(e.time_s).x - script.view_x(e.time_s)
            assert min(abs(x), abs(x - 1)) < 1e-6
            checked += 1
    assert checked > 60
    for actor in cast.values():  # and nobody appears from nowhere
        for t in (actor.start_s, actor.end_s):
            assert actor.id not in {s.actor_id for s in visible(script, t, least=0)}


def test_rain_comes_and_goes_smoothly() -> None:
    script = Script(2, "yard", rain=True)
    rain = [script.rain_at(t * 0.5) for t in range(2000)]
    assert min(rain) == 0
    assert max(rain) == 1
    assert max(abs(b - a) for a, b in pairwise(rain)) < 0.05
    assert Script(2, "yard").rain_at(100.0) == 0


@pytest.mark.parametrize(
    ("change", "word"), [({"style": "oil"}, "comic"), ({"pan": 0.3}, "pan"), ({"pan": -0.1}, "pan")]
)
def test_what_cannot_be_drawn_is_refused_with_a_sentence(change: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Script(1, "yard", **change)  # type: ignore[arg-type]


def test_a_door_behind_something_is_neither_open_nor_closed() -> None:
    told: Counter[bool] = Counter()
    for seed in range(30):
        script = Script(seed, "yard", pan=0.1 * (seed % 2))
        x0, y0, x1, y1 = fixture_box("yard", seed, "door")
        for t in np.arange(0, 600, 2.0):
            look = visible(script, t, least=0)
            state = fixtures_seen(script, t, look)["door"]
            assert state in {None, script.fixtures(t)["door"]}
            x, y = np.meshgrid(np.linspace(x0, x1, 50) - script.view_x(t), np.linspace(y0, y1, 50))
            free = (x > 0) & (x < 1)
            for a, b, c, d in (s.box for s in look if s.kind != "bicycle"):  # one sees through
                free &= ~((a < x) & (x < c) & (b < y) & (y < d))
            if abs(free.mean() - 0.6) > 0.08:
                assert (state is not None) == bool(free.mean() > 0.6)
                told[state is not None] += 1
    assert told[False] > 5
    assert told[True] > 5000
