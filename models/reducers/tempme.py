"""Neighbouring clips become one, again and again: first what is alike across them, then what is alike within.

Source: TempMe (arXiv 2409.01156). Its clips grow inside a vision tower, from 12 frames that must all be there. Here the
same tree stands after the tower and grows from below, as a binary counter does: level j holds at most one clip of 2^j
frames, a new frame is a clip of level 0, and where a level is taken the two become one clip of the next. That is the
same tree as over all frames at once, bit for bit, of any number of frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from models.reducers.clip import Clip, Reduced
from models.reducers.matching import Order, at_most
from models.reducers.tome import Pile, pile_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Shares:
    """How much two clips lose when they become one."""

    across: float = 0.3  # of their tokens, those most alike across both
    within: float = 0.1  # of what is left, once more
    largest: float = 4.0  # frames' worth of tokens that one clip may have; at the published shares reached at 64 frames
    order: Order = "place"

    def join(self, older: Pile, newer: Pile, cells: int) -> tuple[Pile, list[Tensor]]:
        """Two clips as one, and what was merged (see `Pile.merged`)."""
        both = Pile(*(torch.cat(pair) for pair in zip(older.parts, newer.parts, strict=True)))
        once, across = both.merged(removed(len(both.embeds), self.across), self.order)
        twice, within = once.merged(removed(len(once.embeds), self.within), self.order)
        pile, further = twice.thinned(int(self.largest * cells), self.order)
        return pile, [pairs for pairs in (across, within, *further) if pairs.shape[1]]


@dataclass(slots=True, eq=False)
class ClipTree:
    """The open clips of a stream without end: one per level at most, so they grow with the logarithm of time."""

    shares: Shares = Shares()
    levels: list[Pile | None] = field(default_factory=list)
    tokens: int = 0  # seen so far

    def push(self, frame: Tensor) -> list[Tensor]:
        """(N, D) tokens of the next frame; what was merged because of it (see `Pile.merged`)."""
        clip, gone, level = pile_of(frame, self.tokens), list[torch.Tensor](), 0
        self.tokens += len(frame)
        while level < len(self.levels) and (older := self.levels[level]) is not None:
            clip, pairs = self.shares.join(older, clip, len(frame))
            gone += pairs
            self.levels[level] = None
            level += 1
        self.levels[level:] = [clip, *self.levels[level + 1 :]]
        return gone

    def open(self) -> Pile:
        """All rows of the open clips, oldest first; the tree stays as it is. Raises ValueError where it is empty."""
        clips = [clip.parts for clip in reversed(self.levels) if clip is not None]
        if not clips:
            raise ValueError("A tree without frames has no rows; push one first.")
        return Pile(*(torch.cat(column) for column in zip(*clips, strict=True)))


@dataclass(frozen=True, slots=True)
class TempMe:
    """Two clips lose 30 % across and 10 % of the rest within, as published; what is still too much then halves.

    Where the tree leaves fewer rows than are asked for, there are fewer; 64 frames become about 4 frames' worth.
    Nothing is learned, so the published embedding of a clip's number, which starts as zero, is none, and both rounds
    compare the tokens themselves: after the tower there are no keys. Published groups are 2, 2 and 3, and 12 frames
    must be their product; here all are 2. `as_published` has the published order of rows, in the result and between the
    rounds: those that could have gone, then the receivers. Otherwise rows stand by place.
    """

    across: float = 0.3
    within: float = 0.1
    as_published: bool = False

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """At most `rows` means; no token is dropped."""
        order: Order = "sides" if self.as_published else "place"
        tree = ClipTree(Shares(self.across, self.within, order=order))
        gone = [pairs for frame in clip.embeds for pairs in tree.push(frame)]
        pile, further = tree.open().thinned(rows, order)
        return pile.told(len(clip.flat), [*gone, *further])


def removed(tokens: int, share: float, fixed: int = 0) -> int:
    """How many of a clip's tokens a share is, those that take no part counted; at most half of those that do."""
    return min(int(tokens * share), at_most(tokens, fixed))
