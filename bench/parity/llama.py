"""The tiny Llama of the reference cases: one plain layer at a time, so that our functions can act in between."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import silu

from kernels import ops

if TYPE_CHECKING:
    from torch import Tensor

    from bench.parity.case import Case


@dataclass(slots=True)
class Llama:
    """Weights of a case under their own names, and the keys and values of what was read: (kv heads, n, d) per layer."""

    case: Case
    layers: int
    heads: int
    eps: float
    theta: float
    shared: bool = False  # one layer's weights for all
    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)

    def layer(
        self, index: int, hidden: Tensor, positions: Tensor, visible: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Rows (n, D) at positions (n,), after all that was read -> rows after the layer, attention (heads, n, N).

        `visible` (N,): keys that may be looked at; without, all, and always in order.
        """
        x = self._norm(hidden, self._name(index, "input_layernorm"))
        query, key, value = (self._heads(x @ self._weight(index, f"self_attn.{name}_proj").T) for name in "qkv")
        cos, sin = self._angles(positions, query.shape[2])
        self._store(index, ops.rotate(key, cos, sin), value)
        group = self.heads // len(key)
        keys, values = (kept[index].repeat_interleave(group, 0) for kept in (self.keys, self.values))
        logits = ops.rotate(query, cos, sin) @ keys.transpose(1, 2) * query.shape[2] ** -0.5
        n, total = logits.shape[1:]
        seen = torch.ones(n, total, dtype=torch.bool).tril(total - n)
        hidden_keys = ~(seen if visible is None else seen & visible)  # the least number, not -inf: a row may see no key
        attention = logits.masked_fill(hidden_keys, torch.finfo(torch.float32).min).softmax(2)
        out = (attention @ values).transpose(0, 1).reshape(n, -1)
        hidden = hidden + out @ self._weight(index, "self_attn.o_proj").T
        x = self._norm(hidden, self._name(index, "post_attention_layernorm"))
        gate, up = (x @ self._weight(index, f"mlp.{name}_proj").T for name in ("gate", "up"))
        return hidden + (silu(gate) * up) @ self._weight(index, "mlp.down_proj").T, attention

    def last(self, hidden: Tensor) -> Tensor:
        """The norm after the last layer."""
        return self._norm(hidden, "norm")

    def cut(self, index: int, rows: Tensor) -> None:
        """Hold only these of a layer's keys and values."""
        self.keys[index], self.values[index] = self.keys[index][:, rows], self.values[index][:, rows]

    def lengths(self) -> list[int]:
        """Keys held, by layer."""
        return [self.keys[index].shape[1] for index in range(self.layers)]

    def _store(self, index: int, key: Tensor, value: Tensor) -> None:
        for kept, new in ((self.keys, key), (self.values, value)):
            kept[index] = torch.cat([kept[index], new], 1) if index in kept else new

    def _heads(self, x: Tensor) -> Tensor:
        width = self._weight(0, "self_attn.q_proj").shape[0] // self.heads
        return x.view(len(x), -1, width).transpose(0, 1)

    def _angles(self, positions: Tensor, width: int) -> tuple[Tensor, Tensor]:
        speeds = self.theta ** -(torch.arange(0, width, 2).float() / width)
        turned = (positions[:, None].float() * speeds).repeat(1, 2)
        return turned.cos(), turned.sin()

    def _norm(self, x: Tensor, name: str) -> Tensor:
        scaled: Tensor = x * (x.square().mean(1, keepdim=True) + self.eps).rsqrt()
        return scaled * self.case.tensor(f"sd.{name}.weight")

    def _weight(self, index: int, name: str) -> Tensor:
        return self.case.tensor(f"sd.{self._name(index, name)}.weight")

    def _name(self, index: int, name: str) -> str:
        return name if self.shared else f"layers.{index}.{name}"


def llama_of(case: Case, *, shared: bool = False) -> Llama:
    """The model that a case describes."""
    params = case.meta["params"]
    return Llama(case, params["layers"], params["num_heads"], params["rms_eps"], params["rope_theta"], shared)
