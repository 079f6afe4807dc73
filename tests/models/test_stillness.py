"""Adaptive length says nothing only where nothing happened: who walks, comes, goes or changes place is committed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import normalize

from models.perception import Perception, PerceptionConfig
from models.rows import Rows
from stream.flow import Tokens

GRID, CELLS, DIM = (4, 5), 20, 16
CONFIG = PerceptionConfig(length="adaptive", fused_min=1, distortion_target=0.02)
SEGMENT = 16  # frames: 8 s at 2 frames/s


def frame(index: int, actor_at: int | None, noise: float = 0.02) -> Tokens:
    """A striped wall, and an actor in a cell or nowhere."""
    source = torch.Generator().manual_seed(7)
    looks = normalize(torch.randn(4, DIM, generator=source), dim=1)
    embeds = looks[torch.arange(CELLS) % 3].clone()
    if actor_at is not None:
        embeds[actor_at] = looks[3]
    embeds = 3 * embeds + noise * torch.randn(CELLS, DIM, generator=source.manual_seed(index))
    return Tokens(embeds, torch.zeros(CELLS, 3, dtype=torch.int32), torch.ones(CELLS), GRID, (index / 2, index / 2))


def closed(path: Callable[[int], int | None], segments: int = 4) -> list[int]:
    """Rows of each closed segment, the actor's cell given by frame."""
    perception = Perception(CONFIG, DIM, GRID)
    seen = [perception.see(frame(i, path(i))) for i in range(segments * SEGMENT + 1)]
    return [len(rows.mass) for rows in seen if rows is not None]


def test_a_still_picture_has_nothing_new_to_say() -> None:
    assert closed(lambda _: 7) == [4, 0, 0, 0]
    assert closed(lambda _: None) == [3, 0, 0, 0]


def test_who_walks_is_in_every_segment() -> None:
    assert all(closed(lambda i: 10 + i // 2 % 5))


@pytest.mark.parametrize(
    ("path", "busy"),
    [
        (lambda i: 7 if i < SEGMENT else None, [True, True, False, False]),  # left between two segments
        (lambda i: None if i < SEGMENT else 7, [True, True, False, False]),  # came
        (lambda i: 7 if i < SEGMENT else 12, [True, True, False, False]),  # stands elsewhere, all of the time
        (lambda i: 7 if i < SEGMENT + 8 else None, [True, True, False, False]),  # left in the middle of the second
        (lambda i: 7 if i % 4 else 8, [True] * 4),  # goes to and fro
    ],
)
def test_who_comes_goes_or_changes_place_is_committed(path: Callable[[int], int | None], busy: list[bool]) -> None:
    assert [count > 0 for count in closed(path)] == busy


def test_what_was_said_survives_a_restart() -> None:
    """A restored perception keeps still where the first one does, and speaks where it speaks."""
    first = Perception(CONFIG, DIM, GRID)
    for index in range(SEGMENT + 3):
        first.see(frame(index, 7))
    for where in (7, 12):
        kept, other = (Perception(CONFIG, DIM, GRID) for _ in range(2))
        for each in (kept, other):
            each.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
        other._said = None  # the control: with nothing to compare with, everything is new

        def rows(perception: Perception, at: int = where) -> Rows:
            seen = [perception.see(frame(i, at)) for i in range(SEGMENT + 3, 2 * SEGMENT + 1)]
            return next(found for found in seen if found is not None)

        assert (len(rows(kept).mass) > 0) == (where != 7)
        assert len(rows(other).mass) > 0
