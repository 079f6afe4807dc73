"""HOT, WARM and COLD: where each block is, and how it moves down. Every move is in the ledger, with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from models.kv.cold import Cold, closest_pair, freeze, merge
from models.kv.packed import EXACT, Packed, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from models.kv.block import Block
    from models.kv.budget import Plan
    from models.kv.ledger import Ledger

_NO_ROOM = "there is no room to keep it: memory.cold_fraction is too small for one block"
_HOST = torch.device("cpu")


class Tiers:
    """Blocks by id. HOT is bounded by whoever prunes it; WARM and COLD bound themselves."""

    def __init__(
        self, plan: Plan, ledger: Ledger, sketch_layer: int, stamp: Callable[[tuple[float, float]], str]
    ) -> None:
        """`stamp` writes the time stamp of a span of media time."""
        self.plan = plan
        self.ledger = ledger
        self.sketch_layer = sketch_layer
        self.stamp = stamp
        self.hot: dict[int, Block] = {}  # oldest first
        self.warm: dict[int, Block | Packed] = {}  # in order of arrival: a ring
        self.cold: dict[int, Cold] = {}  # oldest first

    def demote(self, block_id: int, score: float, reason: str, now_s: float) -> None:
        """A block leaves HOT, intact where WARM has room for it at all."""
        block = self.hot.pop(block_id)
        self.ledger.entries[block_id].score = score
        stored = self.stored(block)
        if stored.size <= self.plan.warm:
            self.warm[block_id] = stored
            self.ledger.move(block_id, "warm", block.tokens, reason)
        else:
            self._freeze(block, reason)
        self.fit(now_s)

    def stored(self, block: Block | Packed) -> Block | Packed:
        """A block as WARM keeps it: exact, or in fewer bits; what is packed already stays as it is."""
        if self.plan.warm_bits == EXACT or isinstance(block, Packed):
            return block if isinstance(block, Packed) else block.to(_HOST)
        return pack(block.to(_HOST), self.plan.warm_bits)

    def forget(self, block_id: int, score: float, reason: str) -> None:
        """A block leaves HOT for good."""
        del self.hot[block_id]
        self.ledger.entries[block_id].score = score
        self.ledger.drop(block_id, reason)

    def forget_reserve(self, reason: str) -> None:
        """WARM and COLD are emptied: a policy that keeps none took over a memory that did."""
        for block_id in [*self.warm, *self.cold]:
            self.ledger.drop(block_id, reason)
        self.warm, self.cold = {}, {}

    def fit(self, now_s: float) -> None:
        """Bring WARM and COLD back within their bytes."""
        while self.warm_bytes() > self.plan.warm or len(self.warm) > self.plan.most_warm:
            oldest = next(iter(self.warm))
            self._freeze(self.warm.pop(oldest), "oldest in reserve; kept as fused rows")
        while self.cold_bytes() > self.plan.cold or len(self.cold) > self.plan.most_cold:
            if len(self.cold) > 1:
                self._thin(now_s)
            else:  # restored from a memory with room for it
                self.ledger.drop(self.cold.popitem()[0], _NO_ROOM)

    def warm_bytes(self) -> int:
        """Host bytes of exact blocks."""
        return sum(block.size for block in self.warm.values())

    def cold_bytes(self) -> int:
        """Host bytes of fused rows."""
        return sum(block.size for block in self.cold.values())

    def hot_bytes(self) -> int:
        """Device bytes of raw keys, values and meaning."""
        return sum(block.size for block in self.hot.values())

    def tensors(self) -> Iterator[Tensor]:
        """Everything that all three hold."""
        for held in (self.hot, self.warm, self.cold):
            for block in held.values():
                yield from block.tensors()

    def _freeze(self, block: Block | Packed, reason: str) -> None:
        frozen = freeze(block, self.sketch_layer)
        if frozen.size > self.plan.cold:
            self.ledger.drop(block.id, _NO_ROOM)
            return
        self.cold[block.id] = frozen
        self.cold = dict(sorted(self.cold.items()))
        self.ledger.move(block.id, "cold", len(frozen.mass), reason)

    def _thin(self, now_s: float) -> None:
        blocks = list(self.cold.values())
        first = closest_pair(blocks, self.ledger.entries, now_s)
        kept, gone = blocks[first], blocks[first + 1]
        entries = self.ledger.entries
        span = (
            min(entries[kept.id].from_s, entries[gone.id].from_s),
            max(entries[kept.id].until_s, entries[gone.id].until_s),
        )
        self.cold[kept.id] = merge(kept, gone, self.stamp(span))
        del self.cold[gone.id]
        self.ledger.merge(kept.id, gone.id, len(self.cold[kept.id].mass))
