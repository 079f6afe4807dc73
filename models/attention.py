"""Attention over a memory: registered with transformers by name, no model patched.

The language model is called with all position ids zero, so queries and keys arrive un-rotated; this function rotates
them to the positions of the reading in hand and attends over what is remembered, what was read before, and the new rows
(proof: chunked, evicted and re-indexed streams equal one masked forward pass, `tests/models/test_memory_exact.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from kernels import ops

if TYPE_CHECKING:
    from models.inner.focus import Focus
    from models.kv.render import Rendered

NAME = "longwatch_stream"


class Tail:
    """Rows read privately, in order: rotated keys, values and, where a block is to be made of them, raw keys."""

    def __init__(self, shape: tuple[int, int, int], capacity: int, like: Tensor, keep_raw: bool = False) -> None:
        """Shape is (layers, kv heads, head dim); `like` gives dtype and device."""
        layers, heads, dim = shape
        self.keys = like.new_empty(layers, heads, capacity, dim)
        self.values = torch.empty_like(self.keys)
        self.raw = torch.empty_like(self.keys) if keep_raw else None
        self.capacity = capacity
        self.length = 0
        self.filled = [0] * layers  # rows that each layer has; fewer than `length` where some went no further

    def grow(self, rows: int, taken: list[int]) -> None:
        """A pass of so many rows is done; `taken`: those that reached each layer."""
        self.length += rows
        self.filled = [had + new for had, new in zip(self.filled, taken, strict=True)]

    def keep(self, layer: int, rows: Tensor) -> None:
        """Of one layer's rows, only these (filled,) bool."""
        filled, left = self.filled[layer], int(rows.sum())
        for held in (self.keys, self.values):
            held[layer, :, :left] = held[layer, :, :filled][:, rows]
        self.filled[layer] = left

    def bytes(self) -> int:
        """Memory held, whether filled or not."""
        return (2 + (self.raw is not None)) * self.keys.numel() * self.keys.element_size()


class Reading:
    """One forward pass: what it may look at, where its rows stand, and what is noted on the way."""

    def __init__(
        self, shared: Rendered | None, tail: Tail, cos: Tensor, sin: Tensor, focus: Focus | None = None
    ) -> None:
        """`cos` and `sin` (n, d) float32 for the n new rows; `focus`: what deeper layers may leave out."""
        self.shared = shared
        self.tail = tail
        self.cos = cos
        self.sin = sin
        self.focus = focus
        self.taken = [0] * len(tail.filled)  # new rows that reached each layer
        self._reach = (0 if shared is None else shared.tokens) + tail.length + len(cos)
        self.watch = 0  # last rows whose attention is noted
        self.mass: Tensor | None = None  # (keys in shared + tail after this pass,) mean over layers
        self.query_layer = -1  # layer whose raw queries are noted
        self.raw_query: Tensor | None = None  # (heads, n, d)
        self.pointer: tuple[int, int] | None = None  # layer and head whose look, at the last row, is noted
        self.look: Tensor | None = None  # (keys in shared + tail after this pass,) sums to 1

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """One layer: raw query (heads, n, d), raw key and value (kv heads, n, d) -> (n, heads, d)."""
        tail, n = self.tail, query.shape[1]
        layers = tail.keys.shape[0]
        here = slice(tail.filled[layer], tail.filled[layer] + n)
        self.taken[layer] = n
        tail.keys[layer, :, here] = ops.rotate(key, self.cos, self.sin)
        tail.values[layer, :, here] = value
        if tail.raw is not None:
            tail.raw[layer, :, here] = key
        if layer == self.query_layer:
            self.raw_query = query
        parts = self._parts(layer, here.stop)
        turned = ops.rotate(query, self.cos, self.sin)
        if self.pointer is not None and layer == self.pointer[0]:
            self.look = self._on_all(layer, ops.look(turned, parts, scale, self.pointer[1]))
        out, mass = ops.attend(turned, parts, scale, min(self.watch, n))
        if self.focus is not None:
            self.focus.note(layer, turned, parts, scale, mass)
        if mass is not None:
            mass = self._on_all(layer, mass)
            self.mass = mass / layers if self.mass is None else self.mass + mass / layers
        return out

    def passed(self, hidden: Tensor) -> Tensor:
        """Rows (n, D) after a layer: those that go on to the next."""
        if self.focus is None:
            return hidden
        hidden, stay = self.focus.cut(hidden)
        if stay is not None:
            self.cos, self.sin = self.cos[stay], self.sin[stay]
        return hidden

    def _parts(self, layer: int, stop: int) -> list[tuple[Tensor, Tensor]]:
        """Keys and values that a layer looks at, oldest first."""
        own = self.tail.keys[layer, :, :stop], self.tail.values[layer, :, :stop]
        if self.focus is not None:
            return self.focus.parts(layer, own)
        return [self.shared.layer(layer), own] if self.shared is not None and self.shared.tokens else [own]

    def _on_all(self, layer: int, shares: Tensor) -> Tensor:
        return shares if self.focus is None else self.focus.spread(layer, shares, self._reach)


def _stream_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """The function transformers calls: (1, heads, n, d) in, (1, n, heads, d) out."""
    reading: Reading = kwargs["reading"]
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    out = reading.attend(layer, query[0], key[0], value[0], kwargs["scaling"])
    return out.unsqueeze(0), None


AttentionInterface.register(NAME, _stream_attention)
