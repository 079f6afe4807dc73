"""Is it memory or luck? The bundled model, or another, on simulated streams that it never saw, by mode, task and age.

    python run_stream.py bench watch [--small] [--ablations] [--workers 2] [--split test] [--out runs]

Everything runs as deployed: gate, vision tower, token base, dynamics map, cross-dynamics attention, memory, fork.
A run that was stopped goes on where it was: results are in OUT/bench-watch.jsonl, the report in .json, .png and .html.

    blind       best rule per kind of question that needs no picture, chosen with hindsight
    no picture  the same model, shown nothing
    last frame  the same model with the newest frame only
    last 4      the same model with the last four frames and no memory (SimpleStream, arXiv 2604.02317)
    oracle      the same model and memory, shown nothing but the evidence, 4 s on either side
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple, cast, get_args

import torch

from bench._results import OtherPlan
from bench.watch import plan as plans
from bench.watch.page import write_page
from bench.watch.plan import Plan, Split, Unit
from bench.watch.programme import Programme, Show
from bench.watch.progress import Progress
from bench.watch.report import report
from bench.watch.resume import Results
from bench.watch.systems import Panel, Variants
from bench.watch.variants import VARIANTS
from bench.watch.watching import Outcome, watch
from models.backbone import Backbone
from models.checkpoint import Checkpoint, open_checkpoint
from models.place import place, use_threads
from models.vision.torch_tower import TorchVision
from stream.cli.console import Trouble
from stream.cli.spread import spread

ABLATION_STREAMS, ABLATION_DAYS = 6, 1
SIZES = ("streams", "seconds", "moments", "questions", "occasions", "standing", "days", "stress", "glimpses")
MORE = ("instructions", "day_s", "day_moments", "stress_seconds", "ablation_streams", "ablation_days")


def main(argv: Sequence[str], say: Callable[[str], None]) -> int:
    """Measure what has not been measured yet, then print the tables and write them down. Raises `Trouble`."""
    found = _parse(argv)
    plan = _plan(found)
    device, dtype = place(found.device, "float32")
    checkpoint = opened(source := Source(found.checkpoint, device, dtype))
    what = {
        "plan": asdict(plan),
        "model": {"model": checkpoint.model_id, "fingerprint": Backbone(checkpoint).fingerprint()},
    }
    try:
        results = Results(found.out / "bench-watch.jsonl", what)
    except OtherPlan as other:
        raise Trouble(str(other), 2) from other
    outcomes = measure(plan, source, results, Progress(say, sys.stderr, found.workers), found.workers)
    for line in write_page(report(plan, checkpoint.model_id, outcomes), found.out):
        say(line)
    return 0


class Source(NamedTuple):
    """Which model, and where: each process opens its own."""

    path: str
    device: str
    dtype: torch.dtype


@cache
def opened(source: Source) -> Checkpoint:
    """The checkpoint, read once per process."""
    checkpoint = open_checkpoint(*source)
    use_threads(checkpoint.model)
    return checkpoint


def measure(plan: Plan, source: Source, results: Results, progress: Progress, workers: int) -> list[Outcome]:
    """The outcome of every unit of the plan; those that are known are not watched again."""
    todo = list(plans.units(plan))
    for outcome in spread(_watched, _unknown(plan, source, todo, results, progress), workers):
        results.add(outcome)
        progress.done(outcome.seconds, outcome.unit)
    return [results.outcomes[unit.name] for unit in todo]


def _unknown(
    plan: Plan, source: Source, todo: Sequence[Unit], results: Results, progress: Progress
) -> Iterator[tuple[Source, Unit, Show]]:
    programme = Programme(plan)
    for number, unit in enumerate(todo, start=1):
        show = programme.show(unit)  # also of what is known: questions are kept even over all of them
        if unit.name in results.outcomes:
            progress.known(number, len(todo), unit.name)
        else:
            progress.begin(number, len(todo), unit.name, len(show.asks))
            yield source, unit, show


def _watched(source: Source, unit: Unit, show: Show) -> Outcome:
    checkpoint = opened(source)
    panel, encoder = _panel(unit, show, checkpoint), TorchVision(checkpoint)
    return watch(unit, show.film, show.asks, show.standing, panel, encoder)


def _panel(unit: Unit, show: Show, checkpoint: Checkpoint) -> Panel:
    if unit.sort in {"ablation", "ablation day"}:
        return Variants(checkpoint, show.film.wall_s, VARIANTS)
    return Panel(checkpoint, show.film.wall_s, half=unit.sort == "day")


def _plan(found: argparse.Namespace) -> Plan:
    plan = plans.SMALL if found.small else plans.FULL
    if found.ablations:
        plan = replace(plan, ablation_streams=ABLATION_STREAMS, ablation_days=ABLATION_DAYS)
    chosen = {name: getattr(found, name) for name in (*SIZES, *MORE) if getattr(found, name) is not None}
    return replace(plan, split=cast("Split", found.split), **chosen)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run_stream.py bench watch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="one stream of each sort, in about a minute")
    parser.add_argument("--ablations", action="store_true", help="also what each part of the design is worth")
    parser.add_argument("--split", choices=get_args(Split), default="test")
    parser.add_argument("--checkpoint", default="bundled")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="streams watched at once, each in a process of its own")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of results and report")
    for name in (*SIZES, *MORE):
        kind = type(getattr(plans.FULL, name))
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=f"default {getattr(plans.FULL, name)}")
    return parser.parse_args(argv)
