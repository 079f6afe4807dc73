"""Bipartite soft matching: pairs, order, what stands aside, and sums in any order of the machine's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from models.reducers import matching
from models.reducers.matching import add_in_order, at_most, match, match_every, removals


def some(tokens: int, width: int = 8, batch: int = 2) -> Tensor:
    return torch.randn(batch, tokens, width, generator=torch.Generator().manual_seed(tokens))


@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 5, 17, 30])
@pytest.mark.parametrize("fixed", [0, 1])
@pytest.mark.parametrize("order", ["place", "sides", "alike"])
def test_every_token_is_in_one_row_and_all_mass_is_kept(tokens: int, fixed: int, order: matching.Order) -> None:
    x, mass = some(tokens), some(tokens, 1)[..., 0].abs() + 0.5
    found = match(x, 100, fixed=fixed, order=order)
    merged, heavier = found.merge(x, mass)
    assert merged.shape[1] == heavier.shape[1] == tokens - found.sources.shape[1]
    assert found.sources.shape[1] == (max(0, (tokens + 1) // 2 - fixed) if tokens - fixed > 1 else 0)
    everyone = torch.cat([found.sources, found.stay], 1).sort(1).values
    assert torch.equal(everyone, torch.arange(tokens).expand(2, -1))
    assert torch.allclose(heavier.sum(1), mass.sum(1))
    assert torch.allclose((merged * heavier[..., None]).sum(1), (x * mass[..., None]).sum(1), atol=1e-5)
    assert torch.equal(found.owners.gather(1, found.stay), torch.arange(merged.shape[1]).expand(2, -1))
    assert torch.equal(found.owners.gather(1, found.receivers), found.owners.gather(1, found.sources))
    assert torch.equal(found.spread(merged).gather(1, found.stay[..., None].expand(-1, -1, 8)), merged)


def test_the_most_alike_across_the_sides_go_together() -> None:
    x = some(12, batch=1)
    x[0, 4] = 3 * x[0, 9]  # the same direction, another length
    found = match(x, 2)
    assert (int(found.sources[0, 0]), int(found.receivers[0, 0])) == (4, 9)
    cosines = normalize(x[0], dim=1) @ normalize(x[0], dim=1).T
    best = cosines[::2, 1::2].max(1).values
    assert float(best[found.sources[0, 1] // 2]) == float(best.sort().values[-2])


def test_what_is_fixed_stands_aside_though_it_is_like_another() -> None:
    x = some(9, batch=1)
    x[0, 0] = x[0, 5]
    x[0, 1] = x[0, 6]
    free, apart = match(x, 4), match(x, 4, fixed=2)
    assert {0, 6} <= set(free.sources[0].tolist()) and 1 in free.receivers[0].tolist()
    assert not {0, 1} & {*apart.sources[0].tolist(), *apart.receivers[0].tolist()}


def test_three_orders_of_the_same_rows() -> None:
    x = some(20, batch=1)
    place, sides, alike = (match(x, 3, order=order) for order in ("place", "sides", "alike"))
    assert torch.equal(place.stay, place.stay.sort(1).values)
    assert sides.stay[0].tolist() == sorted(sides.stay[0].tolist(), key=lambda at: (at % 2, at))
    assert alike.stay[0].tolist() != sides.stay[0].tolist()  # most alike first: places are lost
    assert sorted(alike.stay[0].tolist()) == sorted(sides.stay[0].tolist()) == place.stay[0].tolist()
    assert torch.equal(place.sources, alike.sources) and torch.equal(place.receivers, alike.receivers)


def test_many_tokens_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x = some(61)
    whole = match(x, 20)
    monkeypatch.setattr(matching, "LARGEST_SCORES", 70)  # two sources at a time
    parts = match(x, 20)
    assert torch.equal(whole.sources, parts.sources) and torch.equal(whole.receivers, parts.receivers)


def test_ties_go_to_the_earlier() -> None:
    found = match(torch.ones(1, 7, 4), 2)
    assert found.sources.tolist() == [[0, 2]] and found.receivers.tolist() == [[1, 1]]


def test_sums_on_an_accelerator_are_sums_on_the_host() -> None:
    x = some(40)
    found = match(x, 15)
    rows = found.owners.gather(1, found.sources)
    ours = add_in_order(matching.pick(x, found.stay), matching.pick(x, found.sources), rows)
    assert torch.allclose(ours, found.sum(x), atol=1e-6)


def test_nothing_to_merge_changes_no_bit() -> None:
    x, mass = some(10), torch.full((2, 10), 3.0)
    merged, heavier = match(x, 0).merge(x, mass)
    assert torch.equal(merged, x) and torch.equal(heavier, mass)


@pytest.mark.parametrize("tokens", [3, 4, 30])
def test_every_kth_receives_and_no_token_is_lost(tokens: int) -> None:
    x = some(tokens)
    ours, theirs = match_every(x, 4), match_every(x, 4, as_published=True)
    assert ours.owners.shape[1] == tokens
    assert theirs.owners.shape[1] == tokens // 4 * 4 or tokens < 4
    merged, mass = ours.merge(x, torch.ones(2, tokens))
    assert mass.sum(1).tolist() == [tokens, tokens]
    assert merged.shape[1] == (tokens // 4 or tokens)


def test_schedules() -> None:
    assert removals(3, 4) == [3, 3, 3, 3]
    assert removals(3, 4, -1.0) == [6, 4, 2, 0]
    assert removals(3, 4, 1.0) == [0, 2, 4, 6]
    assert removals([5, 1], 4) == [5, 1, 0, 0]
    assert removals(3, 1) == [3]
    assert [at_most(5), at_most(5, 1), at_most(5, 2), at_most(1, 2)] == [2, 2, 1, 0]
