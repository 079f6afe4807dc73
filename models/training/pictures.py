"""Labelled pictures as the vision tower takes them, painted ahead."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import torch

from models.training.feed import feed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from models.checkpoint import Checkpoint
    from models.training.lessons import Teacher

LOT = 120  # pictures: of three places, since painting a place is what takes long
_STRIDE = 100_003  # between the seeds of two streams of lots

Lot = tuple["Tensor", "Tensor"]  # (n, 3, S, S) half, (n, rows, columns, labels) long


def painted(checkpoint: Checkpoint, teacher: Teacher, seed: int, workers: int = 0) -> Iterator[Lot]:
    """Lots without end, the same for any number of workers."""
    picture, grid = checkpoint.picture, checkpoint.grid

    def paint(number: int, of: int) -> Iterator[Lot]:
        for index in count(number, of):
            pictures, labels = teacher.pictures(LOT, grid, seed * _STRIDE + index)
            pixels = torch.stack([picture.tensor(one).half() for one in pictures])
            yield pixels, torch.from_numpy(labels).long()

    return feed(paint, workers)
