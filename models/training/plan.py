"""All that decides a training run besides the teacher: read from a file, then from flags."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

_LARGEST_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """The lines of `configs/recipes/bundled.yaml`, which says what each is."""

    out: str = "runs/small"
    seed: int = 0
    start: str | None = None
    tower_minutes: float = 40.0
    pictures: int = 6000
    tower_rate: float = 1e-3
    picture_norm: float = 0.0
    runs: int = 820
    held_out: int = 60
    workers: int = 2
    language_minutes: float = 160.0
    learning_rate: float = 9e-4
    new_share: float = 1.0
    batch: int = 2
    questions: int = 28
    earlier: int = 4
    long_fraction: float = 0.4
    exam_batches: int = 40
    device: str = "auto"

    @property
    def folder(self) -> Path:
        """Where everything is kept."""
        return Path(self.out)


def read_plan(argv: Sequence[str]) -> TrainPlan:
    """Flags over the file over the defaults. Raises ValueError with a sentence for what cannot be used."""
    parser = argparse.ArgumentParser(
        prog="run_stream.py train", description="Train a small checkpoint from nothing but the simulator."
    )
    parser.add_argument("--config", type=Path, help="a file like configs/recipes/bundled.yaml; flags go first")
    for field in fields(TrainPlan):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=_maker(field.default), default=None)
    found = vars(parser.parse_args(argv))
    path = found.pop("config")
    lines = {} if path is None else _lines(path)
    plan = TrainPlan(**(lines | {name: value for name, value in found.items() if value is not None}))
    if not 0 <= plan.new_share <= 1:
        raise ValueError(f"new_share is a share: 0 to 1, and not {plan.new_share:g}.")
    return plan


def _maker(default: object) -> type:
    return str if default is None else type(default)


def _lines(path: Path) -> dict[str, Any]:
    if not path.is_file() or path.stat().st_size > _LARGEST_BYTES:
        raise ValueError(f"{path} is no training plan; give a file like configs/recipes/bundled.yaml.")
    try:
        found = yaml.safe_load(path.read_text("utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {str(error).splitlines()[0]}.") from error
    known = {field.name: field.default for field in fields(TrainPlan)}
    if not isinstance(found, dict) or not set(found) <= set(known):
        wrong = sorted(map(str, set(found) - set(known))) if isinstance(found, dict) else ["its form"]
        raise ValueError(f"{path} has what no training plan has: {', '.join(wrong)[:100]}.")
    try:
        return {name: value if value is None else _maker(known[name])(value) for name, value in found.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} has a line of the wrong type: {error}.") from error
