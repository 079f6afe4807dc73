"""How often is the answer true? The deployed pipeline on streams that were never trained on, beside its floors.

    python run_stream.py bench answers [--streams 24] [--checkpoint bundled] [--json FILE]

Every stream runs through gate, vision tower, token base, dynamics map, cross-dynamics attention and KV memory, frame by
frame; questions come while it runs and see nothing later than now. Floors, on the same questions:

    blind       the best rule per kind of question that needs no picture, chosen with hindsight: always the same
                answer, or always the first (second) thing that the question names
    last frame  the same model with the newest frame only
    last 4      the same model with the last four frames and no memory (SimpleStream, arXiv 2604.02317)
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.answerer import TextAnswerer
from models.backbone import Backbone
from models.checkpoint import Checkpoint, open_checkpoint
from models.memory import Memory, MemoryConfig
from models.perception import Perception
from models.place import use_threads
from models.vision.torch_tower import TorchVision
from stream.flow import Frame, MediaEpoch, Question, Tokens
from stream.gate import ChangeGate
from stream.sources.simulated.balance import Balance
from stream.sources.simulated.history import History
from stream.sources.simulated.paint import paint
from stream.sources.simulated.quiz import Item, ask
from stream.sources.simulated.teacher import draw_script

TEST_SEEDS = 7_000_000  # training uses seeds below; these are never trained on
AGES_S = (10, 30, 60, 120, 1e9)  # upper bounds of the bins by age of the evidence, s
SYSTEMS = ("longwatch", "last 4", "last frame")


@dataclass(frozen=True, slots=True)
class Asked:
    """One question with what each system said."""

    item: Item
    said: dict[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of the measurement."""

    streams: int = 24
    seconds: float = 180.0
    fps: float = 2.0
    moments: int = 6
    questions: int = 8  # per moment


def main(argv: Sequence[str], say: Callable[[str], None]) -> int:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(prog="run_stream.py bench answers")
    parser.add_argument("--streams", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--moments", type=int, default=6, help="of each stream at which questions are asked")
    parser.add_argument("--checkpoint", default="bundled")
    parser.add_argument("--json", type=Path, default=Path("runs/bench-answers.json"))
    found = parser.parse_args(argv)
    plan = Plan(streams=found.streams, seconds=found.seconds, moments=found.moments)
    asked: list[Asked] = []
    checkpoint = open_checkpoint(found.checkpoint)
    use_threads(checkpoint.model)
    for number in range(plan.streams):
        asked += list(watch(checkpoint, plan, TEST_SEEDS + number))
        say(f"stream {number + 1} of {plan.streams}: {len(asked)} questions")
    table = tabulate(asked)
    for line in render(table):
        say(line)
    found.json.parent.mkdir(parents=True, exist_ok=True)
    found.json.write_text(
        json.dumps({"plan": str(plan), "model": checkpoint.model_id, "table": table}, indent=2) + "\n"
    )
    return 0


def watch(checkpoint: Checkpoint, plan: Plan, seed: int) -> Iterator[Asked]:
    """One stream from its first frame to its last question."""
    rng = np.random.default_rng(seed)
    script = draw_script(rng)
    moments = sorted(
        rng.choice(np.arange(int(plan.seconds / 6), int(plan.seconds)), plan.moments, replace=False).tolist()
    )
    systems = _systems(checkpoint)
    answerer = TextAnswerer(next(iter(systems.values())).backbone)
    encoder, gate, balance = TorchVision(checkpoint), ChangeGate(), Balance()
    for index in range(int(plan.seconds * plan.fps)):
        time_s = index / plan.fps
        frame = Frame(index, time_s, time_s, paint(script, time_s))
        tokens = encoder.encode([frame])[0] if gate.admits(frame) else None
        for memory in systems.values():
            _see(memory, tokens, time_s)
        if moments and time_s >= moments[0]:
            moments.pop(0)
            history = History.from_script(script, 0.0, time_s, hz=plan.fps)
            for item in ask(history, rng, plan.questions, balance=balance):
                yield Asked(
                    item, {name: _answer(answerer, memory, item.text, time_s) for name, memory in systems.items()}
                )


def _systems(checkpoint: Checkpoint) -> dict[str, Memory]:
    backbone = Backbone(checkpoint)
    full = MemoryConfig().with_recommended(checkpoint.card.memory)
    configs = (
        full,
        replace(full, hot_blocks=0, recall=False),
        replace(full, hot_blocks=0, recall=False, instant_frames=1),
    )

    def memory(config: MemoryConfig) -> Memory:
        perception = Perception(config.perception(), checkpoint.dim, checkpoint.grid)
        return Memory(backbone, checkpoint.cross_dynamics, perception, config, MediaEpoch(1.7e9))

    return {name: memory(config) for name, config in zip(SYSTEMS, configs, strict=True)}


def _see(memory: Memory, tokens: Tokens | None, time_s: float) -> None:
    if tokens is None:
        memory.hold(time_s)
    else:
        memory.append(tokens)


def _answer(answerer: TextAnswerer, memory: Memory, text: str, now_s: float) -> str:
    view = memory.fork(Question("bench", text, "sim", now_s, now_s + 60, max_tokens=24))
    said = "".join(piece.text for piece in answerer.answer(view)).strip()
    memory.used(view)
    return said


def tabulate(asked: Sequence[Asked]) -> dict[str, dict[str, float]]:
    """Accuracy per kind, per mode, and of the past per age of the evidence."""
    rows: defaultdict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        rows[f"{one.item.mode}: {one.item.kind}"].append(one)
        rows[f"all {one.item.mode}"].append(one)
        if one.item.mode == "past":
            rows[_age(one.item.lag_s)].append(one)
    return {name: _row(found) for name, found in sorted(rows.items())}


def _age(lag_s: float) -> str:
    bound = next(bound for bound in AGES_S if lag_s <= bound)
    return f"past, evidence up to {bound:g} s old" if bound < 1e9 else f"past, evidence over {AGES_S[-2]:g} s old"


def _row(asked: Sequence[Asked]) -> dict[str, float]:
    rules: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in asked:
        rules[one.item.kind].update(_right_rules(one.item))
    blind = sum(counts.most_common(1)[0][1] for counts in rules.values())
    right = {name: sum(one.said[name] == one.item.answer for one in asked) / len(asked) for name in SYSTEMS}
    half = 1.96 * math.sqrt(max(right["longwatch"] * (1 - right["longwatch"]), 1e-9) / len(asked))
    return {"questions": len(asked), **right, "blind": blind / len(asked), "plus_minus": half}


def _right_rules(item: Item) -> list[str]:
    """Rules for guessing without a picture that give the true answer to this question."""
    named = re.findall(r"the \w+ \w+", item.text)
    return [f"say {item.answer}", *(f"say name {i}" for i, name in enumerate(named) if name == item.answer)]


def render(table: dict[str, dict[str, float]]) -> list[str]:
    """The table as lines of Markdown."""
    lines = [
        "| questions | n | longwatch | ± 95 % | last 4 frames | last frame | blind |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in table.items():
        values = (row["longwatch"], row["plus_minus"], row["last 4"], row["last frame"], row["blind"])
        lines.append(f"| {name} | {row['questions']:.0f} | " + " | ".join(f"{100 * v:.0f} %" for v in values) + " |")
    return lines
