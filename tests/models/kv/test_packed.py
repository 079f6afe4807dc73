"""WARM in fewer bits: off by half a step at most, smaller for real, found again, and the same after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models.kv.block import Block
from models.kv.budget import MemoryConfig
from models.kv.packed import Packed, encode, pack
from models.memory import Memory
from tests.models.exact import check, read
from tests.models.scripted import ask, frame, memory

SMALL: dict[str, Any] = {"hot_blocks": 4, "budget": "1536KiB", "warm_fraction": 0.05, "cold_fraction": 0.02}


def fed(frames: range, **settings: Any) -> Memory:
    mem = memory(**({"hot_blocks": 6, "max_forks": 3} | settings))
    for index in frames:
        mem.append(frame(index))
    return mem


def numbers(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Channels of very different size and place, one of them constant."""
    made = torch.randn(3, 2, 20, 8, generator=torch.Generator().manual_seed(0))
    made = made * torch.logspace(-3, 3, 8) + torch.linspace(-50, 50, 8)
    made[..., 4] = 7.0
    return made.to(dtype)


@pytest.mark.parametrize("bits", [8, 6])
def test_no_number_is_off_by_more_than_half_a_step(bits: int) -> None:
    given = numbers()
    codes = encode(given, bits)
    found = codes.numbers(torch.float32)
    reach = given.amax(2, keepdim=True) - given.amin(2, keepdim=True)
    assert bool(((found - given).abs() <= reach / (2**bits - 1) / 2 * 1.001 + 1e-5).all())
    assert torch.equal(found[..., 4], given[..., 4])
    assert float((found - given).abs().max()) > 0, "a code is not the number itself"
    assert codes.codes.nbytes == given.numel() * bits // 8 and codes.bits == bits
    assert torch.equal(codes.numbers(torch.float32, slice(1, 2)), found[1:2])


def test_six_bits_are_coarser_than_eight() -> None:
    far = [float((encode(numbers(), bits).numbers(torch.float32) - numbers()).square().mean()) for bits in (8, 6)]
    assert 10 < far[1] / far[0] < 25  # (255 / 63) squared is 16.4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_back_in_its_own_type(dtype: torch.dtype) -> None:
    found = encode(numbers(dtype), 8).numbers(dtype)
    assert found.dtype == dtype
    reach = numbers().amax(2, keepdim=True) - numbers().amin(2, keepdim=True)
    rounding = torch.finfo(dtype).eps * numbers().abs()
    assert bool(((found.float() - numbers(dtype).float()).abs() <= reach / 255 + rounding).all())


def test_other_widths_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="packed in 8 bits"):
        encode(numbers(), 4)
    with pytest.raises(ValueError, match="multiples of 4"):
        encode(numbers()[..., :6], 6)
    with pytest.raises(ValueError, match="warm_bits"):
        MemoryConfig(warm_bits=7)  # type: ignore[arg-type]


@pytest.mark.parametrize("bits", [8, 6])
def test_a_packed_block_is_near_and_really_smaller(bits: int) -> None:
    block = next(iter(fed(range(9))._hot.blocks.values()))
    packed = pack(block, bits)
    back = packed.to(block.raw.device)
    assert packed.size < 0.7 * block.size and packed.size == sum(t.nbytes for t in packed.tensors())
    assert (packed.tokens, back.tokens, back.rows_from) == (block.tokens, block.tokens, block.rows_from)
    assert torch.equal(back.fused, block.fused) and torch.equal(back.cells, block.cells)
    for layer in range(block.raw.shape[0]):
        assert torch.equal(packed.layer_keys(layer), back.layer_keys(layer))
    far = float((back.raw - block.raw).norm() / block.raw.norm())
    assert 0 < far < {8: 0.01, 6: 0.04}[bits]
    assert float(back.mean_key @ block.mean_key) > 0.999


def test_the_default_is_exact() -> None:
    mem = fed(range(60))
    assert mem.plan.warm_bits == 16
    assert all(isinstance(block, Block) for block in mem._hot.tiers.warm.values())


@pytest.mark.parametrize("bits", [8, 6])
def test_more_blocks_fit_and_the_cap_holds(bits: int) -> None:
    exact, packed = (memory(warm_bits=b, **SMALL) for b in (16, bits))
    for index in range(200):
        for mem in (exact, packed):
            mem.append(frame(index))
            check(mem)
    assert packed.plan.warm == exact.plan.warm
    assert packed.plan.warm_blocks > 1.4 * exact.plan.warm_blocks
    assert len(packed._hot.tiers.warm) > 1.4 * len(exact._hot.tiers.warm) > 0
    assert all(isinstance(block, Packed) for block in packed._hot.tiers.warm.values())
    one = next(iter(packed._hot.tiers.warm.values()))
    assert one.size <= packed._sizes().packed(len(one.mass), one.tokens, bits)


@pytest.mark.parametrize("bits", [8, 6])
def test_what_was_packed_is_recalled_near_to_what_it_was(bits: int) -> None:
    exact, packed = (fed(range(40), positions="gap", recall_blocks=32, warm_bits=b) for b in (16, bits))
    text = "what was there before?"
    views = [mem.fork(ask(text)) for mem in (exact, packed)]
    for view in views:
        view.read()
    assert views[0].recalled == views[1].recalled != ()
    assert torch.equal(read(exact, "what is there?"), read(packed, "what is there?")), "HOT is not packed"
    scale = float(read(exact, text).abs().max())
    far = float((read(packed, text) - read(exact, text)).abs().max())
    assert 0 < far < {8: 0.02, 6: 0.1}[bits] * scale


def test_promoted_blocks_are_read_again() -> None:
    mem = fed(range(60), warm_bits=8)
    chosen = next(iter(mem._hot.tiers.warm))
    mem._hot.promotions.add(chosen)
    for index in range(60, 63):
        mem.append(frame(index))
        check(mem)
    assert isinstance(mem._hot.blocks[chosen], Block)


@pytest.mark.parametrize("bits", [8, 6])
def test_a_restart_changes_no_code(bits: int, tmp_path: Path) -> None:
    mem, other, exact = fed(range(61), warm_bits=bits), memory(hot_blocks=6, warm_bits=bits), memory(hot_blocks=6)
    mem.snapshot(tmp_path / "yard.memory")
    for again in (other, exact):  # packed blocks stay packed, whatever the memory's own bits
        again.restore(tmp_path / "yard.memory")
        for text in ("what is there?", "what was there before?"):
            assert torch.equal(read(again, text), read(mem, text))
    for index in range(61, 90):
        mem.append(frame(index))
        other.append(frame(index))
    assert torch.equal(read(other, "what was there before?"), read(mem, "what was there before?"))
    check(other)


def test_an_exact_snapshot_is_packed_as_it_is_restored(tmp_path: Path) -> None:
    mem, other = fed(range(61)), memory(hot_blocks=6, warm_bits=8)
    mem.snapshot(tmp_path / "yard.memory")
    other.restore(tmp_path / "yard.memory")
    assert list(other._hot.tiers.warm) == list(mem._hot.tiers.warm)
    assert other._hot.tiers.warm_bytes() < 0.7 * mem._hot.tiers.warm_bytes()
    check(other)


@pytest.mark.parametrize("change", ["shape", "type", "scale", "missing", "not a number"])
def test_damaged_codes_are_refused_and_change_nothing(change: str, tmp_path: Path) -> None:
    path, mem = tmp_path / "yard.memory", fed(range(61), warm_bits=8)
    mem.snapshot(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    codes = next(name for name in tensors if name.endswith("keys.codes"))
    step = codes.replace("codes", "step")
    if change == "shape":
        tensors[codes] = tensors[codes][..., :-1].contiguous()
    elif change == "type":
        tensors[codes] = tensors[codes].float()
    elif change == "scale":
        tensors[step] = tensors[step][:, :1].contiguous()
    elif change == "missing":
        del tensors[step]
    else:
        tensors[step] = tensors[step] * float("nan")
    save_file(tensors, path, metadata)
    before = mem.ledger.state()
    with pytest.raises(ValueError, match="snapshot"):
        mem.restore(path)
    assert mem.ledger.state() == before
