"""After the tower stage: what training pictures look like from inside, and how far unseen ones lie from that.

Pictures come a few per place from many places: what varies between cameras matters more than what varies in front of
one. The unit is measured on places that the directions were not fitted to, for a fit always flatters its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from models.depth import Depth, features_of, witness_of
from models.training.feed import feed

if TYPE_CHECKING:
    from torch import Tensor

    from models.checkpoint import Checkpoint
    from models.training.lessons import Teacher

PER_PLACE = 8  # pictures
MOST_AXES = 96
ROOM_BYTES = 768 << 10  # for the axes: the file stays small however large the tower
QUANTILE = 0.999  # of unseen pictures: the distance that scores 1
HELD_OUT = 1 / 3  # of the places, for the unit
_STRIDE = 1_000_003  # between the seeds of two fits; each place has a seed of its own


def fit_depth(
    checkpoint: Checkpoint,
    teacher: Teacher,
    *,
    pictures: int = 9000,
    seed: int = 0,
    workers: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Depth:
    """The judgement for a checkpoint's tower, from pictures of its teacher; minutes at most, painting mostly."""
    places = max(6, pictures // PER_PLACE)
    held_out = max(2, int(places * HELD_OUT))
    first = (seed + 1) * _STRIDE
    seen = look_inside(checkpoint, teacher, range(first, first + places - held_out), workers)
    unseen = look_inside(checkpoint, teacher, range(first + places - held_out, first + places), workers)
    depth = _fit(seen, unseen, witness_of(checkpoint.model))
    say(f"depth: {len(seen)} pictures of {places - held_out} places, unit on {len(unseen)} of {held_out} others")
    return depth


@torch.no_grad()
def look_inside(checkpoint: Checkpoint, teacher: Teacher, seeds: range, workers: int = 0) -> Tensor:
    """(n, F) features of a few pictures per seed; every seed is a place of its own."""
    model: Any = checkpoint.model
    picture, grid = checkpoint.picture, checkpoint.grid

    def paint(number: int, of: int) -> Iterator[Tensor]:
        for seed in seeds[number::of]:
            yield torch.stack([picture.tensor(one) for one in teacher.pictures(PER_PLACE, grid, seed)[0]])

    found = []
    for pixels in feed(paint, workers):
        inside = model.model.vision_tower(pixels.to(model.device, model.dtype), output_hidden_states=True)
        found.append(features_of(inside.hidden_states).cpu())
    return torch.cat(found)


def _fit(seen: Tensor, unseen: Tensor, witness: Tensor) -> Depth:
    """Principal directions of `seen`, and the unit by `unseen`."""
    mean, scale = seen.mean(0), seen.std(0).clamp_min(1e-6)
    pictures, width = seen.shape
    count = min(MOST_AXES, ROOM_BYTES // (4 * width), pictures // 4, width // 4)  # most of what can differ must not
    spread = torch.cov(((seen - mean) / scale).T.double())
    axes = torch.linalg.eigh(spread).eigenvectors[:, -count:].float()
    raw = Depth(mean, scale, axes.contiguous(), torch.ones(()), witness)
    return Depth(mean, scale, raw.axes, torch.quantile(raw.distances(unseen), QUANTILE), witness)
