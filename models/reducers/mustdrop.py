"""MustDrop outside the language model: windows of like tokens become one, and what is attended to most is kept.

Source: MustDrop (arXiv 2411.10803), vision stage, made for images: frames are reduced one by one. Its stages within
the language model are in `models/inner/mustdrop.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from models.reducers.clip import DROPPED, Clip, Reduced, merged

if TYPE_CHECKING:
    from torch import Tensor

ALONE = -2.0  # below every cosine: a window of one token has nothing to merge


def window_cells(grid: tuple[int, int], window: int) -> Tensor:
    """(N,) which window each cell of a grid (rows, columns) is in; those at the far edges may be smaller."""
    across = -(-grid[1] // window)
    y, x = torch.arange(grid[0])[:, None] // window, torch.arange(grid[1]) // window
    return (y * across + x).reshape(-1)


def window_likeness(patches: Tensor, cells: Tensor) -> Tensor:
    """(B, W) mean cosine of all pairs of two tokens within each window of (B, N, D); `cells` (N,) says which."""
    units = normalize(patches, dim=2)
    count = int(cells.max()) + 1
    total = units.new_zeros(len(units), count, units.shape[2]).index_add_(1, cells, units)
    alone = units.new_zeros(len(units), count).index_add_(1, cells, units.square().sum(2))
    size = torch.bincount(cells, minlength=count).to(units.dtype)
    likeness = (total.square().sum(2) - alone) / (size * (size - 1)).clamp_min(1)
    return torch.where(size > 1, likeness, ALONE)


def like_windows(likeness: Tensor, threshold: float, *, as_published: bool = False) -> Tensor:
    """(B, W) bool: windows at or above the threshold. As published, as many in each item as the one with fewest has."""
    like = likeness >= threshold
    if not as_published:
        return like
    return _ranks(likeness) < like.sum(1).min()


def key_set(attention: Tensor, rate: float) -> Tensor:
    """(B, ceil(rate * N)) tokens of (B, N) that matter most, the most attended first."""
    count = math.ceil(rate * attention.shape[1])
    return attention.argsort(dim=1, descending=True, stable=True)[:, :count]


@dataclass(frozen=True, slots=True)
class MustDrop:
    """Merge windows that are alike throughout, keep what is attended to most.

    `key_rate`: share of a frame's rows in its key set (published 0.08, which the language model then may not drop);
    None for as many as `rows` allows. With `fill` no more windows are merged than `rows` asks for. Attention is
    `Clip.attention()`, of a merged window the mean of its tokens.
    Differs from the released code: each frame merges its own like windows, not as many as the frame that has fewest;
    windows at the edge of a grid that is no multiple of `window` are smaller; rows come by place. `as_published` has
    it as released: within a frame merged windows come first, the most alike before the others.
    """

    window: int = 3
    threshold: float = 0.8
    key_rate: float | None = None
    fill: bool = True
    as_published: bool = False

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """At most `rows` rows: the most alike windows of the clip are merged until they fit, as far as `threshold`.

        Where all like windows are not enough, the key set stays, as large as `rows` allows, and the rest is dropped.
        Frames have their most attended row each, then their second, and so on; where not all of a turn fit, those
        that their frames attend to most. As published: raises ValueError for a grid that windows do not tile.
        """
        if self.as_published and any(side % self.window for side in clip.grid):
            raise ValueError(f"MustDrop as published cannot tile a grid of {clip.grid} by windows of {self.window}.")
        clip = replace(clip, embeds=clip.embeds.contiguous())
        labels = self._labels(clip, rows)
        chosen = self._chosen(labels, clip.attention(), rows)
        found = merged(clip, torch.where(chosen, labels, DROPPED).reshape(-1))
        return _by_label(found, labels.reshape(-1)) if self.as_published else found

    def _labels(self, clip: Clip, rows: int) -> Tensor:
        """(T, N) int64: one for a merged window; in a frame they come before other tokens, the most alike first."""
        frames, count = clip.embeds.shape[:2]
        cells = window_cells(clip.grid, self.window).to(clip.embeds.device)
        likeness = window_likeness(clip.embeds, cells)
        like = like_windows(likeness, self.threshold, as_published=self.as_published)
        if self.fill and not self.as_published:
            like = _needed(like, likeness, torch.bincount(cells), frames * count - rows)
        ranks = _ranks(likeness)
        windows, places = ranks.shape[1], torch.arange(count, device=cells.device)
        labels = torch.where(like[:, cells], ranks[:, cells], windows + places)
        return labels + torch.arange(frames, device=cells.device)[:, None] * (windows + count)

    def _chosen(self, labels: Tensor, attention: Tensor, rows: int) -> Tensor:
        """(T, N) bool: the tokens of rows that stay."""
        frames, count = labels.shape
        held, numbered, sizes = labels.reshape(-1).unique(return_inverse=True, return_counts=True)
        weights = attention.new_zeros(len(held)).index_add_(0, numbered, attention.reshape(-1)) / sizes
        whose = torch.arange(frames, device=labels.device).repeat_interleave(count)
        frame = numbered.new_zeros(len(held)).scatter_(0, numbered, whose)
        order = weights.argsort(descending=True, stable=True)
        order = order[frame[order].argsort(stable=True)]  # frame after frame, in each the most attended first
        each = torch.bincount(frame, minlength=frames)
        turns = torch.arange(len(order), device=labels.device) - (each.cumsum(0) - each).repeat_interleave(each)
        if self.key_rate is not None:
            keys = turns < (each * self.key_rate).ceil().repeat_interleave(each)
            order, turns = order[keys], turns[keys]
        first = weights[order].argsort(descending=True, stable=True)
        first = first[turns[first].argsort(stable=True)][:rows]
        stays = torch.zeros_like(frame, dtype=torch.bool).scatter_(0, order[first], value=True)
        return stays[numbered].view(frames, count)


def _needed(like: Tensor, likeness: Tensor, sizes: Tensor, excess: int) -> Tensor:
    """(T, W) bool: the most alike of the like windows, as many as make `excess` rows fewer; all if that is too few."""
    order = torch.where(like, likeness, -torch.inf).reshape(-1).argsort(descending=True, stable=True)
    saved = (like * (sizes - 1)).reshape(-1)[order]
    needed = saved.cumsum(0) - saved < excess
    return torch.zeros_like(like).view(-1).scatter(0, order, needed).view(like.shape) & like


def _ranks(likeness: Tensor) -> Tensor:
    order = likeness.argsort(dim=1, descending=True, stable=True)
    ranks: Tensor = order.argsort(dim=1)
    return ranks


def _by_label(found: Reduced, labels: Tensor) -> Reduced:
    order = labels[found.sources].argsort(stable=True)
    ranks = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    owners = torch.where(found.owners >= 0, ranks[found.owners.clamp_min(0)], DROPPED)
    return Reduced(found.embeds[order], owners, found.sources[order])
