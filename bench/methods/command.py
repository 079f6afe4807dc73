"""Every way to have fewer tokens, at the same budgets, on the same frames, questions and model.

    python run_stream.py bench methods [--small] [--budgets 25 10 1] [--reducers tome uniform] [--out runs]

All reducers of the registry at shares of the raw visual tokens, and at one share the motion gate, a merging tower, the
adaptive length, the rules of forgetting, fewer bits in reserve, and the words of memory.inner and memory.decode; beside
them every token, the last four frames and no picture. The tower sees each stream once, and once more where it merges or
tells what it attends to. A run that was stopped goes on where it was; methods and budgets may be added to it. Results
are in OUT/bench-methods.jsonl, figures in .json, the plot in .png.

What it costs with the bundled model on one core: a reducer at seven budgets 17 s a stream of 96 s with 28 questions,
every token 15 s, each of the others 3 s. So 18 reducers on 4 streams take about 25 minutes (the default), and a third
of that with --budgets 25 5. Intervals of some 60 questions a mode are 25 points wide: --streams 16 halves that, in
under two hours.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast, get_args

import torch

from bench._results import OtherPlan
from bench.methods import plan as plans
from bench.methods.figures import Summary, summary
from bench.methods.page import with_block
from bench.methods.plan import Plan, Setting, Sight
from bench.methods.plot import draw
from bench.methods.report import for_the_page, percent, tables
from bench.methods.results import Results
from bench.methods.tape import Tape, asked, record
from bench.methods.trial import Bench
from bench.watch.plan import Split
from bench.watch.progress import Progress
from models.backbone import Backbone
from models.checkpoint import Checkpoint, open_checkpoint
from models.memory import MemoryConfig
from models.place import place
from models.reducers.registry import REDUCERS
from stream.cli.console import Trouble

SIZES = ("streams", "seconds", "moments", "questions")


def main(argv: Sequence[str], say: Callable[[str], None]) -> int:
    """Measure what has not been measured yet, then print the tables and write them down. Raises `Trouble`."""
    found = _parse(argv)
    plan, todo = _plan(found), _settings(found)
    if found.write is not None:
        _written(found.write, [])  # before hours of work
    device, dtype = place(found.device, "float32")
    checkpoint = open_checkpoint(found.checkpoint, device, dtype)
    what = {"plan": asdict(plan), "model": checkpoint.model_id, "fingerprint": Backbone(checkpoint).fingerprint()}
    try:
        results = Results(found.out / "bench-methods.jsonl", what)
    except OtherPlan as other:
        raise Trouble(str(other), 2) from other
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        measure(plan, todo, checkpoint, results, Progress(say, sys.stderr))
    finally:
        torch.set_num_threads(threads)
    for line in _write_down(plan, todo, checkpoint, results, found):
        say(line)
    return 0


def measure(plan: Plan, todo: Sequence[Setting], checkpoint: Checkpoint, results: Results, progress: Progress) -> None:
    """Every setting on every stream; what is known is not done again."""
    clock = time.process_time if checkpoint.device.type == "cpu" else time.perf_counter
    bench, streams = Bench(checkpoint, clock), asked(plan)
    methods = list(dict.fromkeys(setting.method for setting in todo))
    for number, (name, film, questions) in enumerate(streams):
        tapes = dict[Sight, Tape]()
        for step, method in enumerate(methods, number * len(methods) + 1):
            mine = [one for one in todo if one.method == method and (name, one.name) not in results.trials]
            if not mine:
                progress.known(step, len(streams) * len(methods), f"{name}, {method}")
                continue
            progress.begin(step, len(streams) * len(methods), f"{name}, {method}", len(mine) * len(questions))
            started = time.perf_counter()
            for setting in mine:
                sight = setting.sight
                if sight not in tapes:
                    tapes[sight] = record(name, film, questions, checkpoint, clock, sight)
                    bench.warm(tapes[sight])
                results.add(bench.run(setting, tapes[sight]))
            progress.done(time.perf_counter() - started)


def _write_down(
    plan: Plan, todo: Sequence[Setting], checkpoint: Checkpoint, results: Results, found: argparse.Namespace
) -> list[str]:
    units = [name for name, _, _ in asked(plan)]
    sums = [summary([results.trials[unit, one.name] for unit in units]) for one in todo]
    title = f"bench methods: {checkpoint.model_id}, {plan.split} seeds, {plan.streams} streams of {plan.seconds:g} s"
    instant = MemoryConfig().with_recommended(checkpoint.card.memory).instant_frames or 0
    file = found.out / "bench-methods"
    numbers = {
        "title": title,
        "model": checkpoint.model_id,
        "plan": asdict(plan),
        "settings": [asdict(s) for s in sums],
    }
    file.with_suffix(".json").write_text(json.dumps(numbers, indent=2) + "\n", "utf-8")
    draw(sums, title.split(",", 1)[0]).save(file.with_suffix(".png"))
    lines = [title, "", *(line for table in tables(sums, instant) for line in table.lines())]
    if found.write is not None:
        _written(found.write, _block(title, sums, instant, found))
        lines.append(f"Written: {found.write}")
    return [*lines, f"Written: {file}.json, .png"]


def _block(title: str, sums: Sequence[Summary], instant: int, found: argparse.Namespace) -> list[str]:
    share = found.extra / 100
    if not any(one.group == "reducer" and one.share == share for one in sums):
        share = max((one.share for one in sums if one.group == "reducer"), default=share)
    lines = [f"{title}, {time.strftime('%Y-%m-%d', time.gmtime())}.", ""]
    for table in for_the_page(sums, instant, share):
        head, *rest = table.lines()
        lines += [head, *rest[: -1 - bool(table.note)], "", *([table.note, ""] if table.note else [])]
    return lines


def _written(path: Path, lines: Sequence[str]) -> None:
    """Put lines into a page; with none, only look whether they would find their place."""
    try:
        text = with_block(path.read_text("utf-8"), lines)
    except (OSError, ValueError) as error:
        raise Trouble(f"{path} cannot be written to: {error}", 2) from error
    if lines:
        path.write_text(text, "utf-8")


def _plan(found: argparse.Namespace) -> Plan:
    plan = plans.SMALL if found.small else plans.FULL
    chosen = {name: getattr(found, name) for name in SIZES if getattr(found, name) is not None}
    return replace(plan, split=cast("Split", found.split), **chosen)


def _settings(found: argparse.Namespace) -> list[Setting]:
    reducers = found.reducers or plans.all_reducers()
    if unknown := [name for name in reducers if name not in REDUCERS]:
        raise Trouble(f"there is no reducer {unknown[0]!r}; there is: {', '.join(REDUCERS)}", 2)
    usual = plans.SMALL_SHARES if found.small else plans.SHARES
    shares = [one / 100 for one in found.budgets] if found.budgets else list(usual)
    if wrong := [one for one in [*shares, found.extra / 100] if not 0 < one <= 1]:
        raise Trouble(f"a budget is a share of the raw tokens above 0 and at most 100 %, not {percent(wrong[0])}", 2)
    all_of_them = plans.settings(reducers, shares, found.extra / 100)
    return [one for one in all_of_them if not found.reducers_only or one.group in {"reducer", "floor", "whole"}]


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run_stream.py bench methods", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options: dict[str, dict[str, Any]] = {
        "--small": {"action": "store_true", "help": "one short stream and two budgets, in about a minute"},
        "--budgets": {"type": float, "nargs": "+", "help": "percent of the raw tokens; 100 is always there"},
        "--reducers": {"nargs": "+", "help": "some of the registry; all if not given"},
        "--reducers-only": {"action": "store_true", "help": "nothing of what is no reducer"},
        "--extra": {"type": float, "help": "percent for what is no reducer; 25, or 10 with --small"},
        "--write": {"type": Path, "help": "put the tables into this page, between its two comment lines"},
        "--split": {"choices": get_args(Split), "default": "test"},
        "--checkpoint": {"default": "bundled"},
        "--device": {"default": "cpu"},
        "--out": {"type": Path, "default": Path("runs"), "help": "folder of results"},
    }
    for name, how in options.items():
        parser.add_argument(name, **how)
    for name in SIZES:
        parser.add_argument(
            f"--{name}", type=type(getattr(plans.FULL, name)), help=f"default {getattr(plans.FULL, name)}"
        )
    found = parser.parse_args(argv)
    if found.extra is None:
        found.extra = 100 * (plans.SMALL_SHARES[0] if found.small else plans.EXTRA_SHARE)
    return found
