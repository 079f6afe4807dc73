"""From a grid of embeddings to `Tokens`: which row is which cell is said here, and rows come to the host here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from stream.flow import Frame, Tokens

if TYPE_CHECKING:
    from torch import Tensor


def as_tokens(
    embeds: Tensor,
    frame: Frame,
    grid: tuple[int, int],
    depth: float | None = None,
    saliency: Tensor | None = None,
) -> Tokens:
    """(P, D) embeddings in raster order to the tokens of one frame, float32 on the host.

    Token base, dynamics map and segments live on the host: they are small, full of comparisons and counted there. The
    tokens hold no more than their own rows: a view of a batch would keep the frames of other cameras alive with it.
    """
    rows, columns = grid
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    places = torch.stack([torch.zeros_like(y), y, x], -1).view(-1, 3).to(torch.int32)
    own = embeds.float().cpu()
    if own.untyped_storage().nbytes() > own.nbytes:
        own = own.clone()
    return Tokens(
        embeds=own,
        places=places,
        mass=torch.ones(rows * columns),
        grid=grid,
        span_s=(frame.time_s, frame.time_s),
        depth=depth,
        saliency=None if saliency is None else saliency.float().cpu().clone(),
    )
