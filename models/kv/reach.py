"""What a question may look at: the memory at one moment, by reference."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from models.kv.block import Block
    from models.kv.cold import Cold
    from models.kv.packed import Packed
    from models.kv.render import Rendered, Slab
    from models.rows import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """The memory at the moment of a question: references, no copies."""

    blocks: tuple[Block, ...]  # the sinks, then HOT, oldest first: what `rendered` shows
    slab: Slab
    rendered: Rendered
    starts: Mapping[int, int]
    next: int  # first free position
    warm: tuple[Block | Packed, ...]
    cold: tuple[Cold, ...]
    spans_s: Mapping[int, tuple[float, float]]  # media time of every block held
    frames: Mapping[int, int]  # frames behind every block held
    instant: tuple[tuple[Rows, Tensor], ...]  # each frame and its fused rows (N, D), oldest first
    opened: tuple[Rows, Tensor] | None  # the open segment, where it holds more than the instant window
    seen_s: float
    depth: float | None = None  # how unlike the model's training pictures the last ones were

    def shown(self) -> tuple[tuple[Rows, Tensor], ...]:
        """What is in no block yet: the last frames and the open segment."""
        return self.instant if self.opened is None else (*self.instant, self.opened)

    def shown_bytes(self) -> int:
        """Bytes of that; the cells of whole frames are the same for all and counted with perception."""
        parts = [t for rows, fused in self.shown() for t in (rows.embeds, rows.motion, rows.mass, rows.codes, fused)]
        return sum(t.nbytes for t in parts) + (0 if self.opened is None else self.opened[0].cells.nbytes)

    def tensors(self) -> Iterator[Tensor]:
        """Everything of blocks that this keeps alive, except the sinks, which never leave."""
        return chain(
            (tensor for block in (*self.blocks[1:], *self.warm) for tensor in block.tensors()),
            (tensor for block in self.cold for tensor in block.tensors()),
        )
