"""`run_stream.py train`: the three stages in order, each kept in the folder, so that a killed run goes on."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from models.checkpoint import Card, Checkpoint, open_checkpoint, save_checkpoint
from models.perception import PerceptionConfig
from models.training.create import Shape, new_checkpoint
from models.training.grounding import ground
from models.training.language import LanguagePlan, train_language
from models.training.pointing import ASKED
from models.training.tokens import RunPlan, RunTokens, encode_runs, load_runs, save_runs
from models.training.tower import train_tower

if TYPE_CHECKING:
    from models.training.lessons import Teacher

NAME = "longwatch-small"
# What the checkpoint recommends to memory: the sizes it was trained with.
MEMORY = {
    "hot_blocks": 12,
    "fused_tokens": 32,
    "segment_s": 8.0,
    "instant_frames": 4,
    "positions": "contiguous",
    "stamps": True,
    "recall_layer": ASKED[
        0
    ],  # the head that was told to find what a question names also finds it among what was evicted
    "recall_heads": [ASKED[1]],
}


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """All that decides a training run besides the teacher."""

    out: Path
    seed: int = 0
    tower_minutes: float = 25.0
    language_minutes: float = 60.0
    runs: int = 900
    held_out: int = 80
    batch: int = 2
    pictures: int = 6000
    exam_batches: int = 40
    learning_rate: float = 9e-4
    earlier: int = 3
    long_fraction: float = 0.2
    start: str | None = None


def main(argv: Sequence[str], teacher: Teacher, say: Callable[[str], None]) -> int:
    """Train; returns the exit status."""
    plan = _plan(argv)
    plan.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    checkpoint = _tower(plan, teacher, say)
    runs, held_out = _tokens(plan, checkpoint, teacher, say)

    def keep(scores: dict[str, float]) -> None:
        minutes = (time.monotonic() - started) / 60
        told = {
            **{k: str(v) for k, v in asdict(plan).items() if k != "out"},
            "minutes": round(minutes, 1),
            "teacher": "simulator",
        }
        card = Card(NAME, MEMORY, told, {"teacher_forced": {k: round(v, 3) for k, v in sorted(scores.items())}})
        save_checkpoint(replace(checkpoint, card=card), plan.out / "language")

    language = LanguagePlan(
        minutes=plan.language_minutes,
        batch=plan.batch,
        seed=plan.seed,
        exam_batches=plan.exam_batches,
        learning_rate=plan.learning_rate,
        earlier=plan.earlier,
        long_fraction=plan.long_fraction,
        glances_fraction=0.0 if plan.start else LanguagePlan().glances_fraction,  # who goes on has had them
    )
    scores = train_language(checkpoint, teacher, runs, held_out, language, say=say, save=keep)
    say(json.dumps({kind: round(value, 3) for kind, value in sorted(scores.items())}))
    say(f"The checkpoint is in {plan.out / 'language'}; use it with model: {{path_or_id: {plan.out / 'language'}}}.")
    return 0


def perception_config() -> PerceptionConfig:
    """The perception that training and, by the card, deployment share."""
    return PerceptionConfig(fused_tokens=32, segment_s=8.0, instant_frames=4)


def _plan(argv: Sequence[str]) -> TrainPlan:
    parser = argparse.ArgumentParser(
        prog="run_stream.py train", description="Train a small checkpoint from nothing but the simulator."
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/small"), help="working folder; a killed run goes on from it"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tower-minutes", type=float, default=25.0)
    parser.add_argument("--language-minutes", type=float, default=60.0)
    parser.add_argument("--runs", type=int, default=900, help="stretches of video for the language stage")
    parser.add_argument("--held-out", type=int, default=80, help="stretches never trained on, for the accuracy printed")
    parser.add_argument("--batch", type=int, default=2, help="histories per step")
    parser.add_argument("--pictures", type=int, default=6000, help="painted for the tower before it starts")
    parser.add_argument("--exam-batches", type=int, default=40, help="of four histories, for the accuracy printed")
    parser.add_argument("--learning-rate", type=float, default=9e-4, help="of the language stage, at its start")
    parser.add_argument("--earlier", type=int, default=3, help="at most so many whole stretches before the last")
    parser.add_argument(
        "--long-fraction", type=float, default=0.2, help="of the time, at the end: mostly long histories"
    )
    parser.add_argument("--start", help="a checkpoint to go on from, instead of a new tower; for example: bundled")
    found = parser.parse_args(argv)
    return TrainPlan(**vars(found))


def _tower(plan: TrainPlan, teacher: Teacher, say: Callable[[str], None]) -> Checkpoint:
    folder = plan.out / "tower"
    if plan.start:
        say(f"tower: that of {plan.start}")
        return open_checkpoint(plan.start)
    if (folder / "config.json").is_file():
        say(f"tower: taken from {folder}")
        return open_checkpoint(folder)
    checkpoint = new_checkpoint(Shape(), teacher.corpus(), plan.seed, NAME)
    scores = train_tower(
        checkpoint, teacher, minutes=plan.tower_minutes, pictures=plan.pictures, seed=plan.seed, say=say
    )
    ground(checkpoint, teacher, pictures=max(64, plan.pictures // 5), seed=plan.seed)
    save_checkpoint(replace(checkpoint, card=Card(NAME, MEMORY, {"tower": scores})), folder, torch.float32)
    return open_checkpoint(folder)


def _tokens(
    plan: TrainPlan, checkpoint: Checkpoint, teacher: Teacher, say: Callable[[str], None]
) -> tuple[list[RunTokens], list[RunTokens]]:
    """Runs to train on and runs held out."""
    path = plan.out / "tokens.pt"
    if path.is_file():
        found = load_runs(path)
        say(f"tokens: {len(found)} runs taken from {path}")
    else:
        first = plan.seed * 1_000_000
        seeds = range(first, first + plan.runs + plan.held_out)
        found = encode_runs(checkpoint, teacher, perception_config(), RunPlan(), seeds, say=say)
        save_runs(found, path)
    return found[plan.held_out :], found[: plan.held_out]
