"""Scorers beyond the reference cases: odd lengths, refusals, repaired corners, what each of them prefers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.kv import attention_scorers as by_attention
from models.kv import scorers

FREQUENCIES = 10000.0 ** (-torch.arange(0, 8, 2) / 8)


def states(length: int, seed: int = 0, heads: int = 2) -> Tensor:
    return torch.randn(2, heads, length, 8, generator=torch.Generator().manual_seed(seed))


ALL: dict[str, Callable[[int], Tensor]] = {
    "streaming_llm": lambda n: scorers.streaming_llm(states(n), n // 2, sinks=1),
    "knorm": lambda n: scorers.knorm(states(n)),
    "vnorm": lambda n: scorers.vnorm(states(n)),
    "keydiff": lambda n: scorers.keydiff(states(n)),
    "lagkv": lambda n: scorers.lagkv(states(n), states(n, 1), lag=3, sinks=1),
    "snapkv": lambda n: by_attention.snapkv(states(n), states(1, 2, heads=4)),
    "tova": lambda n: by_attention.tova(states(n), states(1, 2, heads=4)),
    "observed_attention": lambda n: by_attention.observed_attention(torch.rand(2, 4, n, n).tril(), 2),
    "expected_attention": lambda n: by_attention.expected_attention(
        states(n), states(n, 1), states(n, 2, heads=4), torch.eye(8), sinks=1
    ),
}


@pytest.mark.parametrize("length", [2, 3, 5, 11])
@pytest.mark.parametrize("name", ALL)
def test_scores_are_one_per_key_finite_and_repeat_themselves(name: str, length: int) -> None:
    torch.manual_seed(1)
    found = ALL[name](length)
    assert found.shape == (2, 2, length) and bool(found.isfinite().all())
    torch.manual_seed(1)
    assert torch.equal(ALL[name](length), found)
    index = scorers.kept(found, scorers.keep_count(length, 0.4))
    assert all(len(set(row)) == len(row) <= 0.6 * length for row in index.flatten(0, 1).tolist())


def test_scorers_prefer_different_keys() -> None:
    torch.manual_seed(0)
    chosen = {name: tuple(scorers.kept(score(24), 12)[0, 0].sort().values.tolist()) for name, score in ALL.items()}
    assert len(set(chosen.values())) == len(chosen), chosen


def test_equals_go_to_the_older() -> None:
    assert scorers.kept(torch.tensor([[[1.0, 2.0, 2.0, 0.0, 2.0]]]), 2).tolist() == [[[1, 2]]]


@pytest.mark.parametrize("short", ["streaming_llm", "expected_attention", "snapkv", "tova"])
def test_nothing_to_choose_is_refused_in_a_sentence(short: str) -> None:
    with pytest.raises(ValueError, match=r"nothing to choose|keys before them"):
        ALL[short](1)


def test_a_constant_channel_breaks_no_chunk() -> None:
    keys = states(12)
    keys[..., 3] = 1.0
    assert bool(scorers.lagkv(keys, keys, lag=4, sinks=0, cross=True).isfinite().all())


def test_without_two_chunks_the_newest_are_best() -> None:
    found = scorers.lagkv(states(9), states(9, 1), lag=4, sinks=2)
    assert found[0, 0, :2].tolist() == [1, 1]
    assert bool((found[0, 0, 2:].diff() > 0).all()) and float(found[0, 0, 2:].max()) < 1


def test_an_even_kernel_is_refused_and_borders_are_attenuated() -> None:
    with pytest.raises(ValueError, match="odd"):
        by_attention.pooled(torch.ones(1, 4), 4)
    assert torch.allclose(by_attention.pooled(torch.ones(5), 5) * 5, torch.tensor([3.0, 4, 5, 4, 3]))


def test_turning_by_the_difference_is_turning_from_raw() -> None:
    raw, index = states(10), torch.tensor([7, 2, 9, 0]).expand(2, 2, 4)

    def rotation(positions: Tensor) -> tuple[Tensor, Tensor]:
        angles = positions[:, None] * FREQUENCIES.repeat(2)
        return angles.cos(), angles.sin()

    def turned(keys: Tensor, positions: Tensor) -> Tensor:
        (cos, sin), (low, high) = rotation(positions), keys.chunk(2, -1)
        return keys * cos + torch.cat([-high, low], -1) * sin

    found = scorers.rerotated(turned(raw, torch.arange(10.0)), index, FREQUENCIES)
    chosen = scorers.gathered(raw, index.sort(-1).values)
    torch.testing.assert_close(found, turned(chosen, torch.arange(4.0)), rtol=0.0, atol=1e-5)


def test_the_mean_rotation_turns_as_the_rotations_do_on_average() -> None:
    angles = torch.arange(5.0)[:, None] * FREQUENCIES.repeat(2)
    vector = torch.randn(8, generator=torch.Generator().manual_seed(0))
    low, high = vector.chunk(2)
    each = vector * angles.cos() + torch.cat([-high, low]) * angles.sin()
    torch.testing.assert_close(by_attention.mean_rotation(angles.cos(), angles.sin()) @ vector, each.mean(0))
