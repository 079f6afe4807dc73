"""Labels, truth and picture are of one moment, and painting keeps a bounded number of things."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest
from numpy.typing import NDArray

import stream.sources.simulated
from stream.sources.simulated.fittings import CLOCK_SIZE, clock_face
from stream.sources.simulated.kinds import COLOURS, KINDS, SCENES, Scene
from stream.sources.simulated.labelling import labels
from stream.sources.simulated.paint import CLEAN, paint
from stream.sources.simulated.teacher import PictureTeacher
from stream.sources.simulated.truth import visible
from stream.sources.simulated.world import Script

GRID, SIZE = (60, 80), (320, 240)


class Straight(Script):
    """The same story, but the camera does not turn."""

    __slots__ = ()

    def view_x(self, t: float) -> float:
        return 0 * t


def clean(script: Script, t: float) -> NDArray[np.int64]:
    return paint(script, t, SIZE, CLEAN).astype(np.int64)


@pytest.mark.parametrize("scene", SCENES)
def test_a_turned_camera_sees_the_same_place_with_everyone_in_it_shifted(scene: Scene) -> None:
    """Also beyond the edges of the unturned picture nothing is left out: what comes into view is the place."""
    turned, still, busy = Script(5, scene, pan=0.1), Straight(5, scene, pan=0.1), 0
    for t in np.arange(0.0, 300.0, 3.0):
        shift = round(turned.view_x(t) * SIZE[0])
        a, b = clean(turned, t), clean(still, t)
        if shift > 0:
            a, b = a[:, :-shift], b[:, shift:]
        elif shift < 0:
            a, b = a[:, -shift:], b[:, :shift]
        assert np.array_equal(a, b)
        busy += bool(turned.actors(t)) and abs(shift) >= 16
    assert busy > 3


@pytest.mark.parametrize("scene", SCENES)
def test_what_is_visible_is_labelled_where_it_is(scene: Scene) -> None:
    checked = 0
    for pan in (0.0, 0.1):
        script = Script(3, scene, pan=pan)
        for t in np.arange(0.0, 300.0, 1.5):
            shown = visible(script, float(t), least=0)
            if len(shown) != 1 or shown[0].shown_fraction < 0.99:
                continue
            found, share = labels(script, float(t), GRID)
            kind, colour = KINDS.index(shown[0].kind) + 1, COLOURS.index(shown[0].colour) + 1
            rows, columns = np.nonzero((found[..., 0] == kind) & (found[..., 1] == colour) & (share > 0.5))
            x0, y0, x1, y1 = shown[0].box
            checked += 1
            # A step of a sprite's size is 3 %, a stride or a swung arm reaches over the box by a cell.
            assert x0 * 80 - 2.5 < columns.min() and columns.max() + 1 < x1 * 80 + 2.5
            assert y0 * 60 - 2.5 < rows.min() and rows.max() + 1 < y1 * 60 + 2.5
            assert columns.max() - columns.min() > 0.6 * (x1 - x0) * 80 - 2
            assert rows.max() - rows.min() > 0.6 * (y1 - y0) * 60 - 2
    assert checked > 10


@pytest.mark.parametrize("scene", SCENES)
def test_the_style_that_is_never_taught_has_lines_and_full_colours(scene: Scene) -> None:
    plain, comic = clean(Script(1, scene), -1.0), clean(Script(1, scene, style="comic"), -1.0)
    assert (comic.max(axis=2) < 60).mean() > (plain.max(axis=2) < 60).mean() + 0.005
    assert np.ptp(comic, axis=2).mean() > 1.1 * np.ptp(plain, axis=2).mean()


@pytest.mark.parametrize("size", [(320, 240), (144, 144), (240, 320), (640, 480), (641, 367)])
def test_the_clock_keeps_all_its_digits_in_a_picture_of_any_shape(size: tuple[int, int]) -> None:
    plate = round(CLOCK_SIZE[0] * size[0]), round(CLOCK_SIZE[1] * size[1])
    for one, other in ((11 * 60 + 11, 20 * 60 + 8), (0, 23 * 60 + 48)):
        a, b = (clock_face(minute, plate).astype(int) for minute in (one, other))
        assert a.shape == (plate[1], plate[0], 3)
        rows, columns = np.nonzero(np.abs(a - b).max(axis=2) > 40)
        assert columns.min() > 0 and columns.max() < plate[0] - 1
        assert rows.min() > 0 and rows.max() < plate[1] - 1


def test_every_cache_has_a_bound_and_keeps_it() -> None:
    PictureTeacher().pictures(60, (6, 8), seed=11)
    bounded = 0
    for module in pkgutil.iter_modules(stream.sources.simulated.__path__, "stream.sources.simulated."):
        for name, thing in vars(importlib.import_module(module.name)).items():
            if hasattr(thing, "cache_parameters"):
                bounded += 1
                most = thing.cache_parameters()["maxsize"]
                assert most, f"{module.name}.{name} keeps everything."
                assert thing.cache_info().currsize <= most
    assert bounded > 12
