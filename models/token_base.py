"""The token base: one codebook per camera, grown by online clustering, bounded for ever.

Each frame every token goes to its nearest code (cosine to unit centroids); codes that were hit move by the
mass-weighted mean with exponential forgetting; tokens unlike all codes open new ones while there is room; when there is
none the closest pairs of codes are merged; codes that nothing has looked like for long can be retired. No restart, no
random start, no second pass: the state after frame t depends on frames up to t only, and costs O(N K D) per frame and
O(K D) to hold, whatever the length of the stream.

Origin: the token base of Token Dynamics (arXiv 2503.16980), there k-means over the whole video; online here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from kernels import ops

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

SEARCHES = 32  # a full base looks for close pairs about so many times while it is renewed once


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """Where the tokens of one frame went."""

    slots: Tensor  # (N,) int64 code slot of each token
    errors: Tensor  # (N,) float32: 1 - cosine to that code as it was when the token arrived (0 for a code it opened)
    merged: tuple[tuple[int, int], ...]  # (gone, kept) slots, in order: holders of slots must relabel
    opened: int  # codes opened by this frame


class TokenBase:
    """K code slots. A slot may be used again after its code was merged away; `ids` never repeat."""

    def __init__(self, codes: int, dim: int, spawn_below: float, forgetting: float) -> None:
        self.capacity = codes
        self.spawn_below = spawn_below
        self.forgetting = forgetting
        self.sums = torch.zeros(codes, dim)  # (K, D) weighted sums of unit tokens
        self.weights = torch.zeros(codes)  # (K,) 0: the slot is free
        self.ids = torch.full((codes,), -1, dtype=torch.int64)  # (K,) persistent id, -1: free
        self.hit = torch.zeros(codes, dtype=torch.int64)  # (K,) the frame, counted from 1, that last went to it
        self.next_id = 0
        self.frames = 0
        self.units = torch.zeros(codes, dim)  # (K, D) unit centroids, always those of `sums`
        self.merges = 0
        self._closest: list[tuple[int, int, float]] | None = (
            None  # of `units` as they are, once looked for: dear to find
        )

    @property
    def alive(self) -> Tensor:
        """(K,) bool."""
        return self.weights > 0

    def assign(self, embeds: Tensor, mass: Tensor) -> Assignment:
        """Take in one frame: (N, D) tokens with (N,) mass."""
        self.frames += 1
        units = normalize(embeds.float(), dim=1)
        slots, cosine = ops.nearest_code(units, self.units, self.alive)
        merged, opened = self._open_codes(units, slots, cosine)
        touched = ops.move_codes(self.sums, self.weights, units, mass, slots, self.forgetting)
        self.units[touched] = normalize(self.sums[touched], dim=1)
        self.hit[touched] = self.frames
        self._closest = None
        return Assignment(slots, (1 - cosine).clamp_min(0), tuple(merged), opened)

    def retire(self, idle: int) -> Tensor:
        """Free the codes that none of the last `idle` frames went to; returns their slots (n,): holders must forget."""
        gone = (self.alive & (self.frames - self.hit >= idle)).nonzero()[:, 0]
        if len(gone):
            self._free(gone)
        return gone

    def _open_codes(self, units: Tensor, slots: Tensor, cosine: Tensor) -> tuple[list[tuple[int, int]], int]:
        """Open codes for tokens unlike all others, in raster order; `slots` and `cosine` are updated in place."""
        merged: list[tuple[int, int]] = []
        opened = 0
        settled = torch.zeros_like(slots, dtype=torch.bool)  # unlike its code, but there is no room for a better one
        while True:
            novel = ((cosine < self.spawn_below) & ~settled).nonzero()[:, 0]
            if not len(novel):
                return merged, opened
            first = int(novel[0])
            slot = self._room(float(cosine[first]), slots, merged)
            if slot is None:  # full, and all codes are further apart than this token is from its nearest
                settled[first] = True
                continue
            self._open(slot, units[first])
            opened += 1
            near = units @ units[first]
            near[first] = 1.0
            closer = near > cosine
            slots[closer] = slot
            cosine[closer] = near[closer]
            cosine[first] = 1.0

    def _open(self, slot: int, unit: Tensor) -> None:
        self.ids[slot] = self.next_id
        self.next_id += 1
        self.units[slot] = unit
        self.sums[slot] = 0.0
        self._closest = None
        self.weights[slot] = torch.finfo(torch.float32).tiny  # alive; the frame's own mass comes with `move_codes`

    def _room(self, best: float, slots: Tensor, merged: list[tuple[int, int]]) -> int | None:
        """The lowest free slot; if none is left, the closest pairs that are closer than `best` are merged first."""
        free = (self.weights <= 0).nonzero()
        if len(free):
            return int(free[0])
        self._closest = self._closest or self._closest_pairs()
        pairs = [(kept, gone) for kept, gone, cosine in self._closest if cosine > best]
        for kept, gone in pairs:
            self._merge(gone, kept)
            slots[slots == gone] = kept
            merged.append((gone, kept))
        return min((gone for _, gone in pairs), default=None)

    def _closest_pairs(self) -> list[tuple[int, int, float]]:
        """Pairs of codes most alike, closest first, no code in two of them: (lower slot, higher slot, cosine).

        Of a full base. Costs K x K x D, as much as many frames, so one search makes room for K / 32 codes to come.
        """
        lower = torch.ones(self.capacity, self.capacity, dtype=torch.bool).tril()
        cosine = (self.units @ self.units.T).masked_fill_(lower, -2.0).view(-1)
        wanted = max(1, self.capacity // SEARCHES)
        floor = cosine.topk(min(4 * wanted, len(cosine))).values[-1]  # some share a code with a closer pair
        found = (cosine >= floor).nonzero()[:, 0]  # ascending, so that ties go to the lowest slots
        pairs: list[tuple[int, int, float]] = []
        taken: set[int] = set()
        for place in found[cosine[found].argsort(descending=True, stable=True)].tolist():
            kept, gone = divmod(place, self.capacity)
            if kept < gone and not taken & {kept, gone} and len(pairs) < wanted:
                pairs.append((kept, gone, float(cosine[place])))
                taken |= {kept, gone}
        return pairs

    def _merge(self, gone: int, kept: int) -> None:
        self.sums[kept] += self.sums[gone]
        self.weights[kept] += self.weights[gone]
        self.units[kept] = normalize(self.sums[kept], dim=0)
        self.hit[kept] = max(int(self.hit[kept]), int(self.hit[gone]))
        self._free(torch.tensor([gone]))
        self.merges += 1

    def _free(self, gone: Tensor) -> None:
        self.sums[gone] = 0.0
        self.units[gone] = 0.0
        self.weights[gone] = 0.0
        self.ids[gone] = -1
        self._closest = None

    def bytes(self) -> int:
        """Memory held, constant."""
        return sum(t.numel() * t.element_size() for t in (self.sums, self.weights, self.ids, self.units, self.hit))

    def state_dict(self) -> dict[str, Tensor]:
        """All that is needed to go on exactly."""
        counters = torch.tensor([self.next_id, self.merges, self.frames], dtype=torch.int64)
        codes = {"sums": self.sums, "weights": self.weights, "ids": self.ids, "units": self.units, "hit": self.hit}
        return codes | {"counters": counters}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Raises ValueError when the state is of another shape."""
        for name in ("sums", "weights", "ids", "units", "hit"):
            mine = getattr(self, name)
            if state[name].shape != mine.shape:
                raise ValueError(
                    f"The snapshot's token base has {tuple(state[name].shape)} codes, this one {tuple(mine.shape)}."
                )
            setattr(self, name, state[name].to(mine.dtype).clone())
        self.next_id, self.merges, self.frames = (int(n) for n in state["counters"])
        self._closest = None


def codes_of(frames: Iterable[Tensor], base: TokenBase) -> tuple[Tensor, Tensor]:
    """A few frames, each (N, D), by codes of their own: (T, N) int64 slots and float32 errors. `base`: an empty one."""
    slots: list[Tensor] = []
    errors: list[Tensor] = []
    for frame in frames:
        assigned = base.assign(frame, torch.ones(len(frame)))
        for gone, kept in assigned.merged:
            slots = [torch.where(before == gone, kept, before) for before in slots]
        slots.append(assigned.slots)
        errors.append(assigned.errors)
    return torch.stack(slots), torch.stack(errors)
