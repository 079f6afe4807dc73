"""The simulator as a teacher: pictures with labels, runs with truth, questions with answers.

Fulfils `models.training.lessons.Teacher` without knowing it; `run_stream.py train` brings the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.sources.simulated.balance import Balance
from stream.sources.simulated.history import History
from stream.sources.simulated.kinds import COLOURS, KINDS, SCENES, TRAINED_STYLES
from stream.sources.simulated.labelling import labels
from stream.sources.simulated.paint import draw_nuisance, paint
from stream.sources.simulated.questions_present import AHEAD_S
from stream.sources.simulated.quiz import Item, ask
from stream.sources.simulated.wording import DIGITS, corpus
from stream.sources.simulated.world import CHAPTER_S, MOST_PAN, Script

CLEAR = 0.11  # an actor that covers more of a cell than this is what the cell holds
EMPTY = 0.03  # less than this is nothing; between the two the label is -1: unclear
SIZE = (320, 240)
MOMENTS = 40  # pictures drawn of one place
# Seeds for pictures, runs and questions: to learn from, to choose by, and to report, never mixed.
TRAIN_SEEDS = range(5_000_000)
VALIDATION_SEEDS = range(5_000_000, 7_000_000)
TEST_SEEDS = range(7_000_000, 9_000_000)
# What the columns of the labels tell: the names of classes 1, 2, ...; class 0 is none of them.
LABEL_NAMES: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "colour": COLOURS,
    "state": ("door closed", "door open", "light off", "light on"),
    "digit1": DIGITS,
    "digit2": DIGITS,
}
KIND, STATE = (list(LABEL_NAMES).index(name) for name in ("kind", "state"))
RAINY, PANNING, TURNING = 0.20, 0.25, 0.15  # shares of scripts with rain, with a turning camera, with short days


@dataclass(frozen=True, slots=True, eq=False)
class RunLesson:
    """A stretch of video with its truth."""

    frames: list[NDArray[np.uint8]]
    times_s: list[float]
    truth: History
    wall_s: float  # Unix time (UTC) of its second 0: what a clock on the wall shows


def draw_script(rng: np.random.Generator) -> Script:
    """A scene by day, by night or in between, dry or wet, seen by a still or a turning camera, at any time of day."""
    scene = SCENES[int(rng.integers(len(SCENES)))]
    seed = int(rng.integers(1 << 30))
    day, day_length_s = bool(rng.random() < 0.65), None
    if rng.random() < TURNING:
        day_length_s = float(rng.uniform(100, 400))
    return Script(
        seed,
        scene,
        day,
        day_length_s,
        style=TRAINED_STYLES[int(rng.integers(len(TRAINED_STYLES)))],
        rain=bool(rng.random() < RAINY),
        pan=float(rng.uniform(0.02, MOST_PAN)) if rng.random() < PANNING else 0.0,
        wall_s=float(rng.integers(86400)),
    )


class PictureTeacher:
    """The part of the teacher that the vision stage needs."""

    kinds: Sequence[str] = KINDS
    colours: Sequence[str] = COLOURS
    labels: Mapping[str, tuple[str, ...]] = LABEL_NAMES

    def pictures(self, count: int, grid: tuple[int, int], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """(B, H, W, 3) uint8 and (B, rows, columns, len(labels)) int64: classes per cell, 0 none, -1 unclear."""
        rng = np.random.default_rng(seed)
        pictures: list[NDArray[np.uint8]] = []
        truth: list[NDArray[np.int64]] = []
        while len(pictures) < count:
            script = draw_script(rng)
            for t in rng.uniform(0, 12 * CHAPTER_S, size=MOMENTS):  # many moments of one place: painting it is the cost
                if len(pictures) == count:
                    break
                found, share = labels(script, float(t), grid)
                if not found[..., KIND].any() and rng.random() < 0.85:
                    continue  # an empty picture teaches little
                pictures.append(paint(script, float(t), SIZE, draw_nuisance(rng)))
                truth.append(_doubtful(found, share))
        return np.stack(pictures[:count]), np.stack(truth[:count])


def _doubtful(found: NDArray[np.int64], share: NDArray[np.float32]) -> NDArray[np.int64]:
    """Labels with -1 where an actor covers too little of a cell to be named and too much to be nothing."""
    owned = np.where((share > CLEAR)[..., None], found, np.where((share < EMPTY)[..., None], 0, -1))
    owned[..., STATE] = found[..., STATE]  # not of an actor: unclear only where an actor hides it
    return owned


class SimulatedTeacher(PictureTeacher):
    """All of it. Answers are kept even over everything this teacher ever asks."""

    def __init__(self) -> None:
        self._balance = Balance()

    def run(self, seed: int, seconds: float, fps: float) -> RunLesson:
        """A stretch of a scene by one camera, with its history as the truth."""
        rng = np.random.default_rng(seed)
        script = draw_script(rng)
        start = float(rng.uniform(0, 12 * CHAPTER_S))
        camera = draw_nuisance(rng)
        times = start + np.arange(int(seconds * fps) + 1) / fps
        frames = [paint(script, float(t), SIZE, camera) for t in times]
        truth = History.from_script(script, start, float(times[-1]), hz=fps, ahead_s=AHEAD_S).moved(-start)
        return RunLesson(frames, [float(t - start) for t in times], truth, script.wall_s + start)

    def ask(
        self, runs: Sequence[tuple[History, float, float]], now_s: float, seed: int, count: int, wall_s: float = 0.0
    ) -> list[Item]:
        """Questions about runs laid end to end: (truth, where its time 0 falls, how many seconds of it were seen).

        `wall_s` is the Unix time (UTC) of second 0 of it all: minutes are named by it.
        """
        parts = [truth.until(seconds).moved(offset) for truth, offset, seconds in runs]
        history = History(tuple(run for part in parts for run in part.runs)).until(now_s)
        return ask(history, np.random.default_rng(seed), count, balance=self._balance, wall_s=wall_s)

    def corpus(self) -> list[str]:
        """Texts of all forms that questions and answers take."""
        return corpus()
