"""Attention over segments: equal to textbook attention, fast path equal to plain path, each key's share correct."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from kernels import fused, ops, reference


@pytest.fixture(autouse=True)
def _switch_back() -> Iterator[None]:
    yield
    ops.use("auto")


def scene(n: int, past: int, heads: int = 4, kv_heads: int = 2, d: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(n)
    total = past + n
    return torch.randn(heads, n, d) * 2, torch.randn(kv_heads, total, d), torch.randn(kv_heads, total, d)


def textbook(query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    heads, n, d = query.shape
    keys, values = (t.repeat_interleave(heads // len(t), 0) for t in (keys, values))
    total = keys.shape[1]
    mask = torch.ones(n, total, dtype=torch.bool).tril(total - n)
    share = torch.softmax((query @ keys.transpose(1, 2) * d**-0.5).masked_fill(~mask, float("-inf")), -1)
    return scaled_dot_product_attention(query, keys, values, mask).transpose(0, 1), share


def cut(keys: Tensor, values: Tensor, n: int) -> list[tuple[Tensor, Tensor]]:
    """Three segments: two of the past, one with the new rows at its end."""
    total = keys.shape[1]
    edges = [0, (total - n) // 3, (total - n) // 2, total]
    return [(keys[:, a:b], values[:, a:b]) for a, b in pairwise(edges) if b > a]


@pytest.mark.parametrize("attend", [reference.attend, fused.attend, ops.attend])
@pytest.mark.parametrize(("n", "past"), [(1, 30), (7, 0), (7, 50), (40, 70)])
def test_attention_is_textbook_attention(attend: object, n: int, past: int) -> None:
    query, keys, values = scene(n, past)
    out, mass = attend(query, cut(keys, values, n), 8**-0.5, min(n, 5))  # type: ignore[operator]
    truth, share = textbook(query, keys, values)
    torch.testing.assert_close(out, truth, rtol=0, atol=1e-5)
    torch.testing.assert_close(mass, share[:, -min(n, 5) :].mean((0, 1)), rtol=0, atol=1e-6)
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("n", "past"), [(1, 30), (7, 50)])
def test_a_look_is_one_heads_share_at_the_last_row(n: int, past: int) -> None:
    query, keys, values = scene(n, past)
    _, share = textbook(query, keys, values)
    for head in range(4):
        look = ops.look(query, cut(keys, values, n), 8**-0.5, head)
        torch.testing.assert_close(look, share[head, -1], rtol=0, atol=1e-6)
        assert not torch.allclose(look, share[head - 1, -1], atol=1e-3), "each head has its own"


def test_the_switch_reaches_the_plain_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "attend", lambda *_: 1 / 0)
    query, keys, values = scene(40, 10)
    ops.use("reference")
    ops.attend(query, [(keys, values)], 1.0, 0)
    ops.use("auto")
    with pytest.raises(ZeroDivisionError):
        ops.attend(query, [(keys, values)], 1.0, 0)


def test_a_later_row_is_not_seen() -> None:
    query, keys, values = scene(20, 10)
    first, _ = ops.attend(query, [(keys, values)], 1.0, 0)
    values[:, -1] += 100.0
    second, _ = ops.attend(query, [(keys, values)], 1.0, 0)
    assert torch.equal(first[:-1], second[:-1])
    assert not torch.equal(first[-1], second[-1])


def test_gather_rotate_is_rotate_of_each() -> None:
    blocks = [torch.randn(2, 2, n, 8) for n in (3, 1, 6)]
    angles = torch.rand(10, 4).repeat(1, 2) * 6
    out = torch.empty(2, 2, 10, 8)
    ops.gather_rotate(blocks, angles.cos(), angles.sin(), out)
    assert torch.equal(out, ops.rotate(torch.cat(blocks, 2), angles.cos(), angles.sin()))
    torch.testing.assert_close(out.norm(dim=-1), torch.cat(blocks, 2).norm(dim=-1))


def test_a_kernel_may_lay_its_result_out_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA rows come before heads in memory; taking that for granted stopped the first question on a GPU."""
    query, keys, values = scene(40, 10)
    truth, _ = fused.attend(query, cut(keys, values, 40), 8**-0.5, 3)

    def strided(*args: Any, **kwargs: Any) -> Tensor:
        return scaled_dot_product_attention(*args, **kwargs).transpose(1, 2).contiguous().transpose(1, 2)

    monkeypatch.setattr(fused, "scaled_dot_product_attention", strided)
    out, _ = fused.attend(query, cut(keys, values, 40), 8**-0.5, 3)
    assert torch.equal(out, truth)
