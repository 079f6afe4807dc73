"""A stream painted and encoded once: all methods are shown the same tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np

from bench.methods.plan import Plan, Sight
from bench.watch import asks, films
from bench.watch.asks import Ask, Even
from bench.watch.plan import SPLITS
from models.checkpoint import Checkpoint
from models.vision.merging import TowerMerge
from models.vision.torch_tower import TorchVision
from stream.flow import Frame, Tokens
from stream.gate import ChangeGate
from stream.sources.simulated.quiz import KINDS_ASKED

PLAIN = Sight()


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """All that is shown and asked of one stream."""

    name: str
    wall_s: float  # Unix time of media time 0
    seconds: float
    fps: float
    tokens: list[Tokens]  # of each frame
    passed: list[bool]  # by the motion gate
    asks: list[Ask]  # in order of time
    encoder_ms: float  # per frame
    sight: Sight


def asked(plan: Plan) -> list[tuple[str, films.Film, list[Ask]]]:
    """(name, film, questions) of each stream; answers are kept even over all of them. Nothing is painted."""
    found, even = [], Even()
    for seed in SPLITS[plan.split][: plan.streams]:
        film = films.draw_short(seed, plan.seconds, plan.fps)
        rng = np.random.default_rng((seed, 1))
        questions = asks.at_moments(film, plan.moments, plan.questions, rng, even, KINDS_ASKED)
        found.append((f"short {seed}", film, sorted(questions, key=lambda one: one.time_s)))
    return found


def record(
    name: str,
    film: films.Film,
    questions: list[Ask],
    checkpoint: Checkpoint,
    clock: Callable[[], float],
    sight: Sight = PLAIN,
) -> Tape:
    """Paint and encode every frame, those that the gate would refuse as well."""
    encoder = TorchVision(checkpoint, cast("TowerMerge", sight.merging), salient=sight.salient)
    gate, tokens, passed, spent_s = ChangeGate(), list[Tokens](), list[bool](), 0.0
    for index, shot in enumerate(film.shots):
        frame = Frame(index, shot.time_s, shot.time_s, film.picture(index))
        passed.append(gate.admits(frame))
        started = clock()
        tokens += encoder.encode([frame])
        spent_s += clock() - started
    ms = 1e3 * spent_s / len(tokens)
    return Tape(name, film.wall_s, film.seconds, film.fps, tokens, passed, questions, ms, sight)
