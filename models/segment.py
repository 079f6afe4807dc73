"""Which tokens of a segment share a row: from their codes to a fixed or adaptive number of rows.

Rows start as the codes that the segment used. Too many: the closest pairs merge, wherever they are. Too few: rows that
err most are cut in two along their widest extent in time or place, so that a fixed length is met exactly and the extra
rows say something. With as many codes as tokens the rows are the tokens, in raster order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from torch import Tensor


def labels(
    flat: Tensor,
    slots: Tensor,
    times_s: Tensor,
    grid: tuple[int, int],
    *,
    rows: int,
    fewest: int,
    distortion: float,
    exact: bool,
) -> Tensor:
    """(T*N,) int64: the row of each token, rows numbered by first appearance.

    flat (T*N, D), slots (T*N,) int64, times_s (T,). At most `rows` rows; merging goes on down to `fewest` while the
    mean quantisation error (1 - cosine) is below `distortion`; `exact`: rows are cut in two until there are `rows`, or
    as many as there are tokens.
    """
    units = normalize(flat.float(), dim=1)
    found = _merge(units, _number(slots), rows, fewest, distortion)
    return _number(_split(units, found, min(rows, len(flat)), _places(times_s, grid)) if exact else found)


def _number(labels: Tensor) -> Tensor:
    """Labels renamed 0, 1, 2 ... in order of first appearance."""
    values, inverse = labels.unique(return_inverse=True)
    first = torch.full((len(values),), len(labels)).scatter_reduce_(0, inverse, torch.arange(len(labels)), "amin")
    rank = torch.empty_like(first)
    rank[first.argsort()] = torch.arange(len(first))
    return rank[inverse]


def means(flat: Tensor, labels: Tensor, count: int) -> Tensor:
    """(F, D) mean of the tokens with each label."""
    total = torch.zeros(count, flat.shape[1], dtype=flat.dtype).index_add_(0, labels, flat)
    return total / torch.bincount(labels, minlength=count).clamp_min(1)[:, None].to(flat.dtype)


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
