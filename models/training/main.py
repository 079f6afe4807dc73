"""`run_stream.py train`: the stages in order, each kept in the folder, so that a killed run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from models.checkpoint import Card, Checkpoint, open_checkpoint, save_checkpoint
from models.perception import PerceptionConfig
from models.training.course import Course
from models.training.create import Shape, new_checkpoint
from models.training.curves import draw_curves
from models.training.depth import fit_depth
from models.training.grounding import ground, ground_new, naming_tokens
from models.training.histories import HOT, PRESENT, RECALLED
from models.training.inherit import inherit
from models.training.language import train_language
from models.training.plan import TrainPlan, read_plan
from models.training.pointing import ASKED, SAID
from models.training.syllabus import LanguagePlan
from models.training.tokens import RunPlan, RunTokens, encode_runs
from models.training.tower import train_tower

if TYPE_CHECKING:
    from models.training.lessons import Spread, Teacher

NAME = "longwatch-small"
# What the checkpoint recommends to memory: the sizes it was trained with, and the heads that were told where to look:
# the one that finds what a question names also finds it among what was evicted; the other points at moments.
MEMORY = {
    "hot_blocks": HOT,
    "length": "adaptive",
    "fused_min": 3,
    "fused_max": 24,
    "distortion_target": 0.05,
    "fused_tokens": 6,  # for who wants a fixed length
    "spawn_below": 0.75,
    "idle_frames": 20,
    "segment_s": 10.0,
    "instant_frames": 4,
    "positions": "contiguous",
    "stamps": True,
    "recall_layer": ASKED[0],
    "recall_heads": [ASKED[1]],
    "recall_blocks": RECALLED,  # they are small here
    "present_blocks": PRESENT,
    "pointer_layer": SAID[0],
    "pointer_head": SAID[1],
}


ON_A_GPU = 12  # times as many histories and pictures per step


def main(argv: Sequence[str], teacher: Teacher, say: Callable[[str], None], spread: Spread) -> int:
    """Train; returns the exit status."""
    try:
        plan = read_plan(argv)
        checkpoint = _tower(plan, teacher, say)
    except ValueError as error:
        say(str(error))
        return 2
    runs, held_out = _tokens(plan, teacher, say, spread)
    course = Course(plan.folder, "language", plan.language_minutes, say)
    language = LanguagePlan(
        batch=plan.batch * (ON_A_GPU if _beside(plan) else 1),
        exam_every=LanguagePlan().exam_every * (ON_A_GPU if _beside(plan) else 1),
        workers=_beside(plan),
        questions=plan.questions,
        seed=plan.seed,
        probe_pictures=min(1200, max(64, plan.pictures // 4)),
        exam_batches=plan.exam_batches,
        learning_rate=plan.learning_rate,
        new_share=plan.new_share,
        earlier=plan.earlier,
        long_fraction=plan.long_fraction,
    )
    if plan.start:  # who goes on has had the beginning
        language = replace(language, glances_fraction=0.0, grown_fraction=0.0, hours_fraction=0.0)
    keep = partial(_keep, plan, checkpoint, teacher, course)
    scores = train_language(checkpoint, teacher, runs, held_out, language, course, keep)
    say(json.dumps({kind: round(value, 3) for kind, value in sorted(scores.items())}))
    at = plan.folder / "language"
    say(f"The checkpoint is in {at}; use it with model: {{path_or_id: {at}}}. Curves: {plan.folder / 'curves.png'}.")
    return 0


def perception_config() -> PerceptionConfig:
    """The perception that training and, by the card, deployment share."""
    names = {field.name for field in fields(PerceptionConfig)} & MEMORY.keys()
    return PerceptionConfig(**{name: MEMORY[name] for name in names})  # type: ignore[arg-type]


def _memory(checkpoint: Checkpoint, teacher: Teacher) -> dict[str, object]:
    """What the card recommends: also which words the recall head was trained to look for."""
    return {**MEMORY, "recall_words": naming_tokens(checkpoint.tokenizer.get_vocab(), teacher.labels)}


def _keep(plan: TrainPlan, checkpoint: Checkpoint, teacher: Teacher, course: Course, scores: dict[str, float]) -> None:
    """The checkpoint as it is now, and the curves up to now."""
    told = {**{k: v for k, v in asdict(plan).items() if k not in ("out", "device")}, "teacher": "simulator"}
    told["language_minutes"] = round(course.spent, 1)
    card = Card(
        NAME,
        _memory(checkpoint, teacher),
        told,
        {"teacher_forced": {k: round(v, 3) for k, v in sorted(scores.items())}},
    )
    save_checkpoint(replace(checkpoint, card=card), plan.folder / "language")
    draw_curves(plan.folder / "curves.jsonl", plan.folder / "curves.png")


def _tower(plan: TrainPlan, teacher: Teacher, say: Callable[[str], None]) -> Checkpoint:
    """A checkpoint that sees: taken from the folder, or trained."""
    folder = plan.folder / "tower"
    if not (folder / "config.json").is_file():
        checkpoint = new_checkpoint(Shape(), teacher.corpus(), plan.seed, NAME)
        checkpoint.model.to(_device(plan))  # type: ignore[arg-type]  # transformers types `to` too narrowly
        checkpoint.cross_dynamics.to(_device(plan))
        before = None if plan.start is None else open_checkpoint(plan.start)
        if before is not None:
            inherit(checkpoint, before)
        course = Course(plan.folder, "tower", plan.tower_minutes, say)
        scores = train_tower(
            checkpoint,
            teacher,
            course,
            pictures=plan.pictures,
            seed=plan.seed,
            learning_rate=plan.tower_rate,
            batch=16 * (ON_A_GPU if _beside(plan) else 1),
            workers=_beside(plan),
        )
        few = max(64, plan.pictures // 5)
        if before is None:
            ground(checkpoint, teacher, norm=plan.picture_norm, pictures=few, seed=plan.seed, workers=_beside(plan))
        else:
            known = before.tokenizer.get_vocab().keys()
            ground_new(
                checkpoint,
                teacher,
                known,
                norm=plan.picture_norm,
                pictures=few,
                seed=plan.seed,
                workers=_beside(plan),
            )
        depth = fit_depth(
            checkpoint, teacher, pictures=2 * plan.pictures, seed=plan.seed, workers=_beside(plan), say=say
        )
        seeing = replace(checkpoint, card=Card(NAME, MEMORY, {"tower": scores}), depth=depth)
        save_checkpoint(seeing, folder, torch.float32)
        draw_curves(plan.folder / "curves.jsonl", plan.folder / "curves.png")
    say(f"tower: taken from {folder}")
    return open_checkpoint(folder, _device(plan))


def _device(plan: TrainPlan) -> str:
    return plan.device if plan.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _beside(plan: TrainPlan) -> int:
    """Processes that make lessons while a GPU trains; on a processor there is nobody to spare."""
    return max(1, plan.workers - 1) if _device(plan) != "cpu" else 0


def _tokens(
    plan: TrainPlan, teacher: Teacher, say: Callable[[str], None], spread: Spread
) -> tuple[list[RunTokens], list[RunTokens]]:
    """Runs to train on and runs held out."""
    first = plan.seed * 1_000_000
    seeds = range(first, first + plan.runs + plan.held_out)
    found = encode_runs(
        plan.folder / "tower",
        teacher,
        perception_config(),
        RunPlan(),
        seeds,
        workers=plan.workers,
        spread=spread,
        say=say,
    )
    return found[plan.held_out :], found[: plan.held_out]
