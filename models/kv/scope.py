"""Which part of memory one question reads: its own span, a time that its words name, or all that is there.

A question about a time reads what is held of that time and nothing else, so it costs the same, and reads as few rows,
at any age (docs/decisions/0043-named-time-narrows-reach.md). So may one about this very moment, where the checkpoint's
card says so (docs/decisions/0054-the-present-reads-the-present.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from models.kv.ledger import uncovered
from models.kv.reading import SINKS
from models.kv.recall import about_moment, about_now, about_past, named_span
from models.kv.spans import belongs

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from models.kv.block import Block
    from models.kv.cold import Cold
    from models.kv.packed import Packed
    from models.kv.reach import Reach
    from models.kv.reading import Reader
    from models.rows import Rows
    from stream.flow import Question

    Span = tuple[float, float]  # media time
    Seen = tuple[Rows, Tensor]  # rows and fused rows (F, D)

_FOREVER = float("inf")


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """What of a `Reach` a question reads: references, no copies."""

    blocks: tuple[Block, ...]  # the sinks, then those at hand, oldest first
    evicted: tuple[Block | Packed | Cold, ...]  # that may be called back, oldest first
    instant: tuple[Seen, ...]
    opened: Seen | None
    uncovered_s: tuple[Span, ...] = ()  # parts of the time asked for that are in no tier

    @property
    def empty(self) -> bool:
        """Is nothing seen in it?"""
        return not (self.blocks[1:] or self.evicted or self.instant or self.opened)


def scope_of(question: Question, reach: Reach, reader: Reader) -> Scope:
    """The part of `reach` that the question is about."""
    config, asked = reader.config, _asked(question, reach.seen_s, reader)
    slack = max(2.0, (config.segment_s or 0.0) / 2)  # the pause between two frames or blocks is no hole
    holes = () if asked is None else _holes(asked, reach, slack)
    gone: list[Block | Packed | Cold] = [*reach.warm, *reach.cold] if config.recall and config.recall_blocks else []
    evicted = tuple(sorted(gone, key=lambda block: block.id))
    past = evicted if about_past(question.text) else ()
    everything = Scope(reach.blocks, past, reach.instant, reach.opened, holes)
    if asked is None:
        return _newest(everything, config.present_blocks) if about_moment(question.text) else everything
    whole = replace(everything, evicted=evicted)
    if question.span_s is not None:
        return _narrowed(whole, reach, asked, _touches, 0.0)
    found = _named(whole, reach, asked, slack)
    if found.empty:
        return everything
    return replace(everything, evicted=found.evicted or past) if about_now(question.text) else found


def _newest(everything: Scope, most: int | None) -> Scope:
    """The last frames and at most so many stretches before them, of which the open segment is the newest; None: all."""
    if most is None:
        return everything
    sinks, *hot = everything.blocks
    closed = most - (everything.opened is not None)
    return replace(
        everything,
        blocks=(sinks, *hot[max(0, len(hot) - closed) :]) if closed > 0 else (sinks,),
        opened=everything.opened if most > 0 else None,
    )


def _asked(question: Question, seen_s: float, reader: Reader) -> Span | None:
    """Media time that the question asks about: its own `span_s`, or times named in its words."""
    if question.span_s is not None:
        return question.span_s
    epoch = reader.epoch
    wall = named_span(question.text, epoch.wall(seen_s), reader.zone)
    return None if wall is None else (epoch.media(wall[0]), epoch.media(wall[1]))


def _named(whole: Scope, reach: Reach, asked: Span, slack: float) -> Scope:
    """What belongs to a time named in words; where it falls between the middles of blocks, what is next to it."""
    found = _narrowed(whole, reach, asked, belongs, 0.0)
    if found.blocks[1:] or found.evicted or whole.uncovered_s == (_past_part(asked, reach),):
        return found
    found = _narrowed(whole, reach, asked, _touches, 0.0)
    return _narrowed(whole, reach, asked, _touches, slack) if found.empty else found  # the pause between two frames


def _narrowed(whole: Scope, reach: Reach, asked: Span, chosen: Callable[[Span, Span], bool], slack: float) -> Scope:
    """`whole` without what is of another time: blocks by `chosen`, what is in no block yet where it touches."""
    asked = (asked[0] - slack, asked[1] + slack)
    spans, instant, opened = reach.spans_s, whole.instant, whole.opened
    now = bool(instant) and _touches((instant[0][0].span_s[0], _FOREVER), asked)
    return replace(
        whole,
        blocks=tuple(b for b in whole.blocks if b.id == SINKS or chosen(spans[b.id], asked)),
        evicted=tuple(b for b in whole.evicted if chosen(spans[b.id], asked)),
        instant=instant if now else (),
        opened=opened if opened is not None and _touches(opened[0].span_s, asked) else None,
    )


def _holes(asked: Span, reach: Reach, slack: float) -> tuple[Span, ...]:
    """Parts of the asked-for time that are not remembered in any tier; all of a short time that is far from any."""
    asked = _past_part(asked, reach)
    held = [*reach.spans_s.values(), *(rows.span_s for rows, _ in reach.shown())]
    near = (asked[0] - slack, asked[1] + slack)
    if asked[0] <= asked[1] and not any(_touches(span, near) for span in held):
        return (asked,)
    return uncovered(asked, held, slack)


def _past_part(asked: Span, reach: Reach) -> Span:
    return asked[0], min(asked[1], reach.seen_s)


def _touches(span: Span, asked: Span) -> bool:
    return span[0] <= asked[1] and span[1] >= asked[0]
