"""A fork: what one question looks at. Shares every tensor of the memory it came from and writes none of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from models.depth import beyond
from models.evidence import Attention, Stretch, meant, moment_s, shares, sightings
from models.inner.focus import Focus
from models.kv.budget import ANSWER_TOKENS, QUESTION_TOKENS
from models.kv.closer import Closer, fits, own_tokens
from models.kv.cold import Cold
from models.kv.positions import contiguous
from models.kv.reading import SINKS, raw_query, replay
from models.kv.recall import pick
from models.kv.render import Slab
from models.kv.scope import scope_of
from models.prompt import Part, clock_text, embed, note_text, now_text
from stream.flow import Evidence, Question, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from models.attention import Reading, Tail
    from models.kv.block import Block
    from models.kv.packed import Packed
    from models.kv.reach import Reach
    from models.kv.reading import Reader
    from models.kv.render import Rendered
    from models.kv.scope import Scope

_MOST_HOLES = 4  # stretches named in words; evidence lists them all


class View:
    """One question's private reading of a `Reach`. Two device steps: `read` once, then `say` per token."""

    def __init__(self, question: Question, reach: Reach, reader: Reader) -> None:
        """Raises ValueError when the question is too long to be read."""
        self.question = question
        self.seen_s = reach.seen_s
        self.depth = reach.depth
        self.slab: Slab | None = reach.slab
        self.recalled: tuple[int, ...] = ()
        self._reach: Reach | None = reach
        self._reader = reader
        self._tail: Tail | None = None
        self._shown: Rendered | None = None
        self._closer: Closer | None = None  # where a head points and the question is short enough
        self._focus: Focus | None = None  # where something acts inside the language model
        self._position = 0
        self._stretches: list[Stretch] = []
        self._attention = Attention()
        self._look: Tensor | None = None  # (keys,) where the checkpoint's pointing head looked last
        self._meant: Stretch | None = None  # what a moment that was said was read off
        self._usage, self._closed_because = Usage(), ""
        self._scope: Scope | None = (scope := scope_of(question, reach, reader))
        self._uncovered = scope.uncovered_s
        self._parts = self._prompt(scope)
        self._capacity = sum(map(len, self._parts)) + self.most_tokens
        self.reserved = self._need(reach, scope)

    @property
    def most_tokens(self) -> int:
        """How long the answer may become, tokens."""
        return max(1, min(self.question.max_tokens, ANSWER_TOKENS))

    @torch.no_grad()
    def read(self) -> Tensor:
        """Recall if need be, read the prompt; hidden row (D,) that the first token of the answer comes from."""
        (reach, scope), backbone = self._live(), self._reader.backbone
        blocks, starts, self._shown, self._position = self._gather(reach, scope)
        embeds, _ = embed(self._parts, backbone.embedding)
        n = len(embeds)
        self._tail = backbone.tail(self._capacity)
        self._stretches = self._map(reach, scope, blocks)
        self._focus = self._focused([starts[b.id] + i for b in blocks for i in range(b.tokens)], n)
        hidden, reading = self._pass(embeds, len(self._parts[-1]))
        if self._focus is not None:
            self._focus.settle(self._tail)
        self._note(reading)
        if reading.look is not None and fits(self._parts):
            self._closer = Closer(backbone, self._shown, blocks, starts, self._parts)
        self._usage = Usage(prompt_tokens=self._shown.tokens + n)
        if self._shown is not reach.rendered:
            self.slab = None
        self._reach, self._scope, self._parts = None, None, []  # read: the blocks may go when memory lets them go
        return hidden[-1]

    @torch.no_grad()
    def say(self, token: int) -> Tensor:
        """Read a token just said; hidden row (D,) that the next one comes from."""
        if self.closed:
            self._live()
        hidden, reading = self._pass(self._reader.backbone.embedding(torch.tensor([token])), 1)
        self._note(reading)
        return hidden[-1]

    def count(self) -> None:
        """One more token was said."""
        self._usage = Usage(self._usage.prompt_tokens, self._usage.completion_tokens + 1)

    def pointed(self, agrees: Callable[[Tensor], bool] | None = None) -> float | None:
        """Media time of what the pointing head looked at in the row last read; None without such a head or sight.

        `agrees`: whether a hidden row (D,) would say the same of a block that were all that was seen; None: unasked.
        """
        closer, longest_s = self._closer, self._reader.config.segment_s or math.inf
        shows = None if agrees is None or closer is None else lambda block: agrees(closer.read(block))
        found = None if self._look is None else meant(self._look, self._stretches, shows)
        if found is None:
            return None
        self._meant = found
        return moment_s(found, longest_s)

    def clock(self, time_s: float) -> str:
        """A media time as the clock that this memory's stamps show."""
        return clock_text(self._reader.epoch.wall(time_s), self._reader.zone)

    def evidence(self) -> Evidence:
        """What the pieces said so far rest on; also after `close`."""
        spans = [stretch.span_s for stretch in self._stretches]
        found = sightings(self._attention.resting_on(self._meant), self._stretches)
        seen = {sighting.block for sighting in found}
        return Evidence(
            sightings=found,
            covered_s=(min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None,
            uncovered_s=self._uncovered,
            newest_frame_s=self.seen_s,
            frames=sum(stretch.frames for stretch in self._stretches if stretch.block in seen),
            depth_score=self.depth,
            out_of_depth=beyond(self.depth),
        )

    def shares(self) -> dict[int, float]:
        """Attention by ledger id, for the use term of pruning."""
        return shares(self._attention, self._stretches)

    def usage(self) -> Usage:
        """Tokens read and said so far."""
        return self._usage

    @property
    def attended(self) -> tuple[int, ...]:
        """Keys that the newest row looked at, by layer; empty before the question is read and after `close`."""
        if self._tail is None or self._shown is None:
            return ()
        if self._focus is not None:
            return tuple(self._focus.attended)
        return (self._shown.tokens + self._tail.length,) * self._reader.backbone.layers

    def close(self, because: str = "the question is closed") -> None:
        """Give back what the fork holds; evidence and usage stay readable."""
        self._closed_because = self._closed_because or because
        self._reach = self._scope = self._tail = self._shown = self._closer = self._focus = self.slab = None
        self._parts, self.reserved = [], 0

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

    def _live(self) -> tuple[Reach, Scope]:
        if self._reach is None or self._scope is None:
            why = self._closed_because or "its question has been read"
            raise RuntimeError(f"This view cannot be read any more: {why}.")
        return self._reach, self._scope

    def _pass(self, embeds: Tensor, watch: int) -> tuple[Tensor, Reading]:
        """Read new rows (n, D) at the next positions; the attention of the last `watch` is noted."""
        if self._tail is None:
            raise RuntimeError("A view must read its question before it says anything.")
        found = self._reader.backbone.read(
            embeds,
            self._tail,
            range(self._position, self._position + len(embeds)),
            self._shown,
            watch=watch,
            pointer=self._reader.config.pointer,
            focus=self._focus,
        )
        self._position += len(embeds)
        return found

    def _note(self, reading: Reading) -> None:
        """What was looked at: by the head that a checkpoint names for it, else the mean over all heads."""
        self._attention.note(reading.mass if reading.look is None else reading.look)
        self._look = reading.look

    def _prompt(self, scope: Scope) -> list[Part]:
        """The private part of the sequence: open segment, instant window, the question's own words."""
        reader, opened = self._reader, scope.opened
        head = [] if opened is None else reader.layout.block(reader.stamp(opened[0].span_s), opened[1])
        wall = reader.epoch.wall
        tail = reader.layout.tail(
            now_text(wall(self.seen_s), reader.zone),
            [fused for _, fused in scope.instant],
            reader.backbone.newline,
            self.question.text,
            note_text([(wall(a), wall(b)) for a, b in self._uncovered[:_MOST_HOLES]], reader.zone),
        )
        if len(tail[-1]) > QUESTION_TOKENS:
            raise ValueError(
                f"The question has {len(tail[-1])} tokens; at most {QUESTION_TOKENS} can be read. Ask it shorter."
            )
        return head + tail

    def _need(self, reach: Reach, scope: Scope) -> int:
        """Bytes this fork may come to hold of its own."""
        backbone, config = self._reader.backbone, self._reader.config
        tokens, prompt = self._capacity, self._capacity - self.most_tokens
        words = sum(block.rows_from for block in scope.blocks)
        rows = sum(block.tokens for block in scope.blocks) - words
        if scope.evicted or len(scope.blocks) < len(reach.blocks):
            recalled = sorted((_tokens(b, self._reader) for b in scope.evicted), reverse=True)[: config.recall_blocks]
            tokens += words + rows + sum(recalled)
            words += sum(recalled)  # as if none of their rows could leave
        tokens += config.methods().own_tokens(words, rows, prompt, backbone.layers)
        if config.pointer is not None:
            tokens += own_tokens([_tokens(b, self._reader) for b in (*scope.blocks, *scope.evicted)])
        return tokens * backbone.token_bytes + reach.shown_bytes()

    def _focused(self, places: Sequence[int], prompt: int) -> Focus | None:
        """What deeper layers may leave out: `places` of the shared rows, rows of the `prompt`; None: nothing."""
        methods, shown = self._reader.config.methods(), self._shown
        if shown is None or not methods.any:
            return None
        seen = torch.zeros(len(places) + prompt, dtype=torch.bool)
        for stretch in self._stretches:
            seen[stretch.at : stretch.at + stretch.rows] = True
        return Focus(methods, shown, seen, len(self._parts[-1]), self._reader.backbone.rotation(places))

    def _gather(self, reach: Reach, scope: Scope) -> tuple[list[Block], Mapping[int, int], Rendered, int]:
        """What to attend to: the memory's own rendering, or a private one where blocks were added or left out."""
        sinks, *kept = scope.blocks
        found = self._recall(sinks, scope.evicted)
        if not found and len(scope.blocks) == len(reach.blocks):
            return [sinks, *kept], reach.starts, reach.rendered, reach.next
        self.recalled = tuple(block.id for block in found)
        blocks = [sinks, *sorted([*kept, *found], key=lambda block: block.id)]
        starts, position = contiguous(blocks)
        if self._reader.config.positions == "gap":  # evicted blocks find their old room
            starts, position = dict(reach.starts), reach.next
        slab = Slab(self._reader.backbone, sum(block.tokens for block in blocks))
        slab.append(blocks, [starts[block.id] for block in blocks])
        return blocks, starts, slab.view(), position

    def _recall(self, sinks: Block, evicted: Sequence[Block | Packed | Cold]) -> list[Block]:
        """The evicted blocks that speak to the question: WARM as they were, COLD read again."""
        if not evicted:
            return []
        evicted = sorted(evicted, key=lambda block: block.id)
        backbone, layout, layer = self._reader.backbone, self._reader.layout, self._reader.sketch_layer
        chosen, config = list(range(len(evicted))), self._reader.config
        if len(chosen) > (config.recall_blocks or 0):
            keys = [block.layer_keys(layer) for block in evicted]
            ids = layout.text_ids(self.question.text)
            asked, words = raw_query(backbone, sinks, ids, layer), self._reader.naming(ids)
            scale, heads = backbone.head_dim**-0.5, config.recall_heads or ()
            chosen = pick(asked, keys, scale, config.recall_blocks or 0, heads, words)
        found = [evicted[i] for i in sorted(chosen)]
        exact = [block.to(backbone.like.device) for block in found if not isinstance(block, Cold)]
        return exact + replay(self._reader, sinks, [block for block in found if isinstance(block, Cold)])

    def _map(self, reach: Reach, scope: Scope, blocks: Sequence[Block]) -> list[Stretch]:
        """Where each thing seen stands among the keys in reach."""
        cold = {block.id for block in scope.evicted if isinstance(block, Cold)}
        found, at = [], 0
        for block in blocks:
            if block.id != SINKS:
                recalled: Any = ("cold" if block.id in cold else "warm") if block.id in self.recalled else ""
                span, frames = reach.spans_s[block.id], reach.frames[block.id]
                found.append(Stretch(at + block.rows_from, span, block.cells, block.grid, frames, block.id, recalled))
            at += block.tokens
        opened, instant = scope.opened, iter(scope.instant)
        for part in self._parts:
            shown = opened if part.kind == "rows" else next(instant) if part.kind == "instant" else None
            if shown is not None:
                rows, now = shown[0], part.kind == "instant"
                found.append(Stretch(at, rows.span_s, rows.cells, rows.grid, rows.frames, None, instant=now))
            at += len(part)
        return found


def _tokens(block: Block | Packed | Cold, reader: Reader) -> int:
    if not isinstance(block, Cold):
        return block.tokens
    return len(block.mass) + (len(reader.layout.text_ids(block.stamp)) if reader.layout.stamps else 0)
