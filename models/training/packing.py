"""Packing: histories and their questions as one training sequence each.

All questions of a history share its context, read once; each sees the part of the context that is in its reach, and
itself, never the others, exactly as forks do. A question about a named time sees only that time, without the last
frames (`docs/decisions/0043-named-time-narrows-reach.md`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import accumulate
from typing import TYPE_CHECKING

import torch

from models.answerer import THEN
from models.prompt import Layout, Part
from models.training.attention import Tails

if TYPE_CHECKING:
    from torch import Tensor

    from models.training.histories import History


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """Where the parts of one history stand in its packed sequence."""

    context: int  # rows before the first question
    blocks: list[range]  # stamp and rows of each block
    rows: list[int]  # first row of each block's own rows, then of each instant frame's
    starts: list[int]  # first row of each question
    positions: list[int]  # of that row, for the rotation
    hidden: list[list[range]]  # per question: what of the context is out of its reach
    questions: list[tuple[int, ...]]  # token ids; a newline row before them where the last frames are out of reach
    leads: list[int]  # rows of a question before its words: that newline
    answers: list[tuple[int, ...]]

    @property
    def length(self) -> int:
        """Rows of context, questions and answers."""
        return self.context + sum(
            map(sum, zip(self.leads, map(len, self.questions), map(len, self.answers), strict=True))
        )


@dataclass(slots=True, eq=False)
class Packed:
    """A batch of packed sequences, padded to one length S: everything but what weights make of it."""

    ids: Tensor  # (B, S) words; 0 where there are none
    row_at: Tensor  # (n, 2) batch and place of all fused rows, in order: blocks, then instant frames
    newline_at: Tensor  # (k, 2) of newline rows
    positions: Tensor  # (B, S)
    tails: Tails  # who sees whom
    laid: list[Laid]
    answer_at: Tensor  # (m, 2) batch and row whose next token is an answer token
    answer_ids: Tensor  # (m,)
    owner: Tensor  # (m,) which question (over the whole batch) the answer token belongs to

    def to(self, device: torch.device) -> Packed:
        """The same there, without what only people and `looks` read."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "laid"}
        return Packed(**moved, laid=[])

    def embed(self, words: torch.nn.Module, fused: Tensor, newline: Tensor) -> Tensor:
        """(B, S, D) rows of the sequences, with the (n, D) fused tokens in their places."""
        embeds: Tensor = words(self.ids)
        lines = newline.to(embeds).expand(len(self.newline_at), -1)
        at = torch.cat([self.row_at, self.newline_at])
        return embeds.index_put((at[:, 0], at[:, 1]), torch.cat([fused.to(embeds), lines]))


class Packer:
    """Packs for one checkpoint's tokenizer and chat template. Knows no weights, so that other processes can do it."""

    def __init__(self, layout: Layout, end_id: int) -> None:
        self.layout, self.end_id = layout, end_id
        self._then = layout.tokenizer.get_vocab().get(THEN)

    def pack(self, histories: list[History]) -> Packed:
        """Context once, then every question with its answer."""
        parts: list[list[Part]] = []
        laid: list[Laid] = []
        at, ids, owner = [], [], []
        asked = 0
        for b, history in enumerate(histories):
            context, tails = self.lay_out(history)
            parts.append([*context, *(part for tail in tails for part in tail)])
            laid.append(_where(history, context, tails))
            for start, tail in zip(laid[-1].starts, tails, strict=True):
                answer = tail[-1].ids
                first = start + sum(map(len, tail[:-1])) - 1
                at += [(b, first + i) for i in range(len(answer))]
                ids += list(answer)
                owner += [asked] * len(answer)
                asked += 1
        return _pad(parts, laid, torch.tensor(at), torch.tensor(ids), torch.tensor(owner))

    def lay_out(self, history: History) -> tuple[list[Part], list[list[Part]]]:
        """The parts of one history: the shared context, and question and answer of each item. Rows are not fused."""
        newline = torch.zeros(1)  # only that there is one counts here
        context = self.layout.prefix()
        for block in history.blocks:
            context += self.layout.block(history.stamp(block), block.rows.embeds)
        context += self.layout.tail(history.now, [rows.embeds for rows in history.instant], newline, "")[:-1]
        tails = []
        for item, note in zip(history.items, history.notes, strict=True):
            lead = [] if item.span is None else [Part("newline", embeds=newline.unsqueeze(0))]
            question = Part("question", self.layout.question_ids(item.text, note))
            tails.append([*lead, question, Part("answer", self._answer(item.answer))])
        return context, tails

    def _answer(self, text: str) -> tuple[int, ...]:
        if text == THEN and self._then is not None:  # one token that points, not the letters of its name
            return self._then, self.end_id
        return self.layout.answer(text, self.end_id)[0].ids


def _where(history: History, context: list[Part], tails: list[list[Part]]) -> Laid:
    firsts = list(accumulate((len(part) for part in context), initial=0))
    shown = [i for i, part in enumerate(context) if part.kind in ("rows", "instant")]
    count = len(history.blocks)
    blocks = [
        range(firsts[i - 1] if context[i - 1].kind == "stamp" else firsts[i], firsts[i + 1]) for i in shown[:count]
    ]
    starts = list(accumulate((sum(map(len, tail)) for tail in tails), initial=firsts[-1]))
    after = range(blocks[-1].stop if blocks else firsts[1], firsts[-1])  # the last frames and what leads them
    hidden, positions = [], []
    for item, reach in zip(history.items, history.reach, strict=True):
        out = [block for i, block in enumerate(blocks) if i not in reach]
        hidden.append(out if item.span is None else [*out, after])
        positions.append(firsts[-1] if item.span is None else max(blocks[i].stop for i in reach))
    return Laid(
        context=firsts[-1],
        blocks=blocks,
        rows=[firsts[i] for i in shown],
        starts=starts[:-1],
        positions=positions,
        hidden=hidden,
        questions=[tail[-2].ids for tail in tails],
        leads=[len(tail) - 2 for tail in tails],
        answers=[tail[-1].ids for tail in tails],
    )


def _pad(parts: list[list[Part]], laid: list[Laid], at: Tensor, ids: Tensor, owner: Tensor) -> Packed:
    longest = max(sum(map(len, its)) for its in parts)
    words = torch.zeros(len(parts), longest, dtype=torch.long)
    rows: list[tuple[int, int]] = []
    lines: list[tuple[int, int]] = []
    for b, its in enumerate(parts):
        for part, first in zip(its, accumulate(map(len, its), initial=0), strict=False):
            if part.embeds is None:
                words[b, first : first + len(part)] = torch.tensor(part.ids)
            else:
                (lines if part.kind == "newline" else rows).extend((b, first + i) for i in range(len(part)))
    positions = torch.zeros(len(parts), longest, dtype=torch.long)
    for b, one in enumerate(laid):
        positions[b, : one.context] = torch.arange(one.context)
        for start, end, first in zip(one.starts, [*one.starts[1:], one.length], one.positions, strict=True):
            positions[b, start:end] = torch.arange(first, first + end - start)
    tails = Tails([one.context for one in laid], [[*one.starts, one.length] for one in laid], [x.hidden for x in laid])
    return Packed(words, _pairs(rows), _pairs(lines), positions, tails, laid, at, ids, owner)


def _pairs(found: list[tuple[int, int]]) -> Tensor:
    return torch.tensor(found, dtype=torch.long).view(-1, 2)
