"""Cross-dynamics attention: how the rows of a segment learn where and how they moved.

Base rows are the queries; keys and values are the rows with the motion features of the dynamics map added, so what is
mixed in says where each code was, where it went, when it came and left (Token Dynamics / VQToken, arXiv 2503.16980,
"VQ-attention"; the map enters as statistics, not as raw ids, so renaming codes permutes rows and changes nothing else).
The residual is scaled by tanh(gate) with the gate at zero before training, so an untrained block is the identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from models.rows import MOTION_FEATURES

if TYPE_CHECKING:
    from torch import Tensor

    from models.rows import Rows

INNER = 256  # width of the attention, whatever the language model's
HEADS = 4


class CrossDynamics(nn.Module):
    """(F, D) rows and their motion to (F, D) fused tokens."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        inner = min(INNER, max(HEADS, dim - dim % HEADS))
        self.heads = HEADS
        self.norm = nn.LayerNorm(dim)
        self.motion = nn.Sequential(nn.Linear(MOTION_FEATURES, inner), nn.GELU(), nn.Linear(inner, inner))
        self.query = nn.Linear(dim, inner, bias=False)
        self.key = nn.Linear(dim, inner, bias=False)
        self.value = nn.Linear(dim, inner, bias=False)
        self.out = nn.Linear(inner, dim, bias=False)
        self.to_self = nn.Parameter(torch.full((HEADS,), 3.0))  # a row's own motion first; learned from there
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, rows: Rows) -> Tensor:
        """Fused tokens, exactly as many as rows."""
        if not self.training and float(self.gate.detach()) == 0.0:
            return rows.embeds
        dtype = self.gate.dtype
        fused = self.mix(rows.embeds.to(dtype)[None], rows.motion.to(dtype)[None], rows.mass.to(dtype)[None])
        return fused[0].to(rows.embeds.dtype)

    def mix(self, embeds: Tensor, motion: Tensor, mass: Tensor) -> Tensor:
        """Batched form: (B, F, D), (B, F, M), (B, F) to (B, F, D); rows of zero mass are padding."""
        batch, count, _ = embeds.shape
        normed = self.norm(embeds)
        moved = self.motion(motion)
        q = self._split(self.query(normed))  # (B, heads, F, inner/heads)
        k = self._split(self.key(normed) + moved)
        v = self._split(self.value(normed) + moved)
        # log-mass bias: a row that stands for many patches counts as many keys (ToMe, arXiv 2210.09461, eq. 1)
        bias = torch.log(mass.clamp_min(1e-6))[:, None, None, :].expand(batch, self.heads, count, count)
        bias = bias.masked_fill((mass <= 0)[:, None, None, :], float("-inf"))
        own = torch.eye(count, dtype=torch.bool, device=embeds.device)
        # a row's own weight does not depend on its mass, else the walls would always outweigh a dog
        bias = torch.where(
            own, self.to_self[None, :, None, None].expand_as(bias), bias - bias.amax(-1, keepdim=True).clamp_min(0)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        mixed = mixed.transpose(1, 2).reshape(batch, count, -1)
        fused: Tensor = embeds + torch.tanh(self.gate) * self.out(mixed)
        return fused

    def _split(self, x: Tensor) -> Tensor:
        batch, count, inner = x.shape
        return x.view(batch, count, self.heads, inner // self.heads).transpose(1, 2)
