"""What is painted besides the figures: numbers, doors, lamps, the clock, rain, styles and a camera that turns."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.sources.simulated.figures import Figure
from stream.sources.simulated.fittings import VARIANTS, clock_box, fixture_box
from stream.sources.simulated.kinds import CAST, COLOURS, FIXTURES, ROOFED, SCENES, STYLES, Fixture, Scene
from stream.sources.simulated.labelling import LABELS, labels
from stream.sources.simulated.paint import CLEAN, paint
from stream.sources.simulated.sprites import digit_boxes, sprite
from stream.sources.simulated.world import Actor, Script

GRID, SIZE = (15, 15), (320, 240)
STATE, DIGIT = LABELS.index("state"), LABELS.index("digit1")
Picture = NDArray[np.int64]


class Renumbered(Script):
    """The same story, but every truck has other digits."""

    __slots__ = ()

    def cast(self, index: int) -> tuple[Actor, ...]:
        old = super().cast(index)
        return tuple(replace(a, number="".join(str((int(d) + 5) % 10) for d in a.number)) for a in old)


def clean(script: Script, t: float) -> Picture:
    return paint(script, t, SIZE, CLEAN).astype(np.int64)


def changed(a: Picture, b: Picture, least: int = 60) -> NDArray[np.bool_]:
    """(rows, columns): cells of GRID in which some pixel differs by more than `least` grey levels."""
    differs = np.abs(a - b).max(axis=2) > least
    rows, columns = GRID
    edges = np.arange(rows + 1) * SIZE[1] // rows, np.arange(columns + 1) * SIZE[0] // columns
    down = np.add.reduceat(differs, edges[0][:-1], axis=0)
    counts: NDArray[np.bool_] = np.add.reduceat(down, edges[1][:-1], axis=1) > 0
    return counts


def part(picture: Picture, box: tuple[float, float, float, float]) -> Picture:
    x0, y0, x1, y1 = box
    return picture[int(y0 * SIZE[1]) : int(y1 * SIZE[1]), int(x0 * SIZE[0]) : int(x1 * SIZE[0])]


def switches(scene: Scene, fixture: Fixture, day: bool = True, seeds: int = 6) -> list[tuple[Script, float]]:
    """Moments just before a fixture switches while nobody and nothing else moves."""
    found = []
    for seed in range(seeds):
        script = Script(seed, scene, day)
        for t in np.arange(1.0, 600.0, 0.5):
            a, b = script.fixtures(t), script.fixtures(t + 0.5)
            others = {f: on for f, on in a.items() if f != fixture} == {f: on for f, on in b.items() if f != fixture}
            if a[fixture] != b[fixture] and others and not script.actors(t) and not script.actors(t + 0.5):
                found.append((script, float(t)))
                break
    return found


def test_a_number_is_where_its_labels_say_and_nowhere_else() -> None:
    named = shown = 0
    for seed in range(6):
        for t in range(0, 200, 3):
            script = Script(seed, "street")
            truth, _ = labels(script, t, GRID)
            other, _ = labels(Renumbered(seed, "street"), t, GRID)
            if not truth[..., DIGIT:].any():
                continue
            moved = changed(clean(script, t), clean(Renumbered(seed, "street"), t))
            assert not moved[(truth[..., DIGIT:] == 0).all(axis=2)].any()
            clear = truth[..., DIGIT:] > 0
            shown += int(moved[clear.any(axis=2)].sum())
            assert (other[..., DIGIT:][clear] - 1 == (truth[..., DIGIT:][clear] - 1 + 5) % 10).all()
            named += int(clear.any(axis=2).sum())
    assert named > 120
    assert shown > 0.9 * named


def test_digits_read_from_left_to_right_on_either_side_and_stand_out() -> None:
    for colour in COLOURS:
        for facing in (1, -1):
            for place, (a, b) in enumerate((("17", "47"), ("71", "74"))):
                one, two = (sprite(Figure("truck", colour, facing=facing, number=n), (132, 78)) for n in (a, b))
                left, top = (s // 2 for s in (one.solid.shape[1] - 132, one.solid.shape[0] - 78))
                rows, columns = np.nonzero(np.abs(one.ink.astype(int) - two.ink.astype(int)).max(axis=2) > 60)
                x0, y0, x1, y1 = digit_boxes(facing)[place]
                assert x0 <= columns.min() - left < columns.max() - left <= x1
                assert y0 <= rows.min() - top < rows.max() - top <= y1
                assert rows.max() - rows.min() >= 28
        body = sprite(Figure("truck", colour), (132, 78)).ink.astype(int)
        ink = sprite(Figure("truck", colour, number="88"), (132, 78)).ink.astype(int)
        assert np.abs(ink - body).mean(axis=2).max() > 85


@pytest.mark.parametrize("day", [True, False])
@pytest.mark.parametrize("scene", [s for s in SCENES if "door" in FIXTURES[s]])
def test_a_door_that_opens_changes_its_own_cells_alone(scene: Scene, day: bool) -> None:
    found = switches(scene, "door", day)
    assert len(found) > 2
    for script, t in found:
        moved = changed(clean(script, t), clean(script, t + 0.5), least=12)
        before, after = (labels(script, u, GRID)[0][..., STATE] for u in (t, t + 0.5))
        door = (before == 1) | (before == 2)
        assert moved[door].mean() > 0.75
        assert not moved[before == 0].any()
        assert ((before == 1) == (after == 2)).all()
        assert ((before == 2) == (after == 1)).all()
        opened, closed = (t, t + 0.5) if script.fixtures(t)["door"] else (t + 0.5, t)
        box = fixture_box(scene, script.seed, "door")
        assert part(clean(script, opened), box).mean() < 0.75 * part(clean(script, closed), box).mean()
        assert box[2] - box[0] > 0.115
        assert box[3] - box[1] > 0.3


@pytest.mark.parametrize("scene", SCENES)
def test_a_light_shows_and_lights_its_surroundings(scene: Scene) -> None:
    for day in (True, False):
        found = switches(scene, "light", day)
        assert len(found) > 2
        for script, t in found:
            lit, dark = (t, t + 0.5) if script.fixtures(t)["light"] else (t + 0.5, t)
            a, b = clean(script, lit), clean(script, dark)
            box = fixture_box(scene, script.seed, "light")
            assert part(a, box).mean() > part(b, box).mean() + 12
            assert a.mean() > (1.0 if day else 1.15) * b.mean()
            assert day is False or scene not in ROOFED or a.mean() > 1.05 * b.mean()
            for u, state in ((lit, 4), (dark, 3)):
                cells = labels(script, u, GRID)[0][..., STATE]
                assert (cells == state).any()
                assert not (cells == 7 - state).any()


def test_fixtures_and_the_clock_hang_apart_and_inside() -> None:
    for scene in SCENES:
        for variant in range(VARIANTS):
            boxes = [fixture_box(scene, variant, f) for f in FIXTURES[scene]]
            boxes += [box for box in (clock_box(scene),) if box]
            for box in boxes:
                assert 0 <= box[0] < box[2] <= 1
                assert 0 <= box[1] < box[3] <= 1
            for a, b in combinations(boxes, 2):
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (scene, variant, a, b)
        for fixture in {"door", "light"} - set(FIXTURES[scene]):
            with pytest.raises(ValueError, match=fixture):
                fixture_box(scene, 0, fixture)  # type: ignore[arg-type]


def test_whoever_stands_before_a_door_makes_it_unclear() -> None:
    hidden = 0
    for seed in range(4):
        script = Script(seed, "hall")
        for t in range(0, 300, 2):
            found, share = labels(script, t, GRID)
            empty, _ = labels(Script(seed, "hall"), -1.0, GRID)
            door = (empty[..., STATE] == 1) | (empty[..., STATE] == 2)
            state = 1 + script.fixtures(t)["door"]
            assert set(np.unique(found[..., STATE][door])) <= {-1, state}
            assert (found[..., STATE][door & (share == 0)] == state).all()
            hidden += int((found[..., STATE][door & (share > 0.5)] == -1).sum())
            assert not (found[..., STATE][door & (share > 0.5)] == state).any()
    assert hidden > 20


@pytest.mark.parametrize("scene", sorted(ROOFED))
def test_the_clock_shows_the_minute_and_changes_with_it(scene: Scene) -> None:
    noon = Script(2, scene, wall_s=12 * 3600.0)
    box = clock_box(scene)
    assert box
    at = next(float(t) for t in range(60, 3000, 60) if not any(p.y < 0.7 for _, p in noon.actors(t)))
    a, b = clean(noon, at), clean(Script(2, scene, wall_s=13 * 3600.0), at)
    rows, columns = np.nonzero(np.abs(a - b).max(axis=2) > 0)
    assert box[0] * 320 - 1 <= columns.min() < columns.max() <= box[2] * 320 + 1
    assert box[1] * 240 - 1 <= rows.min() < rows.max() <= box[3] * 240 + 1
    assert np.array_equal(part(a, box), part(clean(Script(2, scene, wall_s=12 * 3600.0 + 86400), at), box))
    hour = [part(clean(Script(2, scene, wall_s=60.0 * k), 0.0), box) for k in range(60)]
    assert all((x != y).any() for x, y in pairwise(hour))


@pytest.mark.parametrize("scene", SCENES)
def test_a_turning_camera_moves_picture_and_labels_alike(scene: Scene) -> None:
    checked = 0
    for t in np.arange(0.0, 400.0, 2.5):
        script, still = Script(5, scene, pan=0.1), Script(5, scene)
        shift = round(script.view_x(t) * SIZE[0])
        if script.actors(t) or still.actors(t) or shift < 16:
            continue
        checked += 1
        assert np.array_equal(clean(script, t)[:, : SIZE[0] - shift], clean(still, t)[:, shift:])
        turned, straight = (labels(s, t, (60, 60))[0][..., STATE] for s in (script, still))
        columns = [np.nonzero((x > 2).any(axis=0))[0].mean() for x in (turned, straight)]
        assert columns[1] - columns[0] == pytest.approx(script.view_x(t) * 60, abs=1.0)
    assert checked > 0


def test_figures_move_with_the_place_and_so_do_their_labels() -> None:
    checked = 0
    for t in np.arange(0.0, 300.0, 1.5):
        script = Script(3, "yard", pan=0.1)
        own, share = labels(script, t, (60, 60))
        if abs(script.view_x(t)) < 0.04 or len(script.actors(t)) != 1 or share.sum() < 20:
            continue
        (_, pose) = script.actors(t)[0]
        columns = np.nonzero(share > 0.5)[1] / 60
        if columns.min() > 0.02 and columns.max() < 0.96:
            checked += 1
            assert columns.mean() == pytest.approx(pose.x - script.view_x(t), abs=0.05)
            assert (own[..., 0] > 0).any()
    assert checked > 5


def test_styles_change_the_place_and_the_figures() -> None:
    for scene in SCENES:
        pictures = [clean(Script(1, scene, style=style), -1.0) for style in STYLES]
        for a, b in combinations(pictures, 2):
            assert np.abs(a - b).mean() > 1.5
    for kind in {k for cast in CAST.values() for k in cast}:
        inks = [sprite(Figure(kind, "blue", style=style), (120, 90)).ink.astype(int) for style in STYLES]
        for a, b in combinations(inks, 2):
            assert np.abs(a - b).mean() > 0.4
    spread = [clean(Script(1, "room", style=style), -1.0) for style in ("plain", "soft")]
    plain, soft = (np.ptp(p, axis=2).mean() for p in spread)
    assert soft < 0.9 * plain


def test_rain_veils_the_open_and_spares_what_has_a_roof() -> None:
    for scene in SCENES:
        wet, dry = Script(4, scene, rain=True), Script(4, scene)
        t = max(range(300), key=wet.rain_at)
        a, again, b = clean(wet, t), clean(wet, t), clean(dry, t)
        assert np.array_equal(a, again)
        if scene in ROOFED:
            assert np.array_equal(a, b)
            continue
        assert wet.rain_at(t) > 0.9
        assert np.abs(a - b).mean() > 8
        assert a.std() < 0.9 * b.std()
        lull = next(t for t in range(600) if wet.rain_at(t) == 0)
        assert np.array_equal(clean(wet, lull), clean(dry, lull))


def test_night_is_darker_than_day_whatever_burns() -> None:
    for scene in SCENES:
        for on in (True, False):
            t = next(t for t in range(2000) if Script(6, scene).fixtures(t)["light"] == on)
            day, night = (clean(Script(6, scene, day), t) for day in (True, False))
            assert night.mean() < (0.85 if on else 0.7) * day.mean()
