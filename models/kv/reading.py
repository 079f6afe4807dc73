"""Reading rows into blocks: the pinned prefix, a fresh segment, and COLD blocks a second time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from models.kv.block import Block, mean_key
from models.kv.render import Rendered, Slab
from models.prompt import block_text, embed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from torch import Tensor

    from models.attention import Tail
    from models.backbone import Backbone
    from models.cross_dynamics import CrossDynamics
    from models.kv.budget import MemoryConfig
    from models.kv.cold import Cold
    from models.prompt import Layout
    from models.rows import Rows
    from stream.flow import MediaEpoch

SINKS = -1  # block id of the pinned prefix


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """What all blocks and all forks of one camera have in common."""

    backbone: Backbone
    layout: Layout
    cross_dynamics: CrossDynamics
    config: MemoryConfig  # with nothing left open
    epoch: MediaEpoch
    zone: ZoneInfo

    @property
    def sketch_layer(self) -> int:
        """The layer whose keys recall compares a question with: as the checkpoint says, else the middle one."""
        chosen = self.config.recall_layer
        return self.backbone.layers // 2 if chosen is None else chosen

    def naming(self, ids: Sequence[int]) -> list[int]:
        """Which of some words the recall heads were trained to look for, as the checkpoint says; none: not known."""
        vocabulary = self.layout.tokenizer.get_vocab()
        known = {vocabulary[word] for word in self.config.recall_words or () if word in vocabulary}
        return [at for at, token in enumerate(ids) if token in known]

    def stamp(self, span_s: tuple[float, float]) -> str:
        """The text that leads a block of this media time."""
        return block_text((self.epoch.wall(span_s[0]), self.epoch.wall(span_s[1])), self.zone)

    @torch.no_grad()
    def fuse(self, rows: Rows) -> Tensor:
        """Rows with their motion mixed in: (F, D)."""
        device = self.cross_dynamics.gate.device
        if rows.embeds.device != device:
            rows = replace(
                rows, embeds=rows.embeds.to(device), motion=rows.motion.to(device), mass=rows.mass.to(device)
            )
        fused: Tensor = self.cross_dynamics(rows)
        return fused


def read_sinks(reader: Reader) -> Block:
    """The prompt's beginning, pinned for ever, at positions 0, 1, 2 ..."""
    backbone = reader.backbone
    embeds, _ = embed(reader.layout.prefix(), backbone.embedding)
    tail = backbone.tail(len(embeds), keep_raw=True)
    if len(embeds):
        backbone.read(embeds, tail, range(len(embeds)))
    none = embeds.new_zeros(0)
    return _block((SINKS, ""), (none.view(0, backbone.dim), none, none.view(0, 0)), (0, 0), tail, slice(0, len(embeds)))


def read_segment(reader: Reader, block_id: int, rows: Rows, start: int, shared: Rendered) -> tuple[Block, Tensor]:
    """A closed segment, read once after everything in `shared`.

    Returns the block and the attention of its fused rows, (shared + own tokens,): what it looked at.
    """
    backbone, fused, stamp = reader.backbone, reader.fuse(rows), reader.stamp(rows.span_s)
    embeds, _ = embed(reader.layout.block(stamp, fused), backbone.embedding)
    n = len(embeds)
    tail = backbone.tail(n, keep_raw=True)
    _, reading = backbone.read(embeds, tail, range(start, start + n), shared, watch=len(fused))
    if reading.mass is None:
        raise ValueError("A segment without rows cannot be read.")
    return _block((block_id, stamp), (fused, rows.mass, rows.cells), rows.grid, tail, slice(0, n)), reading.mass


def replay(reader: Reader, sinks: Block, cold: Sequence[Cold]) -> list[Block]:
    """Read COLD blocks again, oldest first, after the sinks and one another: near to what they were, not the same."""
    if not cold:
        return []
    backbone, layout = reader.backbone, reader.layout
    parts = [layout.block(block.stamp, block.fused) for block in cold]
    embeds, _ = embed([part for block in parts for part in block], backbone.embedding)
    tail = backbone.tail(len(embeds), keep_raw=True)
    positions = range(sinks.tokens, sinks.tokens + len(embeds))
    backbone.read(embeds, tail, positions, _after(backbone, sinks))
    made, at = [], 0
    for block, its in zip(cold, parts, strict=True):
        here = slice(at, at + sum(map(len, its)))
        made.append(
            _block((block.id, block.stamp), (block.fused, block.mass, block.cells.float()), block.grid, tail, here)
        )
        at = here.stop
    return made


def raw_query(backbone: Backbone, sinks: Block, ids: Sequence[int], layer: int) -> Tensor:
    """Queries before rotation (heads, n, d) of some words at one layer, read after the sinks alone."""
    embeds = backbone.embedding(torch.tensor(list(ids)))
    positions = range(sinks.tokens, sinks.tokens + len(ids))
    tail = backbone.tail(len(ids))
    _, reading = backbone.read(embeds, tail, positions, _after(backbone, sinks), query_layer=layer)
    if reading.raw_query is None:
        raise ValueError(f"The language model has no layer {layer}.")
    return reading.raw_query


def _after(backbone: Backbone, sinks: Block) -> Rendered:
    slab = Slab(backbone, sinks.tokens)
    slab.append([sinks], [0])
    return slab.view()


def _block(
    name: tuple[int, str],
    meaning: tuple[Tensor, Tensor, Tensor],
    grid: tuple[int, int],
    tail: Tail,
    here: slice,
) -> Block:
    """`name`: id and stamp; `meaning`: fused rows, their mass, their cells."""
    if tail.raw is None:
        raise ValueError("A block is made from raw keys; the tail kept none.")
    raw = tail.raw[:, :, here]
    whole = here.stop - here.start == tail.capacity  # else a copy, or the block would keep its neighbours alive
    fused, mass, cells = meaning
    return Block(
        id=name[0],
        stamp=name[1],
        raw=raw if whole else raw.clone(),
        values=tail.values if whole else tail.values[:, :, here].clone(),
        fused=fused.to(raw),
        mass=mass.to(raw.device),
        cells=cells.to(raw.device),
        grid=grid,
        mean_key=mean_key(raw),
    )
