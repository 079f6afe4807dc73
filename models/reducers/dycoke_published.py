"""DyCoke's temporal stage as its authors released it, defects included: for comparison, not for use."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity


def keep_count(ratio: float, cells: int) -> int:
    """Tokens that a thinned frame keeps; what floating point makes of it: 1 of 20 at ratio 0.9, not 2."""
    return int((1 - ratio) * cells)


def thinned_frames(frames: int) -> dict[int, int]:
    """Which frame is thinned, and the frame that it is compared with.

    The second of each pair by the first; then the third of each four by the first, but the loop ends one four early
    where `frames` is a multiple of 4. Raises ValueError for four frames or fewer, where the released code breaks.
    """
    if frames <= 4:
        raise ValueError(f"DyCoke as published needs more than four frames; there are {frames}.")
    pairs = {second: second - 1 for second in range(1, frames - frames % 2, 2)}
    return pairs | {first + 2: first for first in range(0, frames - 4, 4)}


def as_published(embeds: Tensor, keep: int) -> Tensor:
    """Flat indices of the kept tokens of (T, N, D), frame after frame, in the order of the released code.

    A thinned frame has its `keep` tokens least like those it is compared with, the least alike first instead of in
    raster order. The last of an odd number of frames is lost. References are whole frames, though part of them was
    itself dropped. Raises ValueError for four frames or fewer.
    """
    frames, cells = embeds.shape[:2]
    against = thinned_frames(frames)
    kept = []
    for frame in range(frames - frames % 2):
        if frame in against:
            alike = cosine_similarity(embeds[against[frame]], embeds[frame], dim=1)
            chosen = alike.argsort(stable=True)[:keep]
        else:
            chosen = torch.arange(cells, device=embeds.device)
        kept.append(chosen + frame * cells)
    return torch.cat(kept)
