"""Histories: runs laid end to end, with clock times, questions and answers: what is in memory when questions come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.kv.ledger import uncovered
from models.kv.spans import belongs
from models.prompt import block_text, note_text, now_text
from models.rows import Rows
from models.training.lessons import Item, Teacher

if TYPE_CHECKING:
    from torch import Tensor

    from models.cross_dynamics import CrossDynamics
    from models.training.tokens import Moment, RunTokens

# How much each of some blocks' rows looks like what a question names, 0..1; all 0 where it names nothing.
Rank = Callable[["Item", "Sequence[Rows]"], "Sequence[float]"]

HOT, RECALLED = 12, 22  # blocks in reach of a question: the newest, and older ones that recall would find
PRESENT = 0  # of one about this moment, beside the last frames; the open segment is one
OFTENER = {"when": 4.0, "seen": 2.0, "past_where": 2.0, "order": 2.0}  # kinds where many likes mislead (docs/LOG.md)
ALIKE = 0.3  # a row that fits less well does not show what is asked for
BY_CHANCE = 0.25  # of those recalled where nothing tells more: recall errs
_DAY_S = 86_400
_SLACK_S = 5.0  # as `models/kv/scope.py` has it for segments of 10 s


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


def compose(
    runs: list[RunTokens], teacher: Teacher, rng: np.random.Generator, earlier: int, questions: int, rank: Rank
) -> History:
    """`earlier` whole runs, then one up to one of its moments; questions about all of it."""
    blocks, asked, now_s, wall_s, moment = _lived(runs, teacher, rng, earlier, questions)
    return _reached(blocks, now_s, wall_s, moment.instant, asked, rng, rank)


def look_back(
    runs: list[RunTokens], teacher: Teacher, rng: np.random.Generator, earlier: int, questions: int, rank: Rank
) -> History:
    """Hours: many runs, few questions about what was, and of the many blocks only those that one of them can look at.

    What is like the thing asked for is in reach and what never was there has its likes: as recall brings them.
    """
    blocks, asked, now_s, wall_s, moment = _lived(runs, teacher, rng, earlier, 4 * questions)
    chosen = _hardest([item for item in asked if item.mode == "past"], questions, rng)
    return _only_reached(_reached(blocks, now_s, wall_s, moment.instant, chosen, rng, rank))


def _hardest(items: Sequence[Item], most: int, rng: np.random.Generator) -> list[Item]:
    """Some of them, those oftener that take hours to go wrong."""
    share = np.array([OFTENER.get(item.kind, 1.0) for item in items])
    count = min(most, len(items))
    return [items[int(i)] for i in rng.choice(len(items), count, replace=False, p=share / share.sum())] if count else []


def _lived(
    runs: list[RunTokens], teacher: Teacher, rng: np.random.Generator, earlier: int, questions: int
) -> tuple[list[Seen], Sequence[Item], float, float, Moment]:
    """Runs laid end to end: blocks, questions, now, the wall clock at second 0, and the moment at which it is now."""
    chosen = [runs[int(i)] for i in rng.choice(len(runs), size=earlier + 1, replace=False)]
    moment = chosen[-1].moments[int(rng.integers(len(chosen[-1].moments)))]
    wall_s, blocks, seen, offset = float(rng.integers(0, _DAY_S)), list[Seen](), [], 0.0
    for run in chosen[:-1]:
        blocks += [_moved(rows, offset) for rows in run.segments]
        seen.append((run.truth, offset, run.seconds))
        offset += run.seconds + _pause_s(rng)
    blocks += [_moved(rows, offset, moment.now_s) for rows in chosen[-1].segments[: moment.closed]]
    if moment.open is not None and moment.open.frames > len(moment.instant):  # as `Memory` shows it
        blocks.append(_moved(moment.open, offset))
    seen.append((chosen[-1].truth, offset, moment.now_s))
    now_s = offset + moment.now_s
    return blocks, teacher.ask(seen, now_s, int(rng.integers(1 << 31)), questions, wall_s), now_s, wall_s, moment


def glance(
    runs: list[RunTokens], teacher: Teacher, rng: np.random.Generator, questions: int, frames: int = 1
) -> History | None:
    """The newest frames and questions about now: where things are learned to be found. None where nothing was asked."""
    run = runs[int(rng.integers(len(runs)))]
    moment = run.moments[int(rng.integers(len(run.moments)))]
    wall_s = float(rng.integers(0, _DAY_S))
    asked = teacher.ask([(run.truth, 0.0, moment.now_s)], moment.now_s, int(rng.integers(1 << 31)), 2 * questions)
    items = [item for item in asked if item.mode == "present"][:questions]
    if len(items) < 3:
        return None
    return _reached([], moment.now_s, wall_s, moment.instant[-frames:], items, rng, lambda _item, _blocks: [])


def _reached(
    blocks: list[Seen],
    now_s: float,
    wall_s: float,
    instant: list[Rows],
    items: Sequence[Item],
    rng: np.random.Generator,
    rank: Rank,
) -> History:
    """Each question with the blocks it can look at; without those that nothing in reach could answer."""
    asked, reach, notes = [], [], []
    for item in items:
        if item.mode == "present":
            found: frozenset[int] | None = _newest(blocks)
        elif item.span is None:
            found = _at_hand(blocks, item, rng, rank)
        else:
            found = frozenset(i for i, block in enumerate(blocks) if belongs(block.span_s, item.span))
            found = found or None
        if found is None:
            continue
        asked.append(item)
        reach.append(found)
        notes.append("" if item.span is None else _note(blocks, item.span, wall_s))
    return History(blocks, now_s, wall_s, instant, asked, reach, notes)


def _newest(blocks: list[Seen]) -> frozenset[int]:
    """What a question about this moment reads beside the last frames."""
    return frozenset(range(max(0, len(blocks) - PRESENT), len(blocks)))


def _at_hand(blocks: list[Seen], item: Item, rng: np.random.Generator, rank: Rank) -> frozenset[int] | None:
    """All blocks, or the newest and those that recall would find: what tells, then what is like it, some by chance.

    None where more would be needed than are recalled.
    """
    if len(blocks) <= HOT + RECALLED:
        return frozenset(range(len(blocks)))
    older = range(len(blocks) - HOT)
    alike = np.asarray(rank(item, [blocks[i].rows for i in older]), dtype=float)
    a, b = item.evidence_span if item.there else (np.inf, -np.inf)
    during = np.array([blocks[i].span_s[0] <= b and blocks[i].span_s[1] >= a for i in older])
    telling = during & (alike >= ALIKE) if item.named and (during & (alike >= ALIKE)).any() else during
    if len(item.shown) > 1 and telling.sum() > RECALLED:
        return None
    chance = np.where(rng.random(len(alike)) < BY_CHANCE, rng.random(len(alike)), 0.0)
    first = np.argsort(-(2.0 * telling + np.maximum(alike, chance)), kind="stable")[:RECALLED]
    return frozenset([*first.tolist(), *range(len(blocks) - HOT, len(blocks))])


def _only_reached(history: History) -> History:
    """Without the blocks that no question looks at."""
    kept = sorted(frozenset().union(*history.reach))
    place = {old: new for new, old in enumerate(kept)}
    reach = [frozenset(place[i] for i in its) for its in history.reach]
    return replace(history, blocks=[history.blocks[i] for i in kept], reach=reach)


def _note(blocks: list[Seen], span: tuple[float, float], wall_s: float) -> str:
    holes = uncovered(span, [block.span_s for block in blocks], _SLACK_S)
    return note_text([(wall_s + a, wall_s + b) for a, b in holes], UTC)


def _pause_s(rng: np.random.Generator) -> float:
    """Nothing was watched in between: mostly a moment, sometimes hours."""
    longest = float(rng.choice((20.0, 300.0, 20_000.0), p=(0.6, 0.25, 0.15)))
    return float(rng.uniform(0.5, longest))


def _moved(rows: Rows, by_s: float, until_s: float = np.inf) -> Seen:
    """Later by so much; what lasted longer than until then has not done so yet."""
    return Seen((rows.span_s[0] + by_s, min(rows.span_s[1], until_s) + by_s), rows)


@dataclass(slots=True, eq=False)
class Shown:
    """The rows of some histories, in order (blocks, then instant frames), in batches of as many rows each."""

    groups: list[tuple[Tensor, Tensor, Tensor]]  # (R, F, D) half, (R, F, MOTION_FEATURES) half, (R, F) mass
    order: Tensor  # (n,) place of each row among all rows of the groups

    @classmethod
    def of(cls, histories: list[History]) -> Shown:
        """All rows of the histories."""
        every = [rows for h in histories for rows in [*(block.rows for block in h.blocks), *h.instant]]
        sizes: dict[int, list[int]] = {}
        for index, rows in enumerate(every):
            sizes.setdefault(len(rows.embeds), []).append(index)
        groups, firsts, first = [], [0] * len(every), 0
        for size, members in sizes.items():
            its = [every[i] for i in members]
            parts = [r.embeds.half() for r in its], [r.motion.half() for r in its], [r.mass.float() for r in its]
            groups.append((torch.stack(parts[0]), torch.stack(parts[1]), torch.stack(parts[2])))
            for index in members:
                firsts[index] = first
                first += size
        order = [torch.arange(at, at + len(rows.embeds)) for at, rows in zip(firsts, every, strict=True)]
        return cls(groups, torch.cat(order))

    def to(self, device: torch.device) -> Shown:
        """The same there."""
        moved = [(a.to(device), b.to(device), c.to(device)) for a, b, c in self.groups]
        return Shown(moved, self.order.to(device))

    @property
    def motion(self) -> Tensor:
        """(n, MOTION_FEATURES) in order."""
        return torch.cat([motion.flatten(0, 1) for _, motion, _ in self.groups])[self.order]

    def fuse(self, dynamics: CrossDynamics) -> Tensor:
        """(n, D) fused tokens in order."""
        found = [dynamics.mix(e.float(), m.float(), mass).flatten(0, 1) for e, m, mass in self.groups]
        return torch.cat(found)[self.order]
