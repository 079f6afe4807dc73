"""What a method inside the language model is asked, and how attention is ranked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Inner(Protocol):
    """Chooses, while a question is read, which seen rows deeper layers look at."""

    @property
    def words(self) -> bool:
        """Does it judge by all words of the question? Else by the last row alone."""

    @property
    def merges(self) -> bool:
        """Do rows that leave go into the most similar one that stays?"""

    def after(self, layers: int) -> tuple[int, ...]:
        """Layers of a model of so many, from 0 and ascending, after each of which it chooses."""

    def keep(self, attention: Tensor, whole: int) -> Tensor:
        """Attention (q, V), mean over heads, of the judging rows on seen rows -> indices (F,) that stay, ascending.

        `whole`: seen rows there were before anything was chosen.
        """

    def most(self, rows: int) -> int:
        """Of so many seen rows, how many may stay."""


def complete(share: float, layers: int) -> int:
    """Layers that are complete at this share of the depth: at least one, and one at least is left (0: too shallow)."""
    return min(max(1, round(share * layers)), layers - 1)


def most_attended(attention: Tensor, count: int) -> Tensor:
    """Indices (count,) of the largest of (V,), ascending; ties go to the older row."""
    return attention.argsort(descending=True, stable=True)[:count].sort().values


def head_mean(query: Tensor, parts: Sequence[tuple[Tensor, Tensor]], scale: float, rows: int) -> Tensor:
    """Attention of the last `rows` queries, mean over heads: (rows, N) float32, each row summing to 1.

    query (heads, n, d) and parts as for `kernels.reference.attend`. One group of heads at a time, so that a long
    question needs no table of all heads.
    """
    asked, kv_heads = query[:, query.shape[1] - rows :], parts[0][0].shape[0]
    heads, _, d = asked.shape
    total = sum(keys.shape[1] for keys, _ in parts)
    later = torch.ones(rows, rows, dtype=torch.bool, device=query.device).triu_(1)
    mean = torch.zeros(rows, total, device=query.device)
    for group, folded in enumerate(asked.reshape(kv_heads, -1, d)):
        logits = torch.cat([folded @ keys[group].T for keys, _ in parts], 1).float().mul_(scale)
        logits = logits.view(-1, rows, total)
        logits[:, :, total - rows :].masked_fill_(later, float("-inf"))
        mean += logits.softmax(2).sum(0)
    return mean / heads
