"""Histories: runs laid end to end, with clock times, questions and answers: what is in memory when questions come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.kv.ledger import uncovered
from models.kv.spans import belongs
from models.prompt import block_text, note_text, now_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from models.cross_dynamics import CrossDynamics
    from models.rows import Rows
    from models.training.lessons import Item, Teacher
    from models.training.tokens import RunTokens

AT_HAND = 20  # blocks in reach of a question, hot and recalled together: what is beyond is left out at random
_DAY_S = 86_400
_SLACK_S = 4.0  # as `models/kv/fork.py` has it for segments of 8 s


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One block: when, and its rows."""

    span_s: tuple[float, float]  # s of the history
    rows: Rows


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """What is in memory when the questions come. `wall_s`: Unix time of second 0."""

    blocks: list[Seen]  # oldest first; the last may be the open segment
    now_s: float
    wall_s: float
    instant: list[Rows]
    items: Sequence[Item]
    reach: list[frozenset[int]]  # per item: which blocks it can look at
    notes: list[str]  # per item: what leads its question

    @property
    def now(self) -> str:
        """Time stamp that leads the instant window."""
        return now_text(self.wall_s + self.now_s, UTC)

    def stamp(self, block: Seen) -> str:
        """Time stamp that leads a block."""
        return block_text((self.wall_s + block.span_s[0], self.wall_s + block.span_s[1]), UTC)


def compose(runs: list[RunTokens], teacher: Teacher, rng: np.random.Generator, earlier: int, questions: int) -> History:
    """`earlier` whole runs, then one up to one of its moments; questions about all of it."""
    chosen = [runs[int(i)] for i in rng.choice(len(runs), size=earlier + 1, replace=False)]
    moment = chosen[-1].moments[int(rng.integers(len(chosen[-1].moments)))]
    wall_s, blocks, seen, offset = float(rng.integers(0, _DAY_S)), list[Seen](), [], 0.0
    for run in chosen[:-1]:
        blocks += [_moved(rows, offset) for rows in run.segments]
        seen.append((run.truth, offset, run.seconds))
        offset += run.seconds + _pause_s(rng)
    blocks += [_moved(rows, offset) for rows in chosen[-1].segments[: moment.closed]]
    if moment.open is not None and moment.open.frames > len(moment.instant):  # as `Memory` shows it
        blocks.append(_moved(moment.open, offset))
    seen.append((chosen[-1].truth, offset, moment.now_s))
    now_s = offset + moment.now_s
    items = teacher.ask(seen, now_s, int(rng.integers(1 << 31)), questions, wall_s)
    return _reached(blocks, now_s, wall_s, moment.instant, items, rng)


def glance(
    runs: list[RunTokens], teacher: Teacher, rng: np.random.Generator, questions: int, frames: int = 1
) -> History | None:
    """The newest frames and questions about now: where things are learned to be found. None where nothing was asked."""
    run = runs[int(rng.integers(len(runs)))]
    moment = run.moments[int(rng.integers(len(run.moments)))]
    wall_s = float(rng.integers(0, _DAY_S))
    asked = teacher.ask([(run.truth, 0.0, moment.now_s)], moment.now_s, int(rng.integers(1 << 31)), 2 * questions)
    items = [item for item in asked if item.mode == "present"][:questions]
    return _reached([], moment.now_s, wall_s, moment.instant[-frames:], items, rng) if len(items) > 2 else None


def _reached(
    blocks: list[Seen],
    now_s: float,
    wall_s: float,
    instant: list[Rows],
    items: Sequence[Item],
    rng: np.random.Generator,
) -> History:
    """Each question with the blocks it can look at; without those about a time of which no block is left."""
    asked, reach, notes = [], [], []
    for item in items:
        if item.span is None:
            found = _at_hand(blocks, item, rng)
        else:
            found = frozenset(i for i, block in enumerate(blocks) if belongs(block.span_s, item.span))
            if not found:
                continue
        asked.append(item)
        reach.append(found)
        notes.append("" if item.span is None else _note(blocks, item.span, wall_s))
    return History(blocks, now_s, wall_s, instant, asked, reach, notes)


def _at_hand(blocks: list[Seen], item: Item, rng: np.random.Generator) -> frozenset[int]:
    """All blocks, or as many as are at hand or recalled: the newest half, what tells the answer, others by chance."""
    if len(blocks) <= AT_HAND:
        return frozenset(range(len(blocks)))
    a, b = item.evidence_span if item.there else (np.inf, -np.inf)
    kept = {i for i, block in enumerate(blocks) if block.span_s[0] <= b and block.span_s[1] >= a}
    kept = set(rng.permutation(sorted(kept))[: AT_HAND // 2].tolist())
    kept |= set(range(len(blocks) - AT_HAND // 2, len(blocks)))
    others = rng.permutation([i for i in range(len(blocks)) if i not in kept])
    return frozenset(kept | set(others[: AT_HAND - len(kept)].tolist()))


def _note(blocks: list[Seen], span: tuple[float, float], wall_s: float) -> str:
    holes = uncovered(span, [block.span_s for block in blocks], _SLACK_S)
    return note_text([(wall_s + a, wall_s + b) for a, b in holes], UTC)


def _pause_s(rng: np.random.Generator) -> float:
    """Nothing was watched in between: mostly a moment, sometimes hours."""
    longest = float(rng.choice((20.0, 300.0, 20_000.0), p=(0.6, 0.25, 0.15)))
    return float(rng.uniform(0.5, longest))


def _moved(rows: Rows, by_s: float) -> Seen:
    return Seen((rows.span_s[0] + by_s, rows.span_s[1] + by_s), rows)


def fuse(histories: list[History], dynamics: CrossDynamics) -> list[list[Tensor]]:
    """Fused tokens of all rows of each history, blocks then instant frames, in one batched call."""
    shown = [[*(block.rows for block in h.blocks), *h.instant] for h in histories]
    every = [rows for its in shown for rows in its]
    most = max(len(rows.embeds) for rows in every)
    pad = torch.nn.functional.pad
    embeds = torch.stack([pad(r.embeds.float(), (0, 0, 0, most - len(r.embeds))) for r in every])
    motion = torch.stack([pad(r.motion.float(), (0, 0, 0, most - len(r.motion))) for r in every])
    mass = torch.stack([pad(r.mass, (0, most - len(r.mass))) for r in every])
    device = dynamics.gate.device
    fused = iter(zip(dynamics.mix(embeds.to(device), motion.to(device), mass.to(device)), every, strict=True))
    return [[row[: len(r.embeds)] for row, r in (next(fused) for _ in its)] for its in shown]
