"""Clips for tests of reducers: drifting regions like a real camera's, and the odd ones that break things."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

from models.reducers.clip import Clip

WIDTH = 16  # of a token
FRAMES = (1, 2, 3, 4, 5, 7, 9, 13, 16)
GRIDS = ((1, 1), (1, 7), (2, 3), (3, 2), (4, 4), (3, 5))
HUGE, TINY = 1e15, 1e-30  # squares of both are beyond what float32 tells apart from infinity and nothing
ODD = ("equal", "zero", "huge", "tiny", "one huge token", "one zero frame", "two values", "opposite")


def camera(frames: int, grid: tuple[int, int], seed: int, cut: bool = True) -> Clip:
    """A few regions that drift over a fixed ground, fresh noise, slots of a token base, and perhaps a cut."""
    coin = torch.Generator().manual_seed(seed)
    rows, columns = grid
    looks = torch.randn(6, WIDTH, generator=coin) * 3
    ground = torch.randn(rows, columns, WIDTH, generator=coin) * 0.4
    labels = torch.zeros(frames, rows, columns, dtype=torch.int64)
    for t in range(frames):
        scene = 3 * int(cut and frames > 2 and t >= (frames + 1) // 2)
        labels[t] = scene
        labels[t, (t + seed) % rows, :] = scene + 1
        labels[t, :, (2 * t + seed) % columns] = scene + 2
    embeds = looks[labels] + ground + 0.1 * torch.randn(frames, rows, columns, WIDTH, generator=coin)
    errors = torch.rand(frames, rows * columns, generator=coin) * 0.1
    return Clip(embeds.reshape(frames, -1, WIDTH), grid, torch.arange(frames) * 0.5, labels.reshape(frames, -1), errors)


def odd(kind: str, frames: int, grid: tuple[int, int]) -> Clip:
    """Contents that methods have been seen to trip over."""
    cells = grid[0] * grid[1]
    made = camera(frames, grid, seed=frames).embeds
    if kind == "equal":
        made = made[:1, :1].expand(frames, cells, WIDTH).clone()
    elif kind == "zero":
        made = torch.zeros_like(made)
    elif kind == "huge":
        made = made * HUGE
    elif kind == "tiny":
        made = made * TINY
    elif kind == "one huge token":
        made[frames // 2, cells // 2] *= HUGE
    elif kind == "one zero frame":
        made[frames // 2] = 0
    elif kind == "two values":
        made = made[:1, :1] * (torch.arange(frames * cells) % 2 + 1.0).view(frames, cells, 1)
    elif kind == "opposite":
        made = made[:1, :1] * (1 - 2.0 * (torch.arange(frames * cells) % 2)).view(frames, cells, 1)
    return Clip(made, grid, torch.arange(frames) * 0.5)


@st.composite
def clips(draw: st.DrawFn, most: int = 16) -> Clip:
    """Any camera, with and without codes and saliency."""
    frames = draw(st.sampled_from([f for f in FRAMES if f <= most]))
    made = camera(frames, draw(st.sampled_from(GRIDS)), draw(st.integers(0, 999)), draw(st.booleans()))
    coded, salient = draw(st.booleans()), draw(st.booleans())
    coin = torch.Generator().manual_seed(frames)
    return Clip(
        made.embeds,
        made.grid,
        made.times_s,
        made.slots if coded else None,
        made.errors if coded else None,
        torch.rand(made.embeds.shape[:2], generator=coin) if salient else None,
    )


def with_embeds(clip: Clip, embeds: Tensor) -> Clip:
    """The same clip of other tokens."""
    return Clip(embeds, clip.grid, clip.times_s, clip.slots, clip.errors, clip.saliency)
