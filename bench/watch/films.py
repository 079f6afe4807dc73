"""The streams: what is shown when, and the truth about it.

A *short* film is a stretch of one script. A *day* is 24 h of media time in minutes of work: busy stretches, looked at
`fps` times a second, with quiet hours between them in which media time leaps from one look at the empty place to the
next and the memory is told that nothing changed. A *glimpse* is an empty place for minutes with something in it for
two frames. Pictures are painted when they are shown, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.sources.simulated.history import CLEAR, History, Run, Sample, Track
from stream.sources.simulated.paint import Nuisance, draw_nuisance, paint
from stream.sources.simulated.questions_present import AHEAD_S
from stream.sources.simulated.teacher import draw_script
from stream.sources.simulated.truth import visible
from stream.sources.simulated.world import Actor, Pose, Script

LOOK_EVERY_S = 300.0  # in the quiet hours
STRETCH_S = (30, 50)  # a busy stretch lasts so long, as far as the story lets it begin and end with an empty place
SOON_MIN, LATER_MIN, SOON = (1.0, 8.0), (10.0, 52.0), 0.35  # minutes to the next stretch; how often it is soon
SEARCH_S = 60
GLIMPSE_S, GLIMPSE_AT_S = 150.0, (50, 90)


@dataclass(frozen=True, slots=True)
class Quiet(Script):
    """A place in which nobody ever is: its light, doors, rain and clock go on."""

    def actors(self, t: float) -> list[tuple[Actor, Pose]]:  # noqa: ARG002  the same at any time
        """Nobody."""
        return []


class Shot(NamedTuple):
    """One frame to be painted."""

    time_s: float  # media time
    script: Script
    at_s: float  # the script's own time
    still: bool = False  # nothing has changed between the frame before and this one, however long that is


@dataclass(frozen=True, slots=True)
class Film:
    """A stream with its truth."""

    shots: tuple[Shot, ...]  # in order of time
    truth: History  # in media time
    camera: Nuisance
    wall_s: float  # Unix time of media time 0
    fps: float

    @property
    def seconds(self) -> float:
        """Media time from the first frame to the last."""
        return self.shots[-1].time_s - self.shots[0].time_s

    def picture(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 of one shot; no other shot has a part in it."""
        shot = self.shots[index]
        return paint(shot.script, shot.at_s, nuisance=self.camera)


def draw_short(seed: int, seconds: float, fps: float) -> Film:
    """A place, weather and camera as in training, of a seed of its own."""
    rng = np.random.default_rng(seed)
    return short(draw_script(rng), draw_nuisance(rng), float(rng.integers(0, 768)), seconds, fps)


def short(script: Script, camera: Nuisance, start: float, seconds: float, fps: float) -> Film:
    """`seconds` of a script from its second `start` on."""
    times = np.arange(int(seconds * fps) + 1) / fps
    truth = History.from_script(script, start, start + float(times[-1]), fps, ahead_s=AHEAD_S).moved(-start)
    shots = tuple(Shot(float(t), script, start + float(t)) for t in times)
    return Film(shots, truth, camera, script.wall_s + start, fps)


def day(seed: int, day_s: float, fps: float) -> Film:
    """Media time and the script's time are one; the light follows the sun where there is a window."""
    rng = np.random.default_rng(seed)
    script = replace(draw_script(rng), day_length_s=86400.0)
    empty = Quiet(
        script.seed,
        script.scene,
        script.day,
        script.day_length_s,
        style=script.style,
        rain=script.rain,
        pan=script.pan,
        wall_s=script.wall_s,
    )
    shots, runs, now = list[Shot](), list[Run](), 0.0
    for start, end in _stretches(script, day_s, rng):
        # Where a stretch could not end in an empty place, what was there has gone by the first look after it.
        gone = not shots or bool(visible(script, now))
        shots += [Shot(t, empty, t, still=not (gone and k == 0)) for k, t in enumerate(_looks(now, start))]
        times = start + np.arange(int((end - start) * fps) + 1) / fps
        shots += [Shot(float(t), script, float(t)) for t in times]
        runs += History.from_script(script, start, end, fps).runs
        now = float(times[-1])
    return Film(tuple(shots), History(tuple(runs)), draw_nuisance(rng), script.wall_s, fps)


def _looks(after_s: float, before_s: float) -> Iterator[float]:
    """Times of the looks at the empty place between two busy stretches."""
    count = int((before_s - after_s - 1.0) // LOOK_EVERY_S) + 1
    yield from (after_s + 1.0 + LOOK_EVERY_S * k for k in range(count) if after_s + 1.0 + LOOK_EVERY_S * k < before_s)


def _stretches(script: Script, day_s: float, rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    """(start, end) of each busy stretch; where the story allows, both see an empty place."""
    at = float(rng.uniform(60, 600))
    while True:
        start = _first_empty(script, range(int(at), int(at) + SEARCH_S)) or float(int(at))
        end = _first_empty(script, range(int(start) + STRETCH_S[1], int(start) + STRETCH_S[0], -1))
        end = end or start + sum(STRETCH_S) / 2
        if end > day_s:
            return
        yield start, end
        low, high = SOON_MIN if rng.random() < SOON else LATER_MIN
        at = end + 60 * float(rng.uniform(low, high))


def _first_empty(script: Script, times: range) -> float | None:
    return next((float(t) for t in times if not visible(script, float(t))), None)


def glimpse(seed: int, fps: float) -> Film:
    """One thing, clearly to be seen in two frames of an empty place; before and after for long nothing."""
    rng = np.random.default_rng(seed)
    script, camera = replace(draw_script(rng), pan=0.0), draw_nuisance(rng)
    shown, step = _one_thing(script, 1 / fps), 1 / fps
    first = round(int(rng.integers(*GLIMPSE_AT_S)) * fps)
    event = {first: shown, first + 1: shown + step}
    times = np.arange(int(GLIMPSE_S * fps) + 1) / fps
    # one and the same moment over and over: what stands still in a still picture is the noise too
    still = Quiet(script.seed, script.scene, script.day, script.day_length_s, style=script.style, wall_s=script.wall_s)
    shots = [
        Shot(float(t), script, event[k]) if k in event else Shot(float(t), still, shown) for k, t in enumerate(times)
    ]
    samples = []
    for k, at in event.items():
        seen = visible(script, at)[0]
        samples.append(Sample(float(times[k]), seen.x, seen.y, seen.velocity[0], seen.shown_fraction))
    track = Track(seen.kind, seen.colour, tuple(samples), seen.number)
    run = Run(0.0, float(times[-1]), step, (track,))
    return Film(tuple(shots), History((run,)), camera, script.wall_s + shown, fps)


def _one_thing(script: Script, step: float) -> float:
    """The first time from which on exactly one thing, and all of it, is there for two frames."""
    for k in range(20_000):
        looks = [visible(script, k * step + d, least=0) for d in (0.0, step)]
        if all(len(look) == 1 and look[0].shown_fraction > CLEAR for look in looks):
            return k * step
    raise ValueError(f"In {script} nothing is ever alone.")
