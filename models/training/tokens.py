"""Stage two: runs through the very perception that is deployed, kept as rows.

The tower is frozen from here on, so a run is encoded once and used in many histories. A run keeps its closed segments
and a few moments at which questions may be asked; the language stage lays runs end to end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from models.perception import Perception, PerceptionConfig
from models.rows import Rows
from models.vision.torch_tower import TorchVision
from stream.flow import Frame

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint
    from models.training.lessons import Run, Teacher


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A time at which a question may be asked of a run."""

    now_s: float  # since the start of the run
    closed: int  # segments committed by then
    open: Rows | None
    instant: list[Rows]


@dataclass(frozen=True, slots=True, eq=False)
class RunTokens:
    """One run as memory would hold it."""

    truth: Any
    seconds: float
    segments: list[Rows]
    moments: list[Moment]


@dataclass(frozen=True, slots=True)
class RunPlan:
    """How runs are drawn."""

    shortest_s: float = 20.0
    longest_s: float = 40.0
    fps: tuple[float, ...] = (1.0, 1.0, 2.0)
    moments: int = 3


def encode_runs(
    checkpoint: Checkpoint,
    teacher: Teacher,
    perception: PerceptionConfig,
    plan: RunPlan,
    seeds: range,
    *,
    say: Callable[[str], None],
) -> list[RunTokens]:
    """One `RunTokens` per seed."""
    encoder = TorchVision(checkpoint)
    runs: list[RunTokens] = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        seconds = float(rng.uniform(plan.shortest_s, plan.longest_s))
        run = teacher.run(seed, seconds, float(rng.choice(plan.fps)))
        runs.append(
            encode_run(encoder, Perception(perception, checkpoint.dim, checkpoint.grid), run, plan.moments, rng)
        )
        if len(runs) % 50 == 0:
            say(f"tokens  {len(runs)} of {len(seeds)} runs")
    return runs


def encode_run(
    encoder: TorchVision, perception: Perception, run: Run, moments: int, rng: np.random.Generator
) -> RunTokens:
    """Frames in, rows out; causal as when deployed."""
    frames = [Frame(i, float(t), 0.0, rgb) for i, (t, rgb) in enumerate(zip(run.times_s, run.frames, strict=True))]
    tokens = [token for at in range(0, len(frames), 32) for token in encoder.encode(frames[at : at + 32])]
    asked = set(
        rng.choice(np.arange(len(frames) // 3, len(frames)), size=min(moments, len(frames)), replace=False).tolist()
    )
    asked.add(len(frames) - 1)
    segments: list[Rows] = []
    found: list[Moment] = []
    for index, token in enumerate(tokens):
        closed = perception.see(token)
        if closed is not None and len(closed.embeds):
            segments.append(small(closed))
        if index in asked:
            opened = perception.open_segment()
            instant = [small(rows) for rows in perception.instant()]
            found.append(Moment(frames[index].time_s, len(segments), small(opened) if opened else None, instant))
    last = perception.flush()
    if last is not None and len(last.embeds):
        segments.append(small(last))
    return RunTokens(run.truth, frames[-1].time_s, segments, found)


def small(rows: Rows) -> Rows:
    """Half precision for the cache; cells are not needed in training."""
    return replace(rows, embeds=rows.embeds.half(), motion=rows.motion.half(), cells=rows.cells[:, :0])


def save_runs(runs: list[RunTokens], path: Path) -> None:
    """Our own working file, never read from a stranger."""
    torch.save(runs, path)


def load_runs(path: Path) -> list[RunTokens]:
    """What `save_runs` wrote."""
    found = torch.load(path, weights_only=False)
    return list(found)
