"""Where remembered tokens stand on the position axis. Bounded for ever, except under `gap`, which is for tests.

`gap`: survivors keep the positions they were read at; exact against one masked forward pass. `lazy_rebase`: like `gap`
until the next block would pass `highest`, then everything moves down and the gaps that pruning left are closed; between
two such epochs nothing moves. `contiguous`: rank order whenever the set of blocks changes (StreamingLLM, arXiv
2309.17453).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from models.kv.block import Block

Policy = Literal["gap", "lazy_rebase", "contiguous"]


class Positions:
    """First position of each block, by block id; the sinks stand at 0."""

    def __init__(self, policy: Policy, highest: int) -> None:
        self.policy: Policy = policy
        self.highest = highest
        self.starts: dict[int, int] = {}
        self.next = 0  # first free position
        self.epoch = 0  # rises whenever a block that stays has moved

    def must_move(self, tokens: int) -> bool:
        """Would `tokens` more pass the bound?"""
        return self.policy == "lazy_rebase" and self.next + tokens > self.highest

    def place(self, block_id: int, tokens: int) -> int:
        """Put a new block at the end."""
        start = self.next
        self.starts[block_id] = start
        self.next += tokens
        return start

    def after_change(self, blocks: Sequence[Block], newcomers: bool) -> None:
        """Blocks left, or (`newcomers`) came back into the middle, where only `gap` still has their room."""
        if self.policy == "contiguous" or (newcomers and self.policy == "lazy_rebase"):
            self.renumber(blocks)

    def renumber(self, blocks: Iterable[Block]) -> None:
        """Rank order without gaps: a new epoch."""
        starts, self.next = contiguous(blocks)
        moved = any(self.starts.get(block_id, start) != start for block_id, start in starts.items())
        self.starts = starts
        self.epoch += moved

    def forget(self, block_id: int) -> None:
        """A block left; under `gap` its room is kept, so that it can come back exactly."""
        if self.policy != "gap":
            self.starts.pop(block_id, None)


def contiguous(blocks: Iterable[Block]) -> tuple[dict[int, int], int]:
    """First positions in rank order, and the first free one."""
    starts, at = {}, 0
    for block in blocks:
        starts[block.id] = at
        at += block.tokens
    return starts, at
