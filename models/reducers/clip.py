"""What a reducer is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn.functional import normalize

from kernels import ops
from models.rows import Rows
from stream.flow import Tokens

if TYPE_CHECKING:
    from torch import Tensor

DROPPED = -1


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A stretch of video: T frames of N tokens. A flat index is `frame * N + cell`."""

    embeds: Tensor  # (T, N, D) float32, in the language model's width
    grid: tuple[int, int]  # (rows, columns); N is their product
    times_s: Tensor  # (T,) media time
    slots: Tensor | None = None  # (T, N) int64: code of each token in the token base, where there is one
    errors: Tensor | None = None  # (T, N) 1 - cosine to that code
    saliency: Tensor | None = None  # (T, N) attention each token received in the vision tower, where it is known

    @property
    def flat(self) -> Tensor:
        """(T*N, D) tokens in raster order, oldest frame first."""
        return self.embeds.reshape(-1, self.embeds.shape[-1])

    def attention(self) -> Tensor:
        """(T, N) how much each token of a frame matters, summing to 1 per frame.

        Without a tower that tells, the stand-in is the attention of a frame's mean token on its tokens (unit vectors,
        sharpened by the root of the width): what is like everything else in the picture counts for more, as with a
        class token.
        """
        if self.saliency is not None:
            given: Tensor = self.saliency / self.saliency.sum(1, keepdim=True).clamp_min(1e-12)
            return given
        units = normalize(self.embeds, dim=2)
        mean = normalize(units.mean(1, keepdim=True), dim=2)
        shares: Tensor = ((units * mean).sum(2) * units.shape[2] ** 0.5).softmax(1)
        return shares


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """F rows for a clip; every row keeps the place of one token and at least that token belongs to it."""

    embeds: Tensor  # (F, D)
    owners: Tensor  # (T*N,) int64: the row that a token went into; `DROPPED` where its content is gone
    sources: Tensor  # (F,) int64: flat index of the token whose place the row keeps

    @property
    def mass(self) -> Tensor:
        """(F,) float32: tokens that went into each row."""
        kept = self.owners[self.owners >= 0]
        return torch.bincount(kept, minlength=len(self.embeds)).float()

    def in_order(self) -> Reduced:
        """The same rows by the place they keep, oldest first, then raster order."""
        order = self.sources.argsort(stable=True)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device)
        owners = torch.where(self.owners >= 0, rank[self.owners.clamp_min(0)], self.owners)
        return Reduced(self.embeds[order], owners, self.sources[order])


class Reducer(Protocol):
    """One method. Deterministic, and the same for the same clip: nothing is carried over from clip to clip."""

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """At most `rows` rows (1 or more), by the place they keep; never more than the clip has tokens."""


def kept(clip: Clip, sources: Tensor) -> Reduced:
    """A selection: the tokens at these flat indices stay as they are, all others are gone."""
    sources = sources.sort().values
    owners = torch.full((len(clip.flat),), DROPPED, dtype=torch.int64, device=clip.embeds.device)
    owners[sources] = torch.arange(len(sources), device=clip.embeds.device)
    return Reduced(clip.flat[sources], owners, sources)


def merged(clip: Clip, labels: Tensor) -> Reduced:
    """A partition: each row is the mean of the tokens with one label, in order of first appearance; -1 is dropped."""
    held = labels >= 0
    _, numbered = labels[held].unique(return_inverse=True)
    owners = torch.full_like(labels, DROPPED)
    owners[held] = numbered
    count = int(numbered.max()) + 1
    flat = clip.flat
    total = torch.zeros(count, flat.shape[1], dtype=flat.dtype, device=flat.device)
    total.index_add_(0, numbered, flat[held])
    mass = torch.bincount(numbered, minlength=count).to(flat.dtype)
    places = held.nonzero()[:, 0]
    sources = torch.full((count,), len(flat), device=flat.device).scatter_reduce_(0, numbered, places, "amin")
    return Reduced(total / mass[:, None], owners, sources).in_order()


def clip_of(tokens: Tokens) -> Clip:
    """Whole frames, one after the other, as a clip. Raises ValueError for anything else."""
    rows, columns = tokens.grid
    cells = rows * columns
    frames, rest = divmod(len(tokens.embeds), cells)
    if rest or not frames:
        raise ValueError(f"{len(tokens.embeds)} tokens are not whole frames of {rows} x {columns} cells.")
    places = tokens.places.view(frames, cells, 3)
    here = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), 2).view(1, cells, 2)
    if not bool((places[:, :, 1:].cpu() == here).all()):
        raise ValueError("The tokens of a frame must come in raster order, each cell once.")
    from_s, to_s = tokens.span_s
    return Clip(tokens.embeds.view(frames, cells, -1).float(), tokens.grid, torch.linspace(from_s, to_s, frames))


def reduce_tokens(reducer: Reducer, tokens: Tokens, rows: int) -> Tokens:
    """A reducer in the terms of `stream.flow`: whole frames in, at most `rows` tokens out, places kept, mass summed."""
    found = reducer.reduce(clip_of(tokens), rows)
    held = found.owners >= 0
    mass = torch.zeros(len(found.embeds)).index_add_(0, found.owners[held], tokens.mass[held])
    return Tokens(found.embeds, tokens.places[found.sources], mass, tokens.grid, tokens.span_s, tokens.depth)


def rows_of(found: Reduced, clip: Clip, span_s: tuple[float, float]) -> Rows:
    """What memory takes in: the rows with where their tokens were and how they moved (dynamics map)."""
    frames, cells = clip.embeds.shape[:2]
    count, grid = len(found.embeds), clip.grid
    errors = torch.zeros(frames, cells) if clip.errors is None else clip.errors
    labels = found.owners.view(frames, *grid)
    mass, share, motion = ops.motion_statistics(labels, errors.view(frames, *grid), clip.times_s, count)
    slots = found.owners if clip.slots is None else clip.slots.reshape(-1)
    return Rows(
        embeds=found.embeds,
        mass=mass,
        motion=motion,
        cells=share,
        codes=_first_code(slots, found.owners, count),
        grid=grid,
        span_s=span_s,
        frames=frames,
        patches=float(frames * cells),
    )


def _first_code(slots: Tensor, owners: Tensor, count: int) -> Tensor:
    """The slot that gave each row most of its mass; ties to the lowest."""
    held = owners >= 0
    pairs, times = torch.stack([owners[held], slots[held]]).unique(dim=1, return_counts=True)
    codes = torch.zeros(count, dtype=torch.int64)
    order = times.argsort(stable=True)  # ascending, so that the most frequent is written last
    codes[pairs[0, order]] = pairs[1, order]
    return codes
