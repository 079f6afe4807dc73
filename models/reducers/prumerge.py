"""PruMerge: the tokens that stand out by attention are kept, and each takes those in that are like it.

Source: LLaVA-PruMerge (arXiv 2403.15388), made for one image: frames are reduced one by one. What the released code
does otherwise is in `prumerge_published.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from models.reducers import prumerge_published as published
from models.reducers.clip import Clip, Reduced

if TYPE_CHECKING:
    from torch import Tensor

LIGHTEST = 1e-12  # weight of a token without attention, so that rows of such tokens are their mean


@dataclass(frozen=True, slots=True)
class PruMerge:
    """Outliers of attention stay, `neighbours` others join each, what is left of a frame is one more row.

    The class token's attention is `Clip.attention()`, the keys are the tokens themselves. An outlier is above
    Q3 + `spread` (Q3 - Q1) of its frame. With `plus`, as in PruMerge+, positions at a stride stay as well, about three
    times as many as there are outliers in the frame.
    Differs from the released code: rows are weighted means, not sums with weights that do not add up to 1; a token
    belongs to one row, so that mass is conserved; every frame has its own number of outliers, which may be none; the
    stride runs over any grid; rows come by place. `as_published` brings all that back.
    """

    spread: float = 1.5
    neighbours: int = 32
    plus: bool = True
    fill: bool = True
    as_published: bool = False

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """At most `rows` rows.

        Where outliers are too many, the bound rises until those that stand out most, in terms of their own frame's
        quartiles, fit. Positions at a stride take what room is left, evenly over the clip; with `fill`, the bound falls
        where there is still room. Where there is less than two rows per frame, frames one after the other share the
        row of what is left, and such rows are half of all.
        As published: a clip is a batch, all frames keep equally many. Raises ValueError where a row per frame is too
        much, and where the released code breaks: with 32 patches or fewer, and with `plus` but for one frame of 576.
        """
        clip = replace(clip, embeds=clip.embeds.contiguous())
        if self.as_published:
            return self._published(clip, rows)
        frames, cells = clip.embeds.shape[:2]
        attention = clip.attention()
        rests = min(frames, max(1, rows // 2))
        chosen = self.chosen(attention, rows - rests)
        labels = torch.full((frames, cells), -1, device=chosen.device)
        units = normalize(clip.embeds, dim=2)
        for frame in range(frames):
            here = (chosen // cells == frame).nonzero()[:, 0]
            if len(here):
                joined = clusters(units[frame], chosen[here] - frame * cells, self.neighbours)
                labels[frame] = torch.where(joined >= 0, here[joined], -1)
        shared = len(chosen) + torch.arange(frames, device=chosen.device) * rests // frames
        labels = torch.where(labels >= 0, labels, shared[:, None])
        return _weighted(clip.flat, attention.reshape(-1), labels.reshape(-1), chosen).in_order()

    def chosen(self, attention: Tensor, most: int) -> Tensor:
        """Flat indices, ascending, of at most `most` tokens of (T, N) that keep a row of their own."""
        margins = outlier_margins(attention).reshape(-1)
        order = margins.argsort(descending=True, stable=True)
        outliers = order[: int((margins > self.spread).sum())]
        found = [outliers[:most]]
        if self.plus:
            regular = self._regular(outliers, *attention.shape)
            room = min(len(regular), max(0, most - len(outliers)))
            found.append(regular[torch.arange(room, device=regular.device) * len(regular) // max(1, room)])
        if self.fill:
            others = order[~torch.isin(order, torch.cat(found))]
            found.append(others[: most - sum(map(len, found))])
        return torch.cat(found).sort().values

    def _regular(self, outliers: Tensor, frames: int, cells: int) -> Tensor:
        """Flat indices of positions at a stride, but outliers; of frames that have outliers."""
        counts = torch.bincount(outliers // cells, minlength=frames)[:, None]
        strides = (cells // (3 * counts.clamp_min(1))).clamp_min(1)
        regular = (torch.arange(cells, device=outliers.device) % strides == 0) & (counts > 0)
        regular.view(-1)[outliers] = False
        return regular.view(-1).nonzero()[:, 0]

    def _published(self, clip: Clip, rows: int) -> Reduced:
        frames, cells = clip.embeds.shape[:2]
        attention, each = clip.attention(), rows // frames - 1
        if each < 0:
            raise ValueError(f"PruMerge as published cannot say {frames} frames in {rows} rows.")
        ratio = published.outlier_ratio(attention, self.spread)
        kept = published.most_attended(attention, ratio)
        kept = (published.plus(kept, ratio, cells) if self.plus else kept)[:, : min(each, cells - 1)]
        near = published.neighbours_of(clip.embeds, kept, self.neighbours)
        made = published.rows_of(clip.embeds, attention, kept, near)
        left = torch.ones(frames, cells, dtype=torch.bool).scatter(1, kept, value=False)
        rest = attention.masked_fill(~left, -1).argmax(1, keepdim=True)
        sources = torch.cat([kept, rest], 1)
        ranks = torch.arange(sources.shape[1]).expand_as(sources)
        owners = torch.full((frames, cells), kept.shape[1]).scatter(1, sources, ranks)
        first = torch.arange(frames)[:, None]
        owners, sources = owners + first * sources.shape[1], sources + first * cells
        return Reduced(made.flatten(0, 1), owners.flatten(), sources.flatten())


def outlier_margins(attention: Tensor) -> Tensor:
    """(T, N) how far each value is above its frame's third quartile, in quartile ranges."""
    bounds = torch.tensor([0.25, 0.75], dtype=attention.dtype, device=attention.device)
    low, high = torch.quantile(attention, bounds, dim=1)
    margins: Tensor = (attention - high[:, None]) / (high - low).clamp_min(LIGHTEST)[:, None]
    return margins


def clusters(units: Tensor, chosen: Tensor, neighbours: int) -> Tensor:
    """(N,) which of the chosen (k,) each of the unit vectors (N, D) joins; -1 for none.

    The `neighbours` most similar of the others may join; who may join several joins the most similar.
    """
    joined = torch.full((len(units),), -1, device=units.device)
    if not len(chosen):
        return joined
    alike = units[chosen] @ units.T
    alike[:, chosen] = -torch.inf
    order = alike.argsort(dim=1, descending=True, stable=True)[:, :neighbours]
    best = torch.full_like(alike, -torch.inf).scatter(1, order, alike.gather(1, order)).max(0)
    joined = torch.where(best.values > -torch.inf, best.indices, joined)
    joined[chosen] = torch.arange(len(chosen), device=units.device)
    return joined


def _weighted(flat: Tensor, attention: Tensor, labels: Tensor, chosen: Tensor) -> Reduced:
    """Weighted means of tokens of one label. The first labels keep the places in `chosen`, others their weightiest."""
    owners = labels.unique(return_inverse=True)[1]
    weights = attention.clamp_min(LIGHTEST)
    count = int(owners.max()) + 1
    total = flat.new_zeros(count, flat.shape[1]).index_add_(0, owners, weights[:, None] * flat)
    mass = weights.new_zeros(count).index_add_(0, owners, weights)
    order = weights.argsort(descending=True, stable=True)
    ranks = torch.empty_like(order).scatter(0, order, torch.arange(len(order), device=flat.device))
    first = torch.full((count,), len(order), device=flat.device).scatter_reduce(0, owners, ranks, "amin")
    sources = order[first]
    sources[: len(chosen)] = chosen
    return Reduced(total / mass[:, None], owners, sources)
