"""LLaVA-PruMerge as its authors released it, defects included: for comparison, not for use."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

PLUS_PATCHES, LAST_SAMPLED = 576, 574  # both written into the released code


def class_attention(queries: Tensor, keys: Tensor) -> Tensor:
    """(B, N) what the class token, first of (B, 1 + N, D), gives each patch: one head over the whole width."""
    scores = (queries[:, :1] * queries.shape[-1] ** -0.5) @ keys.mT
    attention: Tensor = scores.softmax(-1)[:, 0, 1:]
    return attention


def outlier_ratio(attention: Tensor, spread: float = 1.5) -> float:
    """Share of values above Q3 + 1.5 (Q3 - Q1), all frames of (B, N) together."""
    low, high = torch.quantile(attention, torch.tensor([0.25, 0.75], dtype=attention.dtype))
    return float((attention > high + spread * (high - low)).double().mean())


def most_attended(attention: Tensor, ratio: float) -> Tensor:
    """(B, int(N * ratio)) patches of (B, N), the most attended first."""
    count = int(attention.shape[1] * ratio)
    return attention.argsort(dim=1, descending=True, stable=True)[:, :count]


def plus(kept: Tensor, ratio: float, patches: int) -> Tensor:
    """The kept patches (1, K) and, after them, every so many positions that are not among them.

    Raises ValueError where the released code breaks: for other than one frame of 576 patches, and for a ratio of which
    no stride can be made.
    """
    if kept.shape[0] != 1 or patches != PLUS_PATCHES:
        raise ValueError(f"PruMerge+ as published needs one frame of {PLUS_PATCHES} patches.")
    stride = int(int(1 / ratio) / 3) if ratio > 0 else 0
    if stride < 1:
        raise ValueError(f"PruMerge+ as published finds no stride for {ratio:.3g} of the patches.")
    grid = torch.arange(0, LAST_SAMPLED + 1, stride)
    return torch.cat([kept, grid[~torch.isin(grid, kept[0])][None]], 1)


def neighbours_of(keys: Tensor, kept: Tensor, count: int) -> Tensor:
    """(B, K, count) for each kept patch the `count` others with the most similar keys (B, N, D), nearest first.

    Kept ones are among them. Raises ValueError where there are not so many others.
    """
    if keys.shape[1] <= count:
        raise ValueError(f"PruMerge as published needs more than {count} patches; there are {keys.shape[1]}.")
    units = normalize(keys, dim=2)
    alike = torch.stack([some[chosen] @ some.T for some, chosen in zip(units, kept, strict=True)])
    alike = alike.scatter(2, kept[:, :, None], -torch.inf)
    return alike.argsort(dim=2, descending=True, stable=True)[:, :, :count]


def rows_of(tokens: Tensor, attention: Tensor, kept: Tensor, near: Tensor) -> Tensor:
    """(B, K + 1, D): each kept token plus the attention-weighted sum of its neighbours; last, that of all not kept.

    Weights are not normalised, so that rows are longer or far shorter than tokens.
    """
    rows = []
    for frame, weights, chosen, others in zip(tokens, attention, kept, near, strict=True):
        weighted = weights[:, None] * frame
        left = torch.ones(len(frame), dtype=torch.bool)
        left[chosen] = False
        rows.append(torch.cat([frame[chosen] + weighted[others].sum(1), weighted[left].sum(0, keepdim=True)]))
    return torch.stack(rows)
