"""What each method chooses, and where it differs from what was published."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from kernels import ops, reference
from models.inner.dycoke import Choice, DyCoke
from models.inner.fastv import FastV
from models.inner.holitom import HoliTom, fold, groups, nearest_kept, others
from models.inner.method import Inner, head_mean, most_attended
from models.inner.mustdrop import MustDrop, dual_filter, stage
from models.inner.registry import DECODES, INNERS, NONE, make_methods
from models.memory import MemoryConfig
from stream.config.memory import MemoryConfig as Published
from tests.models.scripted import tiny_backbone

METHODS: list[Inner] = [FastV(), HoliTom(), MustDrop()]


def test_depths_are_the_published_ones_where_the_model_is() -> None:
    assert FastV().after(32) == (1,)
    assert HoliTom().after(28) == (17,)
    assert MustDrop().after(32) == (2, 6, 10, 14)
    assert DyCoke().after(28) == 2
    assert (FastV().after(5), HoliTom().after(5), MustDrop().after(5), DyCoke().after(5)) == ((0,), (2,), (0, 1), 0)


@pytest.mark.parametrize("layers", range(1, 65))
def test_a_stage_leaves_a_layer_before_and_one_after_it(layers: int) -> None:
    last = DyCoke().after(layers)
    for stages in [*(method.after(layers) for method in METHODS), () if last is None else (last,)]:
        assert bool(stages) == (layers > 1)
        assert all(0 <= stage <= layers - 2 for stage in stages)
        assert list(stages) == sorted(set(stages))


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("count", [1, 2, 3, 5, 48])
def test_rows_kept_are_some_of_those_given_in_order(method: Inner, count: int) -> None:
    attention = torch.rand(4, count, generator=torch.Generator().manual_seed(count)).softmax(1)
    kept = method.keep(attention, count)
    assert 1 <= len(kept) <= method.most(count) <= count
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert torch.equal(kept, method.keep(attention, count))
    assert len(method.keep(attention[:, :0], count)) == 0


def test_ties_go_to_the_older_row() -> None:
    assert most_attended(torch.tensor([0.1, 0.3, 0.3, 0.1, 0.3]), 2).tolist() == [1, 2]


def test_head_mean_is_the_attention_that_layers_have() -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(4, 6, 8, generator=generator)
    parts = [tuple(torch.randn(2, 2, n, 8, generator=generator)) for n in (5, 9)]
    found = head_mean(query, parts, 0.3, 3)
    _, mean = reference.attend(query, parts, 0.3, 3)
    assert mean is not None
    torch.testing.assert_close(found.mean(0), mean)
    torch.testing.assert_close(found.sum(1), torch.ones(3))
    assert found[0, -2:].tolist() == [0, 0] and found[1, -1] == 0  # a word does not see later ones
    _, last = reference.attend(query, parts, 0.3, 1)
    assert last is not None
    torch.testing.assert_close(head_mean(query, parts, 0.3, 1)[0], last)


def test_a_row_must_be_faint_in_both_ways_to_leave() -> None:
    attention = torch.tensor([[0.30, 0.001, 0.020, 0.001, 0.1], [0.30, 0.001, 0.000, 0.012, 0.1]])
    # the second is faint in sum and in each word; the third and the fourth are loud for one word
    assert dual_filter(attention, 0.05, 0.011).tolist() == [0, 2, 3, 4]
    assert dual_filter(attention, 0.05, 0.1).tolist() == [0, 4]
    assert stage(attention, 0.05, 0.1, torch.tensor([1])).tolist() == [0, 1, 4]


def test_mustdrops_thresholds_stand_to_the_mean_as_published() -> None:
    coin = torch.Generator().manual_seed(0)
    few = torch.rand(3, 144, generator=coin).square()
    few = few / few.sum(1, keepdim=True)
    many = few.repeat_interleave(4, 1) / 4  # 576 rows, each with a quarter
    method = MustDrop()
    assert torch.equal(method.keep(many, 576)[::4] // 4, method.keep(few, 144))
    assert len(method.keep(few, 144)) < 144


def test_the_repaired_merge_is_a_mean_and_the_published_one_depends_on_order() -> None:
    rows = torch.eye(5)
    kept, gone, into = torch.tensor([0, 4]), torch.tensor([1, 2, 3]), torch.tensor([0, 0, 1])
    mean = fold(rows, kept, gone, into)
    torch.testing.assert_close(mean[0], torch.tensor([1, 1, 1, 0, 0]) / 3)
    turned = fold(rows, kept, gone.flip(0), into.flip(0))
    torch.testing.assert_close(mean, turned)
    halved = fold(rows, kept, gone, into, as_published=True)
    assert halved[0].tolist() == [0.25, 0.25, 0.5, 0, 0]
    assert not torch.equal(halved, fold(rows, kept, gone.flip(0), into.flip(0), as_published=True))
    assert torch.equal(fold(rows, kept, gone[:0], into[:0]), rows[kept])


def test_a_key_of_memory_moves_before_it_is_averaged_with_another() -> None:
    """What is averaged are keys as they were before rotation, at the position of the one that stays."""
    backbone, coin = tiny_backbone(), torch.Generator().manual_seed(0)
    raw, values = (torch.randn(2, 7, backbone.head_dim, generator=coin) for _ in range(2))
    cos, sin = backbone.rotation([0, 1, 2, 9, 10, 400, 401])
    kept, gone = torch.tensor([0, 2, 3, 5]), torch.tensor([1, 4, 6])
    found = groups(values, kept, torch.tensor([2, 3, 5]), gone, (cos, sin))  # row 0 stays, but was not seen
    assert set(kept[found.into].tolist()) <= {2, 3, 5}
    features = values.transpose(0, 1).flatten(1)
    assert torch.equal(kept[found.into], torch.tensor([2, 3, 5])[nearest_kept(features, torch.tensor([2, 3, 5]), gone)])
    keys, merged = found.merged(ops.rotate(raw, cos, sin), values)
    for place, row in enumerate(kept.tolist()):
        members = [row, *gone[found.into == place].tolist()]
        truth = ops.rotate(raw[:, members].mean(1, keepdim=True), cos[row][None], sin[row][None])[:, 0]
        torch.testing.assert_close(keys[:, place], truth, rtol=0, atol=1e-5)
        torch.testing.assert_close(merged[:, place], values[:, members].mean(1))


def test_others_are_all_that_is_not_kept() -> None:
    assert others(5, torch.tensor([0, 3])).tolist() == [1, 2, 4]
    assert others(2, torch.tensor([0, 1])).tolist() == []


def test_dycoke_reuses_its_choice_where_the_published_code_gives_it_up() -> None:
    one, other = torch.tensor([0.7, 0.2, 0.1, 0.0]), torch.tensor([0.0, 0.1, 0.1, 0.8])
    steps = [one, one * 1.1, other, other, one]
    ours, published = Choice(DyCoke(0.5)), Choice(DyCoke(0.5, as_published=True))
    chosen = [None if rows is None else rows.tolist() for rows in map(ours.step, steps)]
    assert chosen == [[0, 1], [0, 1], [1, 3], [1, 3], [0, 1]]
    chosen = [None if rows is None else rows.tolist() for rows in map(published.step, steps)]
    assert chosen == [[0, 1], None, [1, 3], None, [0, 1]]


def test_the_names_of_the_configuration_are_those_of_the_registry() -> None:
    for name, known in (("inner", INNERS), ("decode", DECODES)):
        assert list(get_args(Published.model_fields[name].annotation)) == [NONE, *known]
    assert not make_methods(NONE, NONE).any
    assert make_methods(NONE, NONE).own_tokens(100, 100, 100) == 0
    for field in ("inner", "decode"):
        given: dict[str, Any] = {field: "prunemerge"}
        with pytest.raises(ValueError, match=f"memory.{field} 'prunemerge' is not known; choose one of none"):
            MemoryConfig(**given)
