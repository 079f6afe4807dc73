"""Which keys of a cache are worth keeping, judged by the queries that look at them.

Pure functions in the terms of kvpress (NVIDIA, commit 8bb29b9): keys and values (B, kv heads, S, d) with keys rotated
already, queries (B, heads, n, d), scores (B, kv heads, S), more is kept.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import avg_pool1d, pad

if TYPE_CHECKING:
    from torch import Tensor


def window_attention(keys: Tensor, queries: Tensor) -> Tensor:
    """Attention (B, heads, n, S) of the last n queries, rotated, over all keys that each of them can see."""
    n, length = queries.shape[2], keys.shape[2]
    if n >= length:
        raise ValueError(f"{n} queries look back from {length} keys; there must be keys before them.")
    wide = _per_query_head(keys, queries)
    logits = queries.to(wide) @ wide.transpose(2, 3) / sqrt(keys.shape[-1])
    later = torch.ones(n, length, dtype=torch.bool, device=keys.device).triu(length - n + 1)
    return logits.masked_fill(later, float("-inf")).softmax(-1)


def pooled(shares: Tensor, kernel: int) -> Tensor:
    """Moving average over the last axis, zeros beyond its ends: (..., S) to (..., S). `kernel` is odd."""
    if kernel % 2 == 0:
        raise ValueError(f"A kernel of {kernel} has no middle; take an odd one.")
    flat = shares.reshape(-1, 1, shares.shape[-1])
    return avg_pool1d(flat, kernel, stride=1, padding=kernel // 2).view(shares.shape)


def snapkv(keys: Tensor, queries: Tensor, kernel: int = 5) -> Tensor:
    """Attention from the newest queries (B, heads, window, d), pooled over neighbours (arXiv 2404.14469).

    The window's own keys get more than all others. Published with the question at the end of the prompt; a stream has
    none at hand, so `models/kv/proxy.py` asks a general one.
    """
    window = queries.shape[2]
    seen = window_attention(keys, queries)[..., :-window].mean(2)  # (B, heads, S - window)
    scores = _per_group(pooled(seen, kernel), keys.shape[1])
    return pad(scores, (0, window), value=float(scores.max()) + 1)


def tova(keys: Tensor, query: Tensor) -> Tensor:
    """Attention from the newest query (B, heads, 1, d) alone, mean over all heads (arXiv 2401.06104)."""
    seen = window_attention(keys, query)[:, :, -1, :-1].mean(1, keepdim=True)  # (B, 1, S - 1)
    return pad(seen, (0, 1), value=float(seen.max()) + 1).expand(-1, keys.shape[1], -1)


def observed_attention(attention: Tensor, kv_heads: int) -> Tensor:
    """Attention received, mean over the queries that could see the key; `attention` (B, heads, S, S).

    The heavy hitters of H2O (arXiv 2306.14048) without its bias for the early, whom more queries see.
    """
    viewers = torch.arange(attention.shape[-1], 0, -1, device=attention.device)
    return _per_group(attention.sum(2) / viewers, kv_heads)


def mean_rotation(cos: Tensor, sin: Tensor) -> Tensor:
    """The mean turn (d, d) over positions: cos and sin (n, d), the half-split form of `kernels.reference.rotate`."""
    half = cos.shape[-1] // 2
    one = torch.eye(2 * half, dtype=cos.dtype, device=cos.device)
    return cos.mean(0)[:, None] * one + sin.mean(0)[:, None] * torch.cat([-one[half:], one[:half]])


def expected_attention(
    keys: Tensor,
    values: Tensor,
    queries: Tensor,
    turn: Tensor,
    *,
    sinks: int = 4,
    epsilon: float = 0.0,
    covariance: bool = True,
    by_value: bool = True,
) -> Tensor:
    """Attention to be expected from queries to come, were they drawn as those before (arXiv 2510.00636).

    queries (B, heads, S, d) before rotation; `turn` (d, d) their mean rotation at positions to come (`mean_rotation`).
    A Gaussian query gives the key k the mean weight exp(mean.k / sqrt(d) + k.cov.k / 2d). The first `sinks` are left
    out of all sums and get more than all others.
    """
    if keys.shape[2] <= sinks:
        raise ValueError(f"{keys.shape[2]} keys are no more than the {sinks} sinks; there is nothing to choose.")
    dim, rest = keys.shape[-1], keys[:, :, sinks:]
    queries = queries[:, :, sinks:]
    mean = queries.mean(2, keepdim=True)
    wide = _per_query_head(rest, queries)
    logits = (mean @ turn.T @ wide.transpose(2, 3)).squeeze(2) / sqrt(dim)
    if covariance:
        apart = (queries - mean) @ turn.T
        cov = apart.transpose(2, 3) @ apart / queries.shape[2]
        logits = logits + ((wide @ cov) * wide).sum(-1) / (2 * dim)
    scores = _per_group(logits.softmax(-1), keys.shape[1])
    if by_value:
        scores = (scores + epsilon) * values[:, :, sinks:].norm(dim=-1)
    return pad(scores, (sinks, 0), value=float(scores.max()) + 1)


def _per_query_head(keys: Tensor, queries: Tensor) -> Tensor:
    """Keys repeated for every query head that shares them, in at least single precision."""
    wide = keys if keys.dtype == torch.float64 else keys.float()
    return wide.repeat_interleave(queries.shape[1] // keys.shape[1], 1)


def _per_group(scores: Tensor, kv_heads: int) -> Tensor:
    """(B, heads, S) to (B, kv heads, S): mean over the query heads that share a key."""
    found: Tensor = scores.unflatten(1, (kv_heads, -1)).mean(2)
    return found
