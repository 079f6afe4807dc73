"""Every kernel in plain PyTorch: the truth that fast paths are tested against."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def nearest_code(units: Tensor, codes: Tensor, alive: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest living code of each token by cosine; ties go to the lowest index.

    units (N, D) and codes (K, D) of unit length, alive (K,) bool -> index (N,) int64, cosine (N,).
    With no code alive the cosine is -inf and the index 0.
    """
    cosine = (units @ codes.T).masked_fill(~alive, float("-inf"))
    best = cosine.amax(1)
    index = (cosine >= best[:, None]).to(torch.uint8).argmax(1)  # argmax of 0/1 names the first, on every device
    return index, best


def move_codes(sums: Tensor, weights: Tensor, units: Tensor, mass: Tensor, index: Tensor, forgetting: float) -> Tensor:
    """Weighted mean with exponential forgetting, as sums, in place: only codes that were hit forget, or are written.

    sums (K, D), weights (K,), units (N, D), mass (N,), index (N,) -> rows written (M,) int64, ascending. A code's
    centroid is sums / weights = the mean of its members weighted by mass * (1 - forgetting)^(frames with a hit since).
    """
    touched: Tensor
    touched, member = index.unique(return_inverse=True)
    hit = torch.zeros_like(weights[touched]).index_add_(0, member, mass)
    keep = torch.where(hit > 0, 1.0 - forgetting, 1.0)
    added = torch.zeros_like(sums[touched]).index_add_(0, member, units * mass[:, None])
    sums[touched] = sums[touched] * keep[:, None] + added
    weights[touched] = weights[touched] * keep + hit
    return touched


def motion_statistics(labels: Tensor, errors: Tensor, times_s: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """What the dynamics map says of each row: mass, cells and motion.

    labels (T, H, W) int64 row per cell (negative: none), errors (T, H, W) 1 - cosine to the code, times_s (T,)
    -> mass (F,), cells (F, H*W) summing to 1, motion (F, 26). Positions are -0.5 to 0.5 across the picture, velocity is
    picture widths per second. Nothing depends on how rows are numbered.
    """
    frames, height, width = labels.shape
    flat = labels.reshape(frames, -1)
    held = (flat >= 0).float()
    slot = flat.clamp_min(0) + torch.arange(frames, device=flat.device)[:, None] * count  # (T, H*W) into T*F
    x = ((torch.arange(width, device=flat.device) + 0.5) / width - 0.5).repeat(height)
    y = ((torch.arange(height, device=flat.device) + 0.5) / height - 0.5).repeat_interleave(width)

    def per_frame(values: Tensor) -> Tensor:  # (T, H*W) -> (T, F)
        total = torch.zeros(frames * count, device=flat.device)
        return total.index_add_(0, slot.reshape(-1), (values * held).reshape(-1)).view(frames, count)

    mass_t = per_frame(torch.ones_like(held))
    safe_t = mass_t.clamp_min(1e-6)
    x_t, y_t = per_frame(x.expand_as(held)) / safe_t, per_frame(y.expand_as(held)) / safe_t
    mass = mass_t.sum(0)
    safe = mass.clamp_min(1e-6)
    mean_x, mean_y = (x_t * mass_t).sum(0) / safe, (y_t * mass_t).sum(0) / safe
    x2, y2 = per_frame((x * x).expand_as(held)).sum(0) / safe, per_frame((y * y).expand_as(held)).sum(0) / safe
    spread_x, spread_y = (x2 - mean_x**2).clamp_min(0).sqrt(), (y2 - mean_y**2).clamp_min(0).sqrt()

    cells = torch.zeros(count * height * width, device=flat.device)
    cells.index_add_(
        0,
        (flat.clamp_min(0) * (height * width) + torch.arange(height * width, device=flat.device)).reshape(-1),
        held.reshape(-1),
    )
    cells = cells.view(count, -1)
    cells = cells / cells.sum(1, keepdim=True).clamp_min(1e-6)

    seen = (mass_t > 0).float()  # (T, F)
    seen_frames = seen.sum(0).clamp_min(1)
    time = (times_s - times_s[0]).float()[:, None]  # (T, 1) s
    length = float(max(float(times_s[-1] - times_s[0]), 1e-3))
    mean_t = (time * seen).sum(0) / seen_frames
    lag = (time - mean_t) * seen
    slope = lag.square().sum(0).clamp_min(1e-3)
    velocity_x, velocity_y = (lag * x_t).sum(0) / slope, (lag * y_t).sum(0) / slope
    order = torch.arange(frames, device=flat.device).float()[:, None]
    first = torch.where(seen > 0, order, float(frames)).amin(0).clamp_max(frames - 1).long()
    last = torch.where(seen > 0, order, -1.0).amax(0).clamp_min(0).long()
    rows = torch.arange(count, device=flat.device)
    first_x, first_y, last_x, last_y = x_t[first, rows], y_t[first, rows], x_t[last, rows], y_t[last, rows]
    path = ((last_x - first_x) ** 2 + (last_y - first_y) ** 2).sqrt()
    mean_error = per_frame(errors.reshape(frames, -1)).sum(0) / safe
    quarter = (order * 4 / frames).long().clamp_max(3)  # (T, 1)
    quarters = [(mass_t * (quarter == q)).sum(0) / safe for q in range(4)]
    duration = time[last, 0] - time[first, 0]
    moved = torch.stack([(x_t[1:] - x_t[:-1]).abs() + (y_t[1:] - y_t[:-1]).abs()]).squeeze(0) * seen[1:] * seen[:-1]
    columns = [
        torch.log1p(mass) / 4,
        seen.sum(0) / frames,
        mean_x,
        mean_y,
        spread_x,
        spread_y,
        (velocity_x * 4).clamp(-2, 2),
        (velocity_y * 4).clamp(-2, 2),
        first / frames,
        (last + 1) / frames,
        seen[0],
        seen[-1],
        first_x,
        first_y,
        last_x,
        last_y,
        mass / seen_frames / (height * width),
        mean_error.clamp(0, 2),
        path,
        moved.sum(0) / seen_frames * 4,
        torch.log1p(duration) / 3,
        (duration / length).clamp(0, 1),
        *quarters,
    ]
    return mass, cells, torch.stack(columns, 1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding (RoFormer, arXiv 2104.09864, half-split form), in float32, returned in x's dtype.

    x (..., n, d), cos and sin (n, d) float32.
    """
    wide = x.float()
    low, high = wide.chunk(2, dim=-1)
    return (wide * cos + torch.cat((-high, low), dim=-1) * sin).to(x.dtype)


def gather_rotate(raw: Sequence[Tensor], cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Lay raw keys of several blocks side by side in `out`, rotated to their positions.

    raw: (layers, heads, n_i, d) each; cos and sin (N, d) float32 with N = sum of n_i; out (layers, heads, N, d).
    """
    at = 0
    for keys in raw:
        end = at + keys.shape[2]
        out[:, :, at:end] = rotate(keys.to(out.device), cos[at:end], sin[at:end])
        at = end


def attend(
    query: Tensor, parts: Sequence[tuple[Tensor, Tensor]], scale: float, watch: int
) -> tuple[Tensor, Tensor | None]:
    """Exact attention of n new queries over the union of several key segments; the last n keys are the queries' own.

    query (heads, n, d); parts: (keys, values), each (kv_heads, N_i, d), no segment copied -> out (n, heads, d) and,
    with `watch` > 0, mass (N,) float32: the share of attention each key gets from the last `watch` queries, mean over
    heads and queries, summing to 1. Grouped heads are folded into the query axis instead of repeating keys.
    """
    heads, n, d = query.shape
    kv_heads = parts[0][0].shape[0]
    folded = query.reshape(kv_heads, -1, d)  # (kv_heads, group * n, d)
    logits = torch.cat([folded @ keys.transpose(1, 2) for keys, _ in parts], dim=-1).float().mul_(scale)
    total = logits.shape[-1]
    if n > 1:  # only among the new rows does order matter; everything before is visible
        later = torch.ones(n, n, dtype=torch.bool, device=query.device).triu_(1)
        logits.view(heads, n, total)[:, :, total - n :].masked_fill_(later, float("-inf"))
    share = torch.softmax(logits, dim=-1)
    weights = share.to(query.dtype).split([keys.shape[1] for keys, _ in parts], dim=-1)
    out = sum((w @ values for w, (_, values) in zip(weights, parts, strict=True)), start=torch.zeros_like(folded))
    mass = share.view(heads, n, total)[:, n - watch :].mean((0, 1)) if watch else None
    return out.view(heads, n, d).transpose(0, 1), mass


def look(query: Tensor, parts: Sequence[tuple[Tensor, Tensor]], scale: float, head: int) -> Tensor:
    """Where one head looks from the last query: share of attention (N,) float32 over all keys, summing to 1.

    query (heads, n, d); parts as for `attend`. Costs one row of products, whatever n is.
    """
    kv_head = head // (query.shape[0] // parts[0][0].shape[0])
    logits = torch.cat([keys[kv_head] @ query[head, -1] for keys, _ in parts])
    return torch.softmax(logits.float() * scale, dim=-1)
