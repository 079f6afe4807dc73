"""A closer look: a question read again with one of the blocks that it reached, and with nothing else.

With many blocks in reach the pointing head looks at whatever is most like the thing that a question names, its
clearest sighting before its last. Alone, a block either shows the thing or does not, and the language model says so in
its first word (`docs/decisions/0058-when-is-looked-at-closer.md`).
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import torch

from models.kv.render import Rendered, Slab
from models.prompt import embed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from models.backbone import Backbone
    from models.kv.block import Block
    from models.prompt import Part

MOST_WORDS = 96  # tokens of a question that is looked at closer; a longer one is not: every fork reserves for so many
_ALONE = ("newline", "question")  # what is read of a prompt: no last frames, no open segment


class Closer:
    """Reads of one view's question, each with the sinks and one block. Holds no tensor beside the view's rendering."""

    def __init__(
        self,
        backbone: Backbone,
        shown: Rendered,
        blocks: Sequence[Block],
        starts: Mapping[int, int],
        prompt: Sequence[Part],
    ) -> None:
        """`blocks`: what `shown` shows, the sinks first, at positions from `starts` on."""
        self._backbone, self._shown, self._sinks = backbone, shown, blocks[0]
        self._words = [part for part in prompt if part.kind in _ALONE]
        ends = accumulate(block.tokens for block in blocks)
        self._places = {
            block.id: (range(end - block.tokens, end), starts[block.id] + block.tokens)
            for block, end in zip(blocks, ends, strict=True)
        }

    @torch.no_grad()
    def read(self, block_id: int) -> Tensor:
        """Hidden row (D,) that the first word of an answer would come from if this block were all that was seen."""
        rows, position = self._places[block_id]
        embeds, _ = embed(self._words, self._backbone.embedding)
        places = range(position, position + len(embeds))
        hidden, _ = self._backbone.read(embeds, self._backbone.tail(len(embeds)), places, self._alone(rows, position))
        return hidden[-1]

    def _alone(self, rows: range, position: int) -> Rendered:
        """The sinks moved to right before the block, as they stand before a first block, and the block as it is."""
        sinks, tokens = self._sinks, self._sinks.tokens
        slab = Slab(self._backbone, tokens + len(rows))
        slab.append([sinks], [position - len(rows) - tokens])
        for mine, theirs in ((slab.keys, self._shown.keys), (slab.values, self._shown.values)):
            mine[:, :, tokens:] = theirs[:, :, rows.start : rows.stop]
        return Rendered(slab.keys, slab.values)


def fits(prompt: Sequence[Part]) -> bool:
    """Is a question short enough to be read again?"""
    return sum(len(part) for part in prompt if part.kind in _ALONE) <= MOST_WORDS


def own_tokens(blocks: Sequence[int]) -> int:
    """Tokens that one closer look holds at most while it is read, of blocks so large, the sinks first."""
    return blocks[0] + max(blocks[1:], default=0) + MOST_WORDS
