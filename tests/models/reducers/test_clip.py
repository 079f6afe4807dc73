"""The socket of all reducers: places kept, mass summed, the dynamics map of what was kept."""

from __future__ import annotations

import pytest
import torch

from models.reducers.clip import Clip, clip_of, kept, merged, reduce_tokens, rows_of
from models.reducers.registry import REDUCERS
from stream.flow import Tokens

GRID = (2, 3)


def tokens(frames: int) -> Tokens:
    torch.manual_seed(frames)
    places = [(t, y, x) for t in range(frames) for y in range(2) for x in range(3)]
    mass = torch.rand(len(places)) + 0.5
    return Tokens(torch.randn(len(places), 8), torch.tensor(places, dtype=torch.int32), mass, GRID, (0.0, frames - 1.0))


@pytest.mark.parametrize("name", REDUCERS)
@pytest.mark.parametrize(("frames", "rows"), [(1, 4), (2, 1), (5, 7), (3, 18), (4, 100)])
def test_rows_keep_places_and_mass(name: str, frames: int, rows: int) -> None:
    given = tokens(frames)
    found = reduce_tokens(REDUCERS[name](), given, rows)
    assert 1 <= len(found.embeds) <= min(rows, len(given.embeds))
    assert {tuple(p) for p in found.places.tolist()} <= {tuple(p) for p in given.places.tolist()}
    assert len(found.places.unique(dim=0)) == len(found.places), "two rows share a place"
    assert float(found.mass.sum()) <= float(given.mass.sum()) + 1e-4
    assert bool((found.mass > 0).all())


def test_a_partition_keeps_all_mass_and_a_selection_what_it_selects() -> None:
    clip = clip_of(tokens(3))
    labels = torch.tensor([5, 5, 2, 2, 9, 9] * 3)
    rows = rows_of(merged(clip, labels), clip, (0.0, 2.0))
    assert float(rows.mass.sum()) == rows.patches == 18
    assert torch.allclose(rows.embeds[0], clip.flat[labels == 5].mean(0))
    assert torch.allclose(rows.cells[0].view(GRID), torch.tensor([[0.5, 0.5, 0], [0, 0, 0]]))
    some = rows_of(kept(clip, torch.tensor([17, 1])), clip, (0.0, 2.0))
    assert torch.equal(some.embeds, clip.flat[[1, 17]])
    assert some.mass.tolist() == [1, 1]
    assert float(some.cells[1, 5]) == 1


def test_what_is_no_clip_is_refused() -> None:
    given = tokens(2)
    short = Tokens(given.embeds[1:], given.places[1:], given.mass[1:], GRID, given.span_s)
    with pytest.raises(ValueError, match="not whole frames"):
        clip_of(short)
    mixed = Tokens(given.embeds, given.places.flip(0), given.mass, GRID, given.span_s)
    with pytest.raises(ValueError, match="raster order"):
        clip_of(mixed)


def test_attention_sums_to_one_per_frame() -> None:
    clip = Clip(torch.randn(3, 6, 8), GRID, torch.arange(3.0))
    assert torch.allclose(clip.attention().sum(1), torch.ones(3))
