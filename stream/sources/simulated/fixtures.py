"""Doors that open and lights that go on: when, in any chapter, without knowing the chapters before.

Every border between chapters has a state of its own, drawn from the seed. Within a chapter a fixture switches as often
as it takes to get from one to the other, never twice within `LEAST_S`.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from stream.sources.simulated.kinds import FIXTURES, SCENES, Fixture, Scene

LEAST_S = 10.0  # every state lasts at least that long
OFTEN = {False: (0, 2, 0.75), True: (1, 3, 0.4)}  # whether it must change: few switches, many, and how often many


class Switch(NamedTuple):
    """A door opens or closes, a light goes on or off."""

    t: float  # media time, s
    fixture: Fixture
    on: bool  # open or lit from then on


def state(seed: int, scene: Scene, fixture: Fixture, t: float, chapter_s: float) -> bool:
    """Whether a fixture is open or lit at `t` (media time, s); one chapter lasts `chapter_s`."""
    index = int(max(t, 0.0) // chapter_s)
    times = _times(seed, scene, fixture, index, chapter_s)
    return _border(seed, scene, fixture, index) ^ bool(bisect_right(times, t) % 2)


def switches(seed: int, scene: Scene, index: int, chapter_s: float) -> list[Switch]:
    """All switches of chapter `index`, in order of time."""
    found = []
    for fixture in FIXTURES[scene]:
        on = _border(seed, scene, fixture, index)
        for t in _times(seed, scene, fixture, index, chapter_s):
            on = not on
            found.append(Switch(t, fixture, on))
    return sorted(found)


@lru_cache(maxsize=4096)
def _border(seed: int, scene: Scene, fixture: Fixture, index: int) -> bool:
    """The state with which chapter `index` begins."""
    return bool(_rng(seed, scene, fixture, index, 0xB0).random() < 0.5)


@lru_cache(maxsize=1024)
def _times(seed: int, scene: Scene, fixture: Fixture, index: int, chapter_s: float) -> tuple[float, ...]:
    changes = _border(seed, scene, fixture, index) != _border(seed, scene, fixture, index + 1)
    rng = _rng(seed, scene, fixture, index, 0xF1)
    few, many, share = OFTEN[changes]
    count = many if rng.random() < share else few
    # Half of the least time is kept free at either border, and all of it between two switches.
    free = chapter_s - count * LEAST_S
    gaps = np.sort(rng.uniform(0, free, count)) + LEAST_S * (np.arange(count) + 0.5)
    return tuple(float(index * chapter_s + gap) for gap in gaps)


def _rng(seed: int, scene: Scene, fixture: Fixture, index: int, salt: int) -> np.random.Generator:
    place = SCENES.index(scene), FIXTURES[scene].index(fixture)
    return np.random.default_rng((seed, *place, index, salt))
