"""A general question that nobody asked: what its words attend to stands in for what questions will.

SnapKV (arXiv 2404.14469) judges keys by the last words of a prompt, so it wants the question at its end. A stream has
none at hand; StreamMem (arXiv 2508.15717) and HERMES (arXiv 2601.14724) let a fixed one stand in. Here it is read by
the whole model after all that is at hand, at every commit, and leaves nothing behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from models.kv.attention_scorers import pooled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.kv.block import Block
    from models.kv.reading import Reader
    from models.kv.render import Rendered

WORDS = "What is happening?"
MOST_TOKENS = 64  # of the question with the template around it; only the last are read
KERNEL = 5  # neighbours over which attention is averaged, as SnapKV does


@torch.no_grad()
def ask(reader: Reader, shared: Rendered, position: int, blocks: Sequence[Block]) -> list[float]:
    """The best pooled share of attention among each block's rows, in the order of `blocks`, which `shared` shows.

    SnapKV keeps the keys with the largest shares; a block is whole or gone, so it is as good as the first of its keys
    that SnapKV would keep. Mean over layers and heads, because a block has the same rows in all of them.
    """
    ids = reader.layout.question_ids(WORDS)[-MOST_TOKENS:]
    backbone, n = reader.backbone, len(ids)
    embeds, tail = backbone.embedding(torch.tensor(ids)), backbone.tail(n)
    _, reading = backbone.read(embeds, tail, range(position, position + n), shared, watch=n)
    if reading.mass is None:
        raise ValueError("A question without words cannot be asked.")
    shares = pooled(reading.mass[: shared.tokens], KERNEL).cpu()
    found, at = [], 0
    for block in blocks:
        rows = shares[at + block.rows_from : at + block.tokens]
        found.append(float(rows.max()) if len(rows) else 0.0)  # the sinks have none
        at += block.tokens
    return found
