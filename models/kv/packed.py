"""A block in WARM with fewer bits: every number of its keys and values as a code of 8 or 6 bits.

After TokenBridge (arXiv 2503.16430), which turns trained continuous tokens into codes channel by channel and finds 6 to
8 bits to be enough. It spaces codes as a normal distribution would; ours are even between the least and the greatest
number of a channel in a block, so that no number is further off than half a step, whatever their distribution.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from models.kv.block import Block, mean_key

if TYPE_CHECKING:
    from torch import Tensor, device

EXACT = 16  # no packing: numbers stay as the model made them, whatever their width
BITS = (8, 6)


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Numbers (layers, kv heads, n, d), each channel of each head on a scale of its own."""

    codes: Tensor  # (layers, kv heads, n, d) uint8; with 6 bits four codes in three bytes, (..., 3 d / 4)
    low: Tensor  # (layers, kv heads, 1, d) float32: the channel's least number
    step: Tensor  # (layers, kv heads, 1, d) float32: between two codes; 0 where the channel is constant

    @property
    def bits(self) -> int:
        """Of one code."""
        return 8 if self.codes.shape[-1] == self.low.shape[-1] else 6

    def numbers(self, dtype: torch.dtype, layer: slice = slice(None)) -> Tensor:
        """What they stand for, of some layers: (layers, kv heads, n, d)."""
        codes = self.codes[layer] if self.bits == 8 else _spread(self.codes[layer])
        return (self.low[layer] + codes.float() * self.step[layer]).to(dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """What `Block` is, near to it, in about half the bytes; means are worked out again when it comes back."""

    id: int
    stamp: str
    keys: Codes  # before rotation
    values: Codes
    fused: Tensor  # (F, D)
    mass: Tensor  # (F,)
    cells: Tensor  # (F, rows*columns)
    grid: tuple[int, int]
    size: int = field(init=False)  # bytes held

    def __post_init__(self) -> None:
        """Worked out once, as for `Block`."""
        object.__setattr__(self, "size", sum(tensor.nbytes for tensor in self.tensors()))

    def tensors(self) -> tuple[Tensor, ...]:
        """All that it holds."""
        states = (tensor for s in (self.keys, self.values) for tensor in (s.codes, s.low, s.step))
        return *states, self.fused, self.mass, self.cells

    @property
    def tokens(self) -> int:
        """Stamp and fused rows."""
        return int(self.keys.codes.shape[2])

    def layer_keys(self, layer: int) -> Tensor:
        """Raw keys of the fused rows at one layer: (kv heads, F, d)."""
        found = self.keys.numbers(self.fused.dtype, slice(layer, layer + 1))
        return found[0, :, self.tokens - len(self.mass) :]

    def to(self, where: device) -> Block:
        """The block that can be read again, on a device."""
        raw = self.keys.numbers(self.fused.dtype).to(where)
        return Block(
            id=self.id,
            stamp=self.stamp,
            raw=raw,
            values=self.values.numbers(self.fused.dtype).to(where),
            fused=self.fused.to(where),
            mass=self.mass.to(where),
            cells=self.cells.to(where),
            grid=self.grid,
            mean_key=mean_key(raw),
        )


def pack(block: Block, bits: int) -> Packed:
    """A block with `bits` to a number, where it is."""
    return Packed(
        id=block.id,
        stamp=block.stamp,
        keys=encode(block.raw, bits),
        values=encode(block.values, bits),
        fused=block.fused,
        mass=block.mass,
        cells=block.cells,
        grid=block.grid,
    )


def encode(numbers: Tensor, bits: int) -> Codes:
    """Numbers (layers, kv heads, n, d) as codes; off by half a step at most. Raises ValueError for other bits."""
    if bits not in BITS or (bits == 6 and numbers.shape[-1] % 4):
        raise ValueError(f"Numbers are packed in 8 bits, or in 6 where heads are multiples of 4 wide, not in {bits}.")
    wide = numbers.float()
    low, high = wide.amin(2, keepdim=True), wide.amax(2, keepdim=True)
    step = (high - low) / (2**bits - 1)
    codes = ((wide - low) / torch.where(step > 0, step, 1.0)).round().to(torch.uint8)
    return Codes(codes if bits == 8 else _squeeze(codes), low, step)


def _squeeze(codes: Tensor) -> Tensor:
    """Four codes of 6 bits in three bytes: (..., d) to (..., 3 d / 4)."""
    a, b, c, d = codes.unflatten(-1, (-1, 4)).unbind(-1)
    return torch.stack([a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d], -1).flatten(-2)


def _spread(squeezed: Tensor) -> Tensor:
    """The way back."""
    a, b, c = squeezed.unflatten(-1, (-1, 3)).unbind(-1)
    return torch.stack([a >> 2, (a << 4 | b >> 4) & 63, (b << 2 | c >> 6) & 63, c & 63], -1).flatten(-2)
