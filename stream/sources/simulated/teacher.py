"""The simulator as a teacher: pictures with labels, runs with truth, questions with answers.

Fulfils `models.training.lessons.Teacher` without knowing it; `run_stream.py train` brings the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.sources.simulated.balance import Balance
from stream.sources.simulated.history import History
from stream.sources.simulated.kinds import COLOURS, KINDS, SCENES
from stream.sources.simulated.paint import draw_nuisance, labels, paint
from stream.sources.simulated.quiz import Item, ask
from stream.sources.simulated.wording import corpus
from stream.sources.simulated.world import CHAPTER_S, Script

CLEAR = 0.11  # an actor that covers more of a cell than this is what the cell holds
EMPTY = 0.03  # less than this is nothing; between the two the label is -1: unclear
SIZE = (320, 240)
MOMENTS = 40  # pictures drawn of one place


@dataclass(frozen=True, slots=True, eq=False)
class RunLesson:
    """A stretch of video with its truth."""

    frames: list[NDArray[np.uint8]]
    times_s: list[float]
    truth: History


def draw_script(rng: np.random.Generator) -> Script:
    """A scene by day, by night or in between."""
    scene = SCENES[int(rng.integers(len(SCENES)))]
    seed = int(rng.integers(1 << 30))
    if rng.random() < 0.15:
        return Script(seed, scene, day_length_s=float(rng.uniform(100, 400)))
    return Script(seed, scene, day=bool(rng.random() < 0.65))


class PictureTeacher:
    """The part of the teacher that the vision stage needs."""

    kinds: Sequence[str] = KINDS
    colours: Sequence[str] = COLOURS

    def pictures(self, count: int, grid: tuple[int, int], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """(B, H, W, 3) uint8 and (B, rows, columns, 2) int64: kind and colour per cell, 0 for none, -1 for unclear."""
        rng = np.random.default_rng(seed)
        pictures: list[NDArray[np.uint8]] = []
        truth: list[NDArray[np.int64]] = []
        while len(pictures) < count:
            script = draw_script(rng)
            for t in rng.uniform(0, 12 * CHAPTER_S, size=MOMENTS):  # many moments of one place: painting it is the cost
                found, share = labels(script, float(t), grid)
                if not found.any() and rng.random() < 0.85:
                    continue  # an empty picture teaches little
                found = np.where((share > CLEAR)[..., None], found, np.where((share < EMPTY)[..., None], 0, -1))
                pictures.append(paint(script, float(t), SIZE, draw_nuisance(rng)))
                truth.append(found)
        return np.stack(pictures[:count]), np.stack(truth[:count])


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
        truth = History.from_script(script, start, float(times[-1]), hz=fps).moved(-start)
        return RunLesson(frames, [float(t - start) for t in times], truth)

    def ask(self, runs: Sequence[tuple[History, float, float]], now_s: float, seed: int, count: int) -> list[Item]:
        """Questions about runs laid end to end: (truth, where its time 0 falls, how many seconds of it were seen)."""
        parts = [truth.until(seconds).moved(offset) for truth, offset, seconds in runs]
        history = History(tuple(run for part in parts for run in part.runs)).until(now_s)
        return ask(history, np.random.default_rng(seed), count, balance=self._balance)

    def corpus(self) -> list[str]:
        """Texts of all forms that questions and answers take."""
        return corpus()
