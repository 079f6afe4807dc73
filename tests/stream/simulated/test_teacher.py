"""The simulator as a teacher: labels of every column, runs with their future and their time of day."""

from __future__ import annotations

import numpy as np
import pytest

from stream.sources.simulated.kinds import KINDS
from stream.sources.simulated.labelling import LABELS
from stream.sources.simulated.quiz import Item
from stream.sources.simulated.teacher import LABEL_NAMES, PictureTeacher, SimulatedTeacher

GRID = (12, 16)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    _, truth = PictureTeacher().pictures(160, GRID, seed=3)
    return truth


def test_every_column_has_names_and_every_name_occurs(truth: np.ndarray) -> None:
    assert tuple(PictureTeacher().labels) == LABELS
    assert truth.shape == (160, *GRID, len(LABELS))
    for column, names in enumerate(LABEL_NAMES.values()):
        found = set(np.unique(truth[..., column]).tolist())
        assert found <= set(range(-1, len(names) + 1))
        assert len(found) > 0.75 * len(names)


def test_digits_are_on_trucks_and_nowhere_else(truth: np.ndarray) -> None:
    kind, digits = truth[..., 0], truth[..., LABELS.index("digit1") :]
    on_truck = kind == KINDS.index("truck") + 1
    assert (digits[~on_truck] <= 0).all()
    assert (digits[on_truck] > 0).any()
    assert (digits[kind == 0] == 0).all()
    assert (digits[kind == -1] == -1).all()  # what is unclear has no legible number


def test_pictures_are_decided_by_the_seed() -> None:
    one, two, other = (PictureTeacher().pictures(6, GRID, seed) for seed in (1, 1, 2))
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])
    assert not np.array_equal(one[0], other[0])


def test_a_run_knows_how_things_leave_and_what_time_it_is() -> None:
    teacher, items = SimulatedTeacher(), list[Item]()
    runs = [teacher.run(seed, 16.0, 2.0) for seed in range(24)]
    for seed, run in enumerate(runs):
        assert len(run.frames) == len(run.times_s) == 33
        assert 0 <= run.wall_s < 2 * 86400
        for now in (8.0, 12.0, 16.0):
            items += teacher.ask([(run.truth, 0.0, now)], now, seed, 12)
    assert {"leaving", "door", "light"} <= {i.kind for i in items}


def test_minutes_are_named_by_the_time_of_day_that_is_given() -> None:
    teacher = SimulatedTeacher()
    run = teacher.run(5, 100.0, 1.0)
    runs = [(run.truth, 0.0, 100.0), (run.truth, 130.0, 60.0)]
    asked = [i for seed in range(30) for i in teacher.ask(runs, 190.0, seed, 20, wall_s=7 * 3600.0) if i.span]
    assert {i.text.split(":")[0][-2:] for i in asked} == {"07"}
    assert {i.span for i in asked} == {(0.0, 60.0), (60.0, 120.0), (120.0, 180.0)}
