"""One file that holds a camera's memory: written whole or not at all, and checked before it is believed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from models.kv.block import Block, mean_key
from models.kv.cold import Cold
from models.kv.ledger import Ledger, Progress
from models.kv.packed import Codes, Packed
from models.kv.reading import SINKS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from models.kv.tiers import Tiers

FORMAT = "longwatch-memory-3"
_BLOCK = ("raw", "values", "fused", "mass", "cells")
_PACKED = ("fused", "mass", "cells")  # and the codes of keys and values
_CODES = ("codes", "low", "step")
_COLD = ("fused", "mass", "cells", "sketch")
_HEADER_BYTES = 64 << 20  # of JSON and names, beside the tensors


@dataclass(frozen=True, slots=True)
class State:
    """Everything of a memory that is no tensor."""

    ledger: dict[str, Any]
    progress: dict[str, Any]
    epoch_wall_s: float
    starts: dict[str, int]
    next_position: int
    epoch: int
    promotions: list[int]
    stamps: dict[str, str] = field(default_factory=dict)  # text by block id
    warm_order: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a snapshot must fit to be this memory's."""

    shape: tuple[int, int, int]  # layers, kv heads, head dim
    dim: int
    grid: tuple[int, int]
    block_tokens: int
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Found:
    """A snapshot as read."""

    state: State
    hot: dict[int, Block]
    warm: dict[int, Block | Packed]
    cold: dict[int, Cold]
    perception: dict[str, Tensor]


def write(path: Path, state: State, fingerprint: str, tiers: Tiers, perception: Mapping[str, Tensor]) -> None:
    """Write beside `path`, flush to disk, then rename: a reader sees the old snapshot or the new one."""
    tensors: dict[str, Tensor] = {f"perception.{name}": tensor for name, tensor in perception.items()}
    for block in tiers.hot.values():
        tensors |= {f"hot.{block.id}.{name}": getattr(block, name) for name in _BLOCK}
    for stored in tiers.warm.values():
        tensors |= {f"warm.{stored.id}.{name}": tensor for name, tensor in _parts(stored).items()}
    for cold in tiers.cold.values():
        tensors |= {f"cold.{cold.id}.{name}": getattr(cold, name) for name in _COLD}
    stamps = {str(i): b.stamp for held in (tiers.hot, tiers.warm) for i, b in held.items()}
    stamps |= {str(i): b.stamp for i, b in tiers.cold.items()}
    words = asdict(state) | {"stamps": stamps, "warm_order": list(tiers.warm)}
    metadata = {"format": FORMAT, "model": fingerprint, "state": json.dumps(words, separators=(",", ":"))}
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # clones: safetensors refuses tensors that share storage, and blocks may share theirs with a fork
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, aside, metadata)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read(path: Path, fingerprint: str, limits: Limits) -> Found:
    """Read and check a snapshot. Raises ValueError with a sentence when it is not one, or of another model."""
    if not path.is_file():
        raise ValueError(f"There is no snapshot {path.name} to restore.")
    if path.stat().st_size > limits.most_bytes + _HEADER_BYTES:
        raise ValueError(
            f"The snapshot {path.name} is larger than this memory's budget allows; raise memory.budget or remove it."
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path.name} is no memory snapshot of this version; remove it to start afresh.")
            if metadata.get("model") != fingerprint:
                raise ValueError(
                    f"The snapshot {path.name} was made with another model; its keys mean nothing to this one."
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
        return _build(_state(metadata["state"]), tensors, limits)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path.name} is damaged or no snapshot at all; remove it to start afresh.") from error
    except (KeyError, TypeError, IndexError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"The snapshot {path.name} is incomplete ({type(error).__name__}); remove it to start afresh."
        ) from error


def _state(text: str) -> State:
    words = json.loads(text)
    return State(**{f.name: words[f.name] for f in fields(State)})


def _build(state: State, tensors: Mapping[str, Tensor], limits: Limits) -> Found:
    tiers: dict[str, dict[int, dict[str, Tensor]]] = {"hot": {}, "warm": {}, "cold": {}}
    perception = {}
    for name, tensor in tensors.items():
        tier, _, rest = name.partition(".")
        if tier == "perception":
            perception[rest] = tensor
        else:
            number, _, part = rest.partition(".")
            tiers[tier].setdefault(int(number), {})[part] = tensor
    hot = {i: _block(i, parts, state, limits) for i, parts in sorted(tiers["hot"].items())}
    stored = {i: _warm(i, parts, state, limits) for i, parts in tiers["warm"].items()}
    cold = {i: _cold(i, parts, state, limits) for i, parts in sorted(tiers["cold"].items())}
    listed = {int(entry["id"]): entry["state"] for entry in state.ledger["entries"]}
    held = dict.fromkeys(hot, "hot") | dict.fromkeys(stored, "warm") | dict.fromkeys(cold, "cold")
    if listed != held or not {str(i) for i in [SINKS, *hot]} <= set(state.starts):
        raise ValueError("The snapshot's ledger does not match its blocks; remove it to start afresh.")
    Ledger().load(state.ledger)  # both raise here, before anything is changed
    Progress.of(state.progress)
    if min(state.starts.values()) < 0 or state.next_position < max(state.starts.values()):
        raise ValueError("The snapshot holds impossible positions; remove it to start afresh.")
    return Found(state, hot, {i: stored[i] for i in state.warm_order}, cold, perception)


def _block(number: int, parts: Mapping[str, Tensor], state: State, limits: Limits) -> Block:
    layers, heads, dim = limits.shape
    raw, fused = parts["raw"], parts["fused"]
    rows = fused.shape[0]
    _expect(raw, (layers, heads, min(raw.shape[2], limits.block_tokens), dim))
    _expect(parts["values"], tuple(raw.shape))
    _expect(fused, (min(rows, raw.shape[2]), limits.dim))
    _expect(parts["mass"], (rows,))
    _expect(parts["cells"], (rows, limits.grid[0] * limits.grid[1]))
    return Block(
        id=number,
        stamp=state.stamps[str(number)],
        grid=limits.grid,
        mean_key=mean_key(raw),
        **{name: parts[name] for name in _BLOCK},
    )


def _parts(stored: Block | Packed) -> dict[str, Tensor]:
    """The tensors of a block in WARM by name; packed ones are kept as they are, so that nothing is rounded twice."""
    if isinstance(stored, Block):
        return {name: getattr(stored, name) for name in _BLOCK}
    codes = {f"{s}.{name}": getattr(getattr(stored, s), name) for s in ("keys", "values") for name in _CODES}
    return codes | {name: getattr(stored, name) for name in _PACKED}


def _warm(number: int, parts: Mapping[str, Tensor], state: State, limits: Limits) -> Block | Packed:
    """As it was kept, whatever this memory's own `warm_bits`; a snapshot from before there were any is exact."""
    if "raw" in parts:
        return _block(number, parts, state, limits)
    made: dict[str, Any] = {name: parts[name] for name in _PACKED}
    for states in ("keys", "values"):
        made[states] = Codes(*(parts[f"{states}.{name}"] for name in _CODES))
        (layers, heads, dim), (*_, tokens, width) = limits.shape, made[states].codes.shape
        fits = {dim: 8, dim * 3 // 4: 6}.get(width) == made[states].bits and made[states].codes.dtype == torch.uint8
        _expect(made[states].codes, (layers, heads, min(tokens, limits.block_tokens), width if fits else -1))
        _expect(made[states].low, (layers, heads, 1, dim))
        _expect(made[states].step, (layers, heads, 1, dim))
    rows = made["fused"].shape[0]
    _expect(made["fused"], (min(rows, made["keys"].codes.shape[2]), limits.dim))
    _expect(made["mass"], (rows,))
    _expect(made["cells"], (rows, limits.grid[0] * limits.grid[1]))
    _expect(made["values"].codes, tuple(made["keys"].codes.shape))
    return Packed(id=number, stamp=state.stamps[str(number)], grid=limits.grid, **made)


def _cold(number: int, parts: Mapping[str, Tensor], state: State, limits: Limits) -> Cold:
    _, heads, dim = limits.shape
    rows = parts["fused"].shape[0]
    _expect(parts["fused"], (rows, limits.dim))
    _expect(parts["mass"], (rows,))
    _expect(parts["cells"], (rows, limits.grid[0] * limits.grid[1]))
    _expect(parts["sketch"], (heads, rows, dim))
    return Cold(id=number, stamp=state.stamps[str(number)], grid=limits.grid, **{name: parts[name] for name in _COLD})


def _expect(tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape or (tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())):
        raise ValueError(
            f"The snapshot holds a tensor of shape {tuple(tensor.shape)} where {shape} is needed; remove it."
        )
