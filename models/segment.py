"""Closing a segment: from its tokens and their codes to rows, fixed or adaptive in number.

Rows start as the codes that the segment used. Too many: the closest pairs merge, wherever they are. Too few: rows that
err most are cut in two along their widest extent in time or place, so that a fixed length is met exactly and the extra
rows say something. With as many codes as tokens the rows are the tokens, in raster order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.functional import normalize

from kernels import ops
from models.rows import Rows

if TYPE_CHECKING:
    from torch import Tensor


def close(
    embeds: Tensor,
    slots: Tensor,
    errors: Tensor,
    times_s: Tensor,
    grid: tuple[int, int],
    *,
    length: Literal["fixed", "adaptive"],
    rows: int,
    fewest: int,
    distortion: float,
    span_s: tuple[float, float],
) -> Rows:
    """Rows of one segment.

    embeds (T, N, D), slots (T, N) int64, errors (T, N), times_s (T,). `rows` is the exact number (`fixed`; fewer only
    when there are fewer tokens) or the most (`adaptive`, never fewer than `fewest` unless there are fewer codes);
    `distortion` is the mean quantisation error (1 - cosine) that `adaptive` may spend on merging.
    """
    frames, cells, dim = embeds.shape
    flat = embeds.reshape(-1, dim)
    units = normalize(flat.float(), dim=1)
    labels = _number(slots.reshape(-1))
    labels = _merge(
        units, labels, rows, fewest if length == "adaptive" else rows, distortion if length == "adaptive" else 0.0
    )
    if length == "fixed":
        labels = _split(units, labels, min(rows, len(flat)), _places(times_s, grid))
    labels = _number(labels)
    count = int(labels.max()) + 1
    mass, share, motion = ops.motion_statistics(labels.view(frames, *grid), errors.view(frames, *grid), times_s, count)
    return Rows(
        embeds=_means(flat, labels, count),
        mass=mass,
        motion=motion,
        cells=share,
        codes=_first_code(slots.reshape(-1), labels, count),
        grid=grid,
        span_s=span_s,
        frames=frames,
        patches=float(frames * cells),
    )


def _number(labels: Tensor) -> Tensor:
    """Labels renamed 0, 1, 2 ... in order of first appearance."""
    values, inverse = labels.unique(return_inverse=True)
    first = torch.full((len(values),), len(labels)).scatter_reduce_(0, inverse, torch.arange(len(labels)), "amin")
    rank = torch.empty_like(first)
    rank[first.argsort()] = torch.arange(len(first))
    return rank[inverse]


def _means(flat: Tensor, labels: Tensor, count: int) -> Tensor:
    total = torch.zeros(count, flat.shape[1], dtype=flat.dtype).index_add_(0, labels, flat)
    return total / torch.bincount(labels, minlength=count).clamp_min(1)[:, None].to(flat.dtype)


def _first_code(slots: Tensor, labels: Tensor, count: int) -> Tensor:
    """The slot that gave each row most of its mass; ties to the lowest."""
    pairs, times = torch.stack([labels, slots]).unique(dim=1, return_counts=True)
    codes = torch.zeros(count, dtype=torch.int64)
    order = times.argsort(stable=True)  # ascending, so that the most frequent is written last
    codes[pairs[0, order]] = pairs[1, order]
    return codes


def _merge(units: Tensor, labels: Tensor, most: int, fewest: int, distortion: float) -> Tensor:
    """Merge closest pairs (by cosine of means) down to `most`, then on while the mean error is below `distortion`."""
    count = int(labels.max()) + 1
    weights = torch.bincount(labels, minlength=count).float()
    sums = torch.zeros(count, units.shape[1]).index_add_(0, labels, units)
    parent = torch.arange(count)
    means = normalize(sums, dim=1)
    cosine = (means @ means.T).masked_fill(torch.ones(count, count, dtype=torch.bool).tril(), -2.0)
    kept_length = float(sums.norm(dim=1).sum())  # sum over rows of |sum of units| = total mass - total error
    alive = count
    while alive > max(1, fewest):
        pair = int(cosine.view(-1).argmax())
        kept, gone = divmod(pair, count)
        together = sums[kept] + sums[gone]
        after = kept_length - float(sums[kept].norm() + sums[gone].norm()) + float(together.norm())
        if alive <= most and 1 - after / float(weights.sum()) > distortion:
            break
        kept_length = after
        sums[kept] = together
        parent[parent == gone] = kept
        cosine[gone, :] = -2.0
        cosine[:, gone] = -2.0
        near = normalize(sums, dim=1) @ normalize(together, dim=0)
        living = (parent.bincount(minlength=count) > 0) & (torch.arange(count) != kept)
        index = torch.arange(count)
        cosine[kept, living & (index > kept)] = near[living & (index > kept)]
        cosine[living & (index < kept), kept] = near[living & (index < kept)]
        alive -= 1
    return parent[labels]


def _places(times_s: Tensor, grid: tuple[int, int]) -> Tensor:
    """(T*N, 3) time, y, x of every token, each scaled to 0..1 over the segment."""
    rows, columns = grid
    length = max(float(times_s[-1] - times_s[0]), 1e-6)
    t = ((times_s - times_s[0]) / length).float().repeat_interleave(rows * columns)
    y = (torch.arange(rows) / max(rows - 1, 1)).repeat_interleave(columns).repeat(len(times_s))
    x = (torch.arange(columns) / max(columns - 1, 1)).repeat(rows * len(times_s))
    return torch.stack([t, y, x], 1)


def _split(units: Tensor, labels: Tensor, rows: int, places: Tensor) -> Tensor:
    """Cut the row with the largest total error in two at its middle until there are `rows`; tokens stay whole."""
    labels = _number(labels)
    sizes = labels.bincount().tolist()
    if len(sizes) >= rows:
        return labels
    members = list(labels.argsort(stable=True).split(sizes))  # of each row, ascending: order decides the last bit
    loss = [_loss(units[its]) for its in members]
    while len(members) < rows:
        row = max(range(len(members)), key=lambda r: (loss[r], -r))
        its = members[row]
        spread = places[its].amax(0) - places[its].amin(0)
        axis = int((spread + torch.tensor([0.0, 1e-4, 2e-4])).argmax())  # equal extents: cut by place, x first
        order = places[its, axis].argsort(stable=True)
        stay, half = its[order[: len(its) // 2]].sort().values, its[order[len(its) // 2 :]]
        labels[half] = len(members)
        loss[row] = _loss(units[stay])
        loss.append(_loss(units[half]))
        members[row] = stay
        members.append(half.sort().values)
    return labels


def _loss(units: Tensor) -> float:
    """Total quantisation error of a row; a whisper of its mass breaks ties, and a single token is never cut."""
    if len(units) < 2:
        return -1.0
    return float(len(units) - units.sum(0).norm()) + 1e-5 * len(units)
