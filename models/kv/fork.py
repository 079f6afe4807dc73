"""A fork: what one question looks at. Shares every tensor of the memory it came from and writes none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from models.evidence import Attention, Stretch, shares, sightings
from models.kv.block import Block
from models.kv.budget import ANSWER_TOKENS, QUESTION_TOKENS
from models.kv.cold import Cold
from models.kv.ledger import uncovered
from models.kv.positions import contiguous
from models.kv.reading import SINKS, raw_query, replay
from models.kv.recall import about_past, named_span, pick
from models.kv.render import Slab
from models.prompt import Part, embed, note_text, now_text
from stream.flow import Evidence, Question, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from models.attention import Tail
    from models.kv.reach import Reach
    from models.kv.reading import Reader
    from models.kv.render import Rendered
    from models.rows import Rows

_MOST_HOLES = 4  # stretches named in words; evidence lists them all


class View:
    """One question's private reading of a `Reach`. Two device steps: `read` once, then `say` per token."""

    def __init__(self, question: Question, reach: Reach, reader: Reader) -> None:
        """Raises ValueError when the question is too long to be read."""
        self.question = question
        self.seen_s = reach.seen_s
        self.slab: Slab | None = reach.slab
        self.recalled: tuple[int, ...] = ()
        self._reach: Reach | None = reach
        self._reader = reader
        self._tail: Tail | None = None
        self._shown: Rendered | None = None
        self._position = 0
        self._stretches: list[Stretch] = []
        self._attention = Attention()
        self._usage = Usage()
        self._closed_because = ""
        self._asked_s = self._span()
        self._uncovered = self._holes()
        self._candidates = self._evicted()
        self._parts = self._prompt()
        self._capacity = sum(map(len, self._parts)) + self.most_tokens
        self.reserved = self._need()

    @property
    def most_tokens(self) -> int:
        """How long the answer may become, tokens."""
        return max(1, min(self.question.max_tokens, ANSWER_TOKENS))

    @torch.no_grad()
    def read(self) -> Tensor:
        """Recall if need be, read the prompt; hidden row (D,) that the first token of the answer comes from."""
        reach, backbone = self._live(), self._reader.backbone
        blocks, self._shown, self._position = self._gather(reach)
        embeds, _ = embed(self._parts, backbone.embedding)
        n = len(embeds)
        self._tail = backbone.tail(self._capacity)
        positions = range(self._position, self._position + n)
        words = len(self._parts[-1])
        hidden, reading = backbone.read(embeds, self._tail, positions, self._shown, watch=words)
        self._position += n
        self._stretches = self._map(reach, blocks)
        self._attention.note(reading.mass)
        self._usage = Usage(prompt_tokens=self._shown.tokens + n)
        if self._shown is not reach.rendered:
            self.slab = None
        self._reach, self._parts, self._candidates = None, [], ()  # read: the blocks may go when memory lets them go
        return hidden[-1]

    @torch.no_grad()
    def say(self, token: int) -> Tensor:
        """Read a token just said; hidden row (D,) that the next one comes from."""
        backbone, tail = self._reader.backbone, self._tail
        if self.closed:
            self._live()
        if tail is None:
            raise RuntimeError("A view must read its question before it says anything.")
        embeds = backbone.embedding(torch.tensor([token]))
        hidden, reading = backbone.read(embeds, tail, [self._position], self._shown, watch=1)
        self._position += 1
        self._attention.note(reading.mass)
        return hidden[-1]

    def count(self) -> None:
        """One more token was said."""
        self._usage = Usage(self._usage.prompt_tokens, self._usage.completion_tokens + 1)

    def evidence(self) -> Evidence:
        """What the pieces said so far rest on; also after `close`."""
        spans = [stretch.span_s for stretch in self._stretches]
        found = sightings(self._attention, self._stretches)
        seen = {sighting.block for sighting in found}
        return Evidence(
            sightings=found,
            covered_s=(min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None,
            uncovered_s=self._uncovered,
            newest_frame_s=self.seen_s,
            frames=sum(stretch.frames for stretch in self._stretches if stretch.block in seen),
        )

    def shares(self) -> dict[int, float]:
        """Attention by ledger id, for the use term of pruning."""
        return shares(self._attention, self._stretches)

    def usage(self) -> Usage:
        """Tokens read and said so far."""
        return self._usage

    def close(self, because: str = "the question is closed") -> None:
        """Give back what the fork holds; evidence and usage stay readable."""
        self._closed_because = self._closed_because or because
        self._reach = self._tail = self._shown = self.slab = None
        self._parts, self._candidates = [], ()
        self.reserved = 0

    @property
    def closed(self) -> bool:
        """Has everything been given back?"""
        return bool(self._closed_because)

    def reached(self) -> Iterator[Tensor]:
        """Tensors of blocks that this view keeps alive: all of them until it has read, then where they were seen."""
        if self._reach is not None:
            yield from self._reach.tensors()
        elif not self.closed:
            yield from (stretch.cells for stretch in self._stretches if stretch.block is not None)

    def _live(self) -> Reach:
        if self._reach is None:
            why = self._closed_because or "its question has been read"
            raise RuntimeError(f"This view cannot be read any more: {why}.")
        return self._reach

    def _span(self) -> tuple[float, float] | None:
        """Media time that the question asks about: its own `span_s`, or times named in its words."""
        if self.question.span_s is not None:
            return self.question.span_s
        epoch = self._reader.epoch
        wall = named_span(self.question.text, epoch.wall(self.seen_s), self._reader.zone)
        return None if wall is None else (epoch.media(wall[0]), epoch.media(wall[1]))

    def _holes(self) -> tuple[tuple[float, float], ...]:
        """Parts of the asked-for time that are not remembered in any tier."""
        if self._asked_s is None:
            return ()
        reach = self._live()
        held = [*reach.spans_s.values(), *(rows.span_s for rows, _ in reach.shown())]
        slack = max(2.0, (self._reader.config.segment_s or 0.0) / 2)
        return uncovered((self._asked_s[0], min(self._asked_s[1], self.seen_s)), held, slack)

    def _evicted(self) -> tuple[Block | Cold, ...]:
        """Blocks that may be called back for this question; none when it is about now."""
        reach, config = self._live(), self._reader.config
        if not config.recall or not config.recall_blocks:
            return ()
        gone: list[Block | Cold] = sorted([*reach.warm, *reach.cold], key=lambda block: block.id)
        if self._asked_s is not None:
            asked = [block for block in gone if self._asks_for(block.id)]
            if asked or self.question.span_s is not None:
                return tuple(asked)
        return tuple(gone) if about_past(self.question.text) else ()

    def _asks_for(self, block_id: int) -> bool:
        span = self._live().spans_s[block_id]
        return self._asked_s is None or (span[0] <= self._asked_s[1] and span[1] >= self._asked_s[0])

    def _instant(self) -> tuple[tuple[Rows, Tensor], ...]:
        """The last frames; none for a question whose own span ended before them."""
        instant, span = self._live().instant, self.question.span_s
        return instant if instant and (span is None or span[1] >= instant[0][0].span_s[0]) else ()

    def _opened(self) -> tuple[Rows, Tensor] | None:
        """The open segment, unless the question's own span does not touch it."""
        opened, span = self._live().opened, self.question.span_s
        if opened is None or span is None:
            return opened
        start, end = opened[0].span_s
        return opened if start <= span[1] and end >= span[0] else None

    def _prompt(self) -> list[Part]:
        """The private part of the sequence: open segment, instant window, the question's own words."""
        reader, opened = self._reader, self._opened()
        head = [] if opened is None else reader.layout.block(reader.stamp(opened[0].span_s), opened[1])
        wall = reader.epoch.wall
        tail = reader.layout.tail(
            now_text(wall(self.seen_s), reader.zone),
            [fused for _, fused in self._instant()],
            reader.backbone.newline,
            self.question.text,
            note_text([(wall(a), wall(b)) for a, b in self._uncovered[:_MOST_HOLES]], reader.zone),
        )
        if len(tail[-1]) > QUESTION_TOKENS:
            raise ValueError(
                f"The question has {len(tail[-1])} tokens; at most {QUESTION_TOKENS} can be read. Ask it shorter."
            )
        return head + tail

    def _need(self) -> int:
        """Bytes this fork may come to hold of its own."""
        backbone, config, reach = self._reader.backbone, self._reader.config, self._live()
        tokens = self._capacity
        if self._candidates or self.question.span_s is not None:
            recalled = sorted((_tokens(b, self._reader) for b in self._candidates), reverse=True)[
                : config.recall_blocks
            ]
            tokens += reach.rendered.tokens + sum(recalled)
        return tokens * backbone.token_bytes + reach.shown_bytes()

    def _gather(self, reach: Reach) -> tuple[list[Block], Rendered, int]:
        """What to attend to: the memory's own rendering, or a private one where blocks were added or left out."""
        kept = [b for b in reach.blocks if b.id == SINKS or self.question.span_s is None or self._asks_for(b.id)]
        found = self._recall(kept[0])
        if not found and len(kept) == len(reach.blocks):
            return kept, reach.rendered, reach.next
        self.recalled = tuple(block.id for block in found)
        blocks = [kept[0], *sorted([*kept[1:], *found], key=lambda block: block.id)]
        starts, position = contiguous(blocks)
        if self._reader.config.positions == "gap":  # evicted blocks find their old room
            starts, position = dict(reach.starts), reach.next
        slab = Slab(self._reader.backbone, sum(block.tokens for block in blocks))
        slab.append(blocks, [starts[block.id] for block in blocks])
        return blocks, slab.view(), position

    def _recall(self, sinks: Block) -> list[Block]:
        """The evicted blocks that speak to the question: WARM as they were, COLD read again."""
        if not self._candidates:
            return []
        backbone, layout, layer = self._reader.backbone, self._reader.layout, self._reader.sketch_layer
        chosen = list(range(len(self._candidates)))
        config = self._reader.config
        if len(chosen) > config.recall_blocks:
            keys = [_keys(block, layer) for block in self._candidates]
            asked = raw_query(backbone, sinks, layout.text_ids(self.question.text), layer)
            chosen = pick(asked, keys, backbone.head_dim**-0.5, config.recall_blocks, config.recall_heads or ())
        found = [self._candidates[i] for i in sorted(chosen)]
        exact = [block.to(backbone.like.device) for block in found if isinstance(block, Block)]
        return exact + replay(self._reader, sinks, [block for block in found if isinstance(block, Cold)])

    def _map(self, reach: Reach, blocks: Sequence[Block]) -> list[Stretch]:
        """Where each thing seen stands among the keys in reach."""
        cold = {block.id for block in self._candidates if isinstance(block, Cold)}
        found, at = [], 0
        for block in blocks:
            if block.id != SINKS:
                recalled: Any = ("cold" if block.id in cold else "warm") if block.id in self.recalled else ""
                span = reach.spans_s[block.id]
                frames = reach.frames[block.id]
                found.append(Stretch(at + block.rows_from, span, block.cells, block.grid, frames, block.id, recalled))
            at += block.tokens
        opened, instant = self._opened(), iter(self._instant())
        for part in self._parts:
            shown = opened if part.kind == "rows" else next(instant) if part.kind == "instant" else None
            if shown is not None:
                rows = shown[0]
                now = part.kind == "instant"
                found.append(Stretch(at, rows.span_s, rows.cells, rows.grid, rows.frames, None, instant=now))
            at += len(part)
        return found


def _keys(block: Block | Cold, layer: int) -> Tensor:
    return block.sketch if isinstance(block, Cold) else block.raw[layer, :, block.rows_from :]


def _tokens(block: Block | Cold, reader: Reader) -> int:
    if isinstance(block, Block):
        return block.tokens
    return len(block.mass) + (len(reader.layout.text_ids(block.stamp)) if reader.layout.stamps else 0)
