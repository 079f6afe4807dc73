"""Which keys of a cache are worth keeping, judged by the keys and values alone; and how a selection is carried out.

Pure functions in the terms of kvpress (NVIDIA, commit 8bb29b9): keys and values (B, kv heads, S, d), scores
(B, kv heads, S), more is kept. The scorers that need queries are in `models/kv/attention_scorers.py`; how a policy of
the memory judges whole blocks by the same measures is in `models/kv/prune.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cosine_similarity, normalize

from kernels import ops

if TYPE_CHECKING:
    from torch import Tensor


def keep_count(length: int, compression: float) -> int:
    """How many of `length` keys stay when the share `compression` is to go; rounded down, as published."""
    return int(length * (1 - compression))


def kept(scores: Tensor, count: int) -> Tensor:
    """Indices (B, kv heads, count) of the best keys of each head, best first; of equals the older."""
    return scores.argsort(dim=-1, descending=True, stable=True)[..., :count]


def gathered(states: Tensor, index: Tensor) -> Tensor:
    """The chosen keys or values, in the order of `index`: (B, kv heads, count, d)."""
    return states.gather(2, index.unsqueeze(-1).expand(*index.shape, states.shape[-1]))


def rerotated(keys: Tensor, index: Tensor, frequencies: Tensor) -> Tensor:
    """Chosen keys in order of position, turned from where they stood to 0, 1, 2 ...: (B, kv heads, count, d).

    `keys` are rotated already and stand at 0 .. S - 1; `frequencies` (d / 2,) are the model's own. One turn by the
    difference: enough once, and not for ever (`models/kv/render.py` turns from raw keys instead).
    """
    index = index.sort(dim=-1).values
    moved = torch.arange(index.shape[-1], device=index.device) - index
    angles = moved.unsqueeze(-1).to(frequencies) * frequencies
    angles = torch.cat([angles, angles], -1)
    return ops.rotate(gathered(keys, index), angles.cos(), angles.sin())


def streaming_llm(keys: Tensor, count: int, sinks: int = 4) -> Tensor:
    """1 for the first `sinks` keys and the newest, 0 for the S - count between (arXiv 2309.17453)."""
    length = keys.shape[2]
    if length <= sinks:
        raise ValueError(f"{length} keys are no more than the {sinks} sinks; there is nothing to choose.")
    scores = keys.new_ones(keys.shape[:3])
    scores[..., sinks : sinks + length - count] = 0
    return scores


def knorm(keys: Tensor) -> Tensor:
    """Minus the length of the key: short keys draw attention (arXiv 2406.11430)."""
    return -vnorm(keys)


def vnorm(values: Tensor) -> Tensor:
    """Length of the value: what it adds when it is attended to (VaN of InfiniPot-V, arXiv 2506.15745)."""
    found: Tensor = _wide(values).norm(dim=-1)
    return found


def keydiff(keys: Tensor) -> Tensor:
    """Minus the cosine to the mean of the unit keys: what is unlike the rest stays (arXiv 2504.15364)."""
    keys = _wide(keys)
    anchor = normalize(keys, dim=-1).mean(2, keepdim=True)
    return -cosine_similarity(keys, anchor, dim=-1)


def lagkv(keys: Tensor, values: Tensor, lag: int = 128, sinks: int = 4, cross: bool = False) -> Tensor:
    """Spread over channels on the scale of the next chunk of `lag` keys (arXiv 2504.04704).

    A score is the rank within the chunk / lag, or with `cross` the score itself, comparable between chunks. Sinks, the
    last whole chunk and what comes after it get 1. Where there are no two chunks the newest are best. A channel that is
    constant in the next chunk has the scale 1; as published it divides by 0.
    """
    batch, heads, length, dim = keys.shape
    chunks = (length - sinks) // lag
    scores = _wide(keys).new_ones(batch, heads, length)
    if chunks < 2:
        rest = max(0, length - sinks)
        scores[..., sinks:] = torch.arange(rest, device=keys.device) / max(1, rest)
        return scores
    judged = slice(sinks, sinks + chunks * lag)
    parts = [_wide(states)[:, :, judged].reshape(batch, heads, chunks, lag, dim) for states in (keys, values)]
    found = torch.stack([_spread(part) for part in parts]).mean(0)  # (B, kv heads, chunks - 1, lag)
    if not cross:
        found = found.argsort(dim=-1).argsort(dim=-1) / lag
    scores[..., sinks : sinks + (chunks - 1) * lag] = found.flatten(2).to(scores)
    return scores


def _spread(chunks: Tensor) -> Tensor:
    """(B, kv heads, chunks, lag, d) to (B, kv heads, chunks - 1, lag): each chunk by its next, summing to 1."""
    these, following = chunks[:, :, :-1], chunks[:, :, 1:]
    low, high = following.amin(-2, keepdim=True), following.amax(-2, keepdim=True)
    scale = torch.where(high > low, high - low, 1.0)
    return ((these - low) / scale).std(-1).softmax(-1)


def _wide(states: Tensor) -> Tensor:
    """At least single precision."""
    return states if states.dtype == torch.float64 else states.float()
