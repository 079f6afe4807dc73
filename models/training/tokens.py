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

from models.checkpoint import open_checkpoint
from models.perception import Perception, PerceptionConfig
from models.rows import Rows
from models.vision.torch_tower import TorchVision
from stream.flow import Frame

if TYPE_CHECKING:
    from models.training.lessons import Run, Spread, Teacher

SHARD = 20  # runs


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
    folder: Path,
    teacher: Teacher,
    perception: PerceptionConfig,
    plan: RunPlan,
    seeds: range,
    *,
    workers: int,
    spread: Spread,
    say: Callable[[str], None],
) -> list[RunTokens]:
    """One `RunTokens` per seed, by the checkpoint in `folder`; kept beside it in shards, so a killed run goes on."""
    shelf = folder.parent / "tokens"
    shelf.mkdir(exist_ok=True)
    shards = {shelf / f"{part.start}.pt": part for part in _parts(seeds)}
    missing = {path: part for path, part in shards.items() if not path.is_file()}
    done = len(shards) - len(missing)
    say(f"tokens: {done * SHARD} of {len(seeds)} runs taken from {shelf}" if done else f"tokens: {len(seeds)} runs")
    jobs = [(folder, teacher, perception, plan, part, path) for path, part in missing.items()]
    for _ in spread(_encode_shard, jobs, workers):
        done += 1
        say(f"tokens: {min(done * SHARD, len(seeds))} of {len(seeds)} runs")
    return [run for path in shards for run in load_runs(path)]


def _parts(seeds: range) -> list[range]:
    return [seeds[at : at + SHARD] for at in range(0, len(seeds), SHARD)]


def _encode_shard(
    folder: Path, teacher: Teacher, perception: PerceptionConfig, plan: RunPlan, seeds: range, path: Path
) -> None:
    """Encode and keep one shard; its name appears only when it is whole."""
    torch.set_num_threads(1)  # one thread each: several processes do not wait for one another
    checkpoint = open_checkpoint(folder)
    encoder = TorchVision(checkpoint)
    runs: list[RunTokens] = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        seconds = float(rng.uniform(plan.shortest_s, plan.longest_s))
        run = teacher.run(seed, seconds, float(rng.choice(plan.fps)))
        eyes = Perception(perception, checkpoint.dim, checkpoint.grid)
        runs.append(encode_run(encoder, eyes, run, plan.moments, rng))
    beside = path.with_suffix(".new")
    save_runs(runs, beside)
    beside.replace(path)


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
        if closed is not None:
            close(segments, closed)
        if index in asked:
            opened = perception.open_segment()
            instant = [small(rows) for rows in perception.instant()]
            found.append(Moment(frames[index].time_s, len(segments), small(opened) if opened else None, instant))
    last = perception.flush()
    if last is not None:
        close(segments, last)
    return RunTokens(run.truth, frames[-1].time_s, segments, found)


def close(segments: list[Rows], closed: Rows) -> None:
    """Another segment, or where it says nothing new a longer one before it; as memory has it."""
    if len(closed.embeds):
        segments.append(small(closed))
    elif segments:
        segments[-1] = replace(segments[-1], span_s=(segments[-1].span_s[0], closed.span_s[1]))


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
