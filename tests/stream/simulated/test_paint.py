"""Pictures: repeatable, true to the script by day and night, and labelled cell by cell."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.sources.simulated.backdrop import LEVELS, MARGIN, backdrop, lights, side_px
from stream.sources.simulated.figures import Figure
from stream.sources.simulated.kinds import COLOURS, KINDS, RGB, SCENES, SIZES, Colour
from stream.sources.simulated.labelling import LABELS, labels
from stream.sources.simulated.paint import CLEAN, GOOD, Nuisance, draw_nuisance, paint
from stream.sources.simulated.sprites import sprite
from stream.sources.simulated.truth import Seen, visible
from stream.sources.simulated.world import Script

GRID, SIZE = (15, 15), (320, 240)


def bare(script: Script, t: float) -> NDArray[np.uint8]:
    """The place at that moment, without anyone in it."""
    now, side = script.fixtures(t), side_px(SIZE)
    fixed = now.get("door", False), now.get("light", False)
    level = round(script.nightness(t) * LEVELS)
    return backdrop(script.scene, script.seed, level, SIZE, fixed, script.style)[MARGIN:-MARGIN, side:-side]


def clear(script: Script, seconds: int = 300) -> list[tuple[float, Seen]]:
    """Moments at which something is wholly in view."""
    return [(t * 1.0, s) for t in range(seconds) for s in visible(script, t * 1.0) if s.shown_fraction > 0.99]


def patch(picture: NDArray[Any], seen: Seen) -> NDArray[np.float64]:
    """The middle of a thing's box, as a flat list of pixels."""
    h, w, _ = picture.shape
    x0, y0, x1, y1 = seen.box
    rows, columns = slice(int(y0 * h), int(y1 * h) + 1), slice(int(x0 * w), int(x1 * w) + 1)
    return picture[rows, columns].reshape(-1, 3).astype(float)


def hue(colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which channels stand out: the colour less its grey."""
    grey: NDArray[np.float64] = colour.mean(axis=-1, keepdims=True)
    return colour - grey


def test_a_picture_depends_on_script_and_time_alone() -> None:
    script = Script(4, "street", day=False)
    forwards = [paint(script, k * 0.7) for k in range(30)]
    backwards = [paint(script, k * 0.7) for k in reversed(range(30))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert any(not np.array_equal(a, b) for a, b in pairwise(forwards))


def test_pictures_have_the_asked_size_and_are_bytes() -> None:
    for size in ((320, 240), (120, 120), (641, 367)):
        picture = paint(Script(1, "hall"), 3.0, size)
        assert picture.shape == (size[1], size[0], 3)
        assert picture.dtype == np.uint8


@pytest.mark.parametrize("day", [True, False])
@pytest.mark.parametrize("scene", SCENES)
def test_truth_is_in_the_pixels(scene: str, day: bool) -> None:
    """Within its box a coloured thing shows its own hue, and more of it than the empty place does."""
    right = checked = 0
    for seed in range(4):
        script = Script(seed, scene, day)  # type: ignore[arg-type]
        for t, seen in clear(script)[::7]:
            if seen.kind not in {"car", "box", "ball"} or seen.colour in {"white", "black"}:
                continue
            own = hue(np.array(RGB[seen.colour], float))
            own /= np.linalg.norm(own)
            there = hue(patch(paint(script, t, nuisance=CLEAN), seen)) @ own
            empty = hue(patch(bare(script, t), seen)) @ own
            checked += 1
            right += bool(np.percentile(there, 75) > np.percentile(empty, 75) + 12)
    assert checked > 12
    assert right > 0.97 * checked


@pytest.mark.parametrize("day", [True, False])
def test_white_is_light_and_black_is_dark(day: bool) -> None:
    means: dict[str, list[float]] = {"white": [], "black": []}
    for seed in range(10):
        script = Script(seed, "hall", day)
        for t, seen in clear(script)[::5]:
            if seen.kind in {"car", "ball"} and seen.colour in means:
                on, side = script.fixtures(t)["light"], side_px(SIZE)
                light = lights("hall", seed, 0 if day else LEVELS, SIZE, on)[MARGIN:-MARGIN, side:-side]
                picture = paint(script, t, nuisance=CLEAN) / light
                means[seen.colour].append(256 * float(np.median(patch(picture, seen))))
    assert len(means["white"]) > 2
    assert len(means["black"]) > 2
    assert min(means["white"]) > max(means["black"]) + 30


def test_colours_stay_apart_under_the_night_sky() -> None:
    dim = np.array([0.36, 0.40, 0.54])  # far from the lamp
    lit = {c: np.array(RGB[c]) * dim for c in COLOURS}
    for a in COLOURS:
        assert all(np.linalg.norm(lit[a] - lit[b]) > 28 for b in COLOURS if b != a)


def test_labels_say_what_is_in_their_cells() -> None:
    script, checked = Script(8, "yard"), 0
    for t, seen in clear(script)[::3]:
        alone = len(visible(script, t, least=0)) == 1
        found, share = labels(script, t, GRID)
        assert ((found[..., 0] == 0) == (share == 0)).all()
        if not alone:
            continue
        checked += 1
        own = (found[..., 0] == KINDS.index(seen.kind) + 1) & (found[..., 1] == COLOURS.index(seen.colour) + 1)
        assert (own == (share > 0)).all()
        rows, columns = np.nonzero(own)
        x0, y0, x1, y1 = (v * 15 for v in seen.box)
        assert columns.min() >= int(x0) - 1 and columns.max() <= int(x1) + 1
        assert rows.min() >= int(y0) - 1 and rows.max() <= int(y1) + 1
        # The silhouette fills a fair part of the box: 0.2 for a bicycle's lines, 1 for a box.
        assert 0.15 < share.sum() / ((x1 - x0) * (y1 - y0)) < 1.25
    assert checked > 10


def test_nearer_things_hide_farther_ones_in_labels() -> None:
    checked = 0
    for seed in range(12):
        script = Script(seed, "street")
        for t in range(0, 300, 2):
            hidden = [s for s in visible(script, float(t), least=0) if s.shown_fraction < 0.3 and 0.2 < s.x < 0.8]
            for seen in hidden:
                found, share = labels(script, float(t), GRID)
                cells = (found[..., 0] == KINDS.index(seen.kind) + 1) & (
                    found[..., 1] == COLOURS.index(seen.colour) + 1
                )
                box = (seen.box[2] - seen.box[0]) * (seen.box[3] - seen.box[1]) * 225
                checked += 1
                assert share[cells].sum() < 0.6 * box
    assert checked > 3


def test_an_empty_place_has_no_labels() -> None:
    found, share = labels(Script(1, "yard"), -1.0, (5, 7))
    assert found.shape == (5, 7, len(LABELS))
    assert not found[..., [0, 1, 3, 4]].any()
    assert not share.any()


def test_silhouettes_differ_from_kind_to_kind() -> None:
    size = (60, 60)
    shapes = {k: sprite(Figure(k, "red"), size).solid for k in KINDS}
    for a in KINDS:
        for b in KINDS:
            both, either = (shapes[a] & shapes[b]).sum(), (shapes[a] | shapes[b]).sum()
            assert (both / either < 0.88) == (a != b), (a, b)


def test_figures_face_the_way_they_go_and_move_their_legs() -> None:
    size = (104, 72)
    right, left = sprite(Figure("dog", "blue"), size).solid, sprite(Figure("dog", "blue", facing=-1), size).solid
    assert np.array_equal(right[:, ::-1], left)
    assert not np.array_equal(right, left)
    steps = {sprite(Figure("dog", "blue", phase=k), size).solid.tobytes() for k in range(4)}
    assert len(steps) >= 2


def test_noise_neither_wraps_nor_shifts_the_picture() -> None:
    loud = Nuisance(noise=3.0, night_noise=3.0)
    for scene in SCENES:
        script = Script(3, scene, day=False, rain=True)
        for t in range(5, 200, 9):
            clean = paint(script, t, nuisance=CLEAN).astype(int)
            noisy = paint(script, t, nuisance=loud).astype(int)
            assert np.abs(noisy - clean).max() <= 9
            assert 4 < (noisy - clean).std() < 7
            assert abs((noisy - clean).mean()) < 0.1


def test_every_nuisance_changes_the_picture_and_repeats() -> None:
    script = Script(3, "yard")
    clean = paint(script, 7.0, nuisance=CLEAN)
    quiet = {"noise": 0.0, "night_noise": 0.0}
    for one in ({"gain": 0.8}, {"contrast": 0.8}, {"blur": True}, {"jpeg_quality": 40}, {"shake_px": 3, "salt": 5}):
        camera = Nuisance(**(quiet | one))
        changed = paint(script, 7.0, nuisance=camera)
        assert changed.shape == clean.shape
        assert not np.array_equal(changed, clean), one
        assert np.array_equal(changed, paint(script, 7.0, nuisance=camera))
    cameras = {draw_nuisance(np.random.default_rng(k)) for k in range(20)}
    assert len(cameras) > 15
    assert GOOD not in cameras


def test_sizes_are_large_enough_for_a_small_picture() -> None:
    assert all(w * 120 >= 11 and h * 120 >= 15 for w, h in SIZES.values())


def test_each_colour_has_a_name_of_its_own() -> None:
    def near(colour: Colour) -> float:
        own = np.array(RGB[colour], float)
        return min(float(np.linalg.norm(own - RGB[c])) for c in COLOURS if c != colour)

    assert min(map(near, COLOURS)) > 75
