"""From a grid of embeddings to `Tokens`: the one place that says which row is which cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from stream.flow import Frame, Tokens

if TYPE_CHECKING:
    from torch import Tensor


def as_tokens(embeds: Tensor, frame: Frame, grid: tuple[int, int]) -> Tokens:
    """(P, D) embeddings in raster order to the tokens of one frame."""
    rows, columns = grid
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    places = torch.stack([torch.zeros_like(y), y, x], -1).view(-1, 3).to(torch.int32)
    return Tokens(
        embeds=embeds.float().cpu() if embeds.device.type == "cpu" else embeds,
        places=places,
        mass=torch.ones(rows * columns),
        grid=grid,
        span_s=(frame.time_s, frame.time_s),
    )
