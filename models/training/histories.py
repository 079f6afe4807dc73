"""Histories: runs laid end to end, with clock times, questions and answers, as one packed training sequence.

All questions of a history share its context; each sees the context and itself, never the others, exactly as forks do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.prompt import Layout, Part, block_text, now_text
from models.rows import Rows
from models.training.attention import Tails

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from models.cross_dynamics import CrossDynamics
    from models.training.lessons import Item, Teacher
    from models.training.tokens import RunTokens


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """What is in memory when the questions come."""

    blocks: list[tuple[str, Rows]]  # stamp and rows, oldest first; the last may be the open segment
    now: str
    instant: list[Rows]
    items: Sequence[Item]


def compose(runs: list[RunTokens], teacher: Teacher, rng: np.random.Generator, earlier: int, questions: int) -> History:
    """`earlier` whole runs, then one up to one of its moments; questions about all of it."""
    chosen = [runs[int(i)] for i in rng.choice(len(runs), size=earlier + 1, replace=False)]
    moment = chosen[-1].moments[int(rng.integers(len(chosen[-1].moments)))]
    wall, blocks, seen = float(rng.integers(0, 86400)), [], []
    offset = 0.0
    for run in chosen[:-1]:
        blocks += [_stamped(rows, wall + offset) for rows in run.segments]
        seen.append((run.truth, offset, run.seconds))
        offset += run.seconds + float(rng.uniform(0.5, 20.0))
    blocks += [_stamped(rows, wall + offset) for rows in chosen[-1].segments[: moment.closed]]
    if moment.open is not None and moment.open.frames > len(moment.instant):  # as `Memory` shows it
        blocks.append(_stamped(moment.open, wall + offset))
    seen.append((chosen[-1].truth, offset, moment.now_s))
    now_s = offset + moment.now_s
    items = teacher.ask(seen, now_s, int(rng.integers(1 << 31)), questions)
    return History(blocks, now_text(wall + now_s, UTC), moment.instant, items)


def glance(runs: list[RunTokens], teacher: Teacher, rng: np.random.Generator, questions: int) -> History | None:
    """One frame and questions about it: where the language part learns to find things. None where nothing was asked."""
    run = runs[int(rng.integers(len(runs)))]
    moment = run.moments[int(rng.integers(len(run.moments)))]
    wall = float(rng.integers(0, 86400))
    asked = teacher.ask([(run.truth, 0.0, moment.now_s)], moment.now_s, int(rng.integers(1 << 31)), 2 * questions)
    items = [item for item in asked if item.mode == "present"][:questions]
    return History([], now_text(wall + moment.now_s, UTC), moment.instant[-1:], items) if len(items) > 2 else None


def _stamped(rows: Rows, wall_s: float) -> tuple[str, Rows]:
    return block_text((wall_s + rows.span_s[0], wall_s + rows.span_s[1]), UTC), rows


def fuse(histories: list[History], dynamics: CrossDynamics) -> list[list[Tensor]]:
    """Fused tokens of all rows of each history, blocks then instant frames, in one batched call."""
    every = [rows for h in histories for rows in [*(r for _, r in h.blocks), *h.instant]]
    most = max(len(rows.embeds) for rows in every)
    pad = torch.nn.functional.pad
    embeds = torch.stack([pad(r.embeds.float(), (0, 0, 0, most - len(r.embeds))) for r in every])
    motion = torch.stack([pad(r.motion.float(), (0, 0, 0, most - len(r.motion))) for r in every])
    mass = torch.stack([pad(r.mass, (0, most - len(r.mass))) for r in every])
    fused = iter(zip(dynamics.mix(embeds, motion, mass), every, strict=True))
    return [
        [row[: len(r.embeds)] for row, r in (next(fused) for _ in range(len(h.blocks) + len(h.instant)))]
        for h in histories
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """Where the parts of one history stand in its packed sequence."""

    context: int  # rows before the first question
    rows: list[int]  # first row of each block and of each instant frame
    starts: list[int]  # first row of each question
    questions: list[tuple[int, ...]]  # token ids
    answers: list[tuple[int, ...]]

    @property
    def length(self) -> int:
        """Rows of context, questions and answers."""
        return self.context + sum(map(len, (*self.questions, *self.answers)))


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """A batch of packed sequences, padded to one length S."""

    embeds: Tensor  # (B, S, D)
    tails: Tails  # who sees whom
    positions: Tensor  # (B, S)
    laid: list[Laid]
    answer_at: Tensor  # (n, 2) batch and row whose next token is an answer token
    answer_ids: Tensor  # (n,)
    owner: Tensor  # (n,) which question (over the whole batch) the answer token belongs to


def pack(
    histories: list[History],
    fused: list[list[Tensor]],
    layout: Layout,
    embedding: torch.nn.Module,
    *,
    newline: Tensor,
    end_id: int,
) -> Packed:
    """Context once, then every question with its answer."""
    rows: list[Tensor] = []
    laid: list[Laid] = []
    at, ids, owner = [], [], []
    asked = 0
    for b, (history, tokens) in enumerate(zip(histories, fused, strict=True)):
        context, tails = lay_out(history, tokens, layout, newline, end_id)
        pieces = [*context, *(part for tail in tails for part in tail)]
        rows.append(_embed(pieces, embedding))
        laid.append(_where(context, tails))
        for start, (question, answer) in zip(laid[-1].starts, tails, strict=True):
            first = start + len(question) - 1
            at += [(b, first + i) for i in range(len(answer))]
            ids += list(answer.ids)
            owner += [asked] * len(answer)
            asked += 1
    return _pad(rows, laid, torch.tensor(at), torch.tensor(ids), torch.tensor(owner))


def _where(context: list[Part], tails: list[tuple[Part, Part]]) -> Laid:
    firsts = list(accumulate((len(part) for part in context), initial=0))
    shown = [first for first, part in zip(firsts, context, strict=False) if part.kind in ("rows", "instant")]
    starts = list(accumulate((len(question) + len(answer) for question, answer in tails), initial=firsts[-1]))
    return Laid(firsts[-1], shown, starts[:-1], [question.ids for question, _ in tails], [a.ids for _, a in tails])


def lay_out(
    history: History, tokens: list[Tensor], layout: Layout, newline: Tensor, end_id: int
) -> tuple[list[Part], list[tuple[Part, Part]]]:
    """The parts of one history: the shared context, and question and answer of each item."""
    count = len(history.blocks)
    context = layout.prefix()
    for (stamp, _), block in zip(history.blocks, tokens[:count], strict=True):
        context += layout.block(stamp, block)
    context += layout.tail(history.now, tokens[count:], newline, "")[:-1]
    tails = [(Part("question", layout.question_ids(i.text)), layout.answer(i.answer, end_id)[0]) for i in history.items]
    return context, tails


def _embed(parts: list[Part], embedding: torch.nn.Module) -> Tensor:
    ids = torch.tensor([i for part in parts for i in part.ids], dtype=torch.long)
    words = embedding(ids)
    rows, at = [], 0
    for part in parts:
        if part.embeds is None:
            rows.append(words[at : at + len(part.ids)])
            at += len(part.ids)
        else:
            rows.append(part.embeds)
    return torch.cat(rows)


def _pad(rows: list[Tensor], laid: list[Laid], at: Tensor, ids: Tensor, owner: Tensor) -> Packed:
    longest = max(len(r) for r in rows)
    embeds = torch.stack([torch.nn.functional.pad(r, (0, 0, 0, longest - len(r))) for r in rows])
    positions = torch.zeros(len(rows), longest, dtype=torch.long)
    for b, one in enumerate(laid):
        positions[b, : one.context] = torch.arange(one.context)
        for start, question, answer in zip(one.starts, one.questions, one.answers, strict=True):
            count = len(question) + len(answer)
            positions[b, start : start + count] = torch.arange(one.context, one.context + count)
    tails = Tails([one.context for one in laid], [[*one.starts, one.length] for one in laid])
    return Packed(embeds, tails, positions, laid, at, ids, owner)
