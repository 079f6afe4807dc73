"""COLD memory: fused rows, their places and one layer's keys; thinned by age so that it never grows.

An exponential histogram over age: where an octave of age holds the most blocks, the pair of neighbours that loses
least by it becomes one block of the same size (the rule of StreamForest, arXiv 2509.24871, with sizes remembered).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from models.kv.prune import octave

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from models.kv.block import Block
    from models.kv.ledger import Entry
    from models.kv.packed import Packed


@dataclass(frozen=True, slots=True, eq=False)
class Cold:
    """What is left of a block, or of several: enough to read it again, not exactly as it was."""

    id: int
    stamp: str
    fused: Tensor  # (F, D)
    mass: Tensor  # (F,)
    cells: Tensor  # (F, rows*columns) float16
    grid: tuple[int, int]
    sketch: Tensor  # (kv heads, F, d) raw keys of one layer: what recall compares a question with

    size: int = field(init=False)  # bytes held
    about: Tensor = field(init=False)  # (D,) unit mean of the rows

    def __post_init__(self) -> None:
        """Worked out once: thinning looks at all blocks each time."""
        object.__setattr__(self, "about", normalize(self.fused.float().mean(0), dim=0))
        object.__setattr__(self, "size", sum(tensor.nbytes for tensor in self.tensors()))

    def tensors(self) -> tuple[Tensor, ...]:
        """All that it holds."""
        return self.fused, self.mass, self.cells, self.sketch, self.about

    def layer_keys(self, layer: int) -> Tensor:  # noqa: ARG002  of all layers this one was kept
        """(kv heads, F, d) raw keys that recall compares with."""
        return self.sketch


def freeze(block: Block | Packed, layer: int) -> Cold:
    """A block without its keys and values; `layer` keeps its keys as the sketch."""
    return Cold(
        id=block.id,
        stamp=block.stamp,
        fused=block.fused.cpu(),
        mass=block.mass.cpu(),
        cells=block.cells.half().cpu(),
        grid=block.grid,
        sketch=block.layer_keys(layer).cpu().clone(),  # a view would keep all layers alive
    )


def closest_pair(blocks: Sequence[Cold], entries: Mapping[int, Entry], now_s: float) -> int:
    """Index of the block to merge with the next: the cheapest pair in the octave of age that holds the most."""
    ages = [octave(max(0.0, now_s - entries[b.id].until_s)) for b in blocks]
    held = Counter(ages)
    fullest = max(held, key=lambda age: (held[age], age))
    pairs = [i for i in range(len(blocks) - 1) if ages[i] == ages[i + 1] == fullest] or list(range(len(blocks) - 1))
    most = max(entries[b.id].merges for b in blocks) + 1
    about = torch.stack([blocks[i].about for i in pairs]), torch.stack([blocks[i + 1].about for i in pairs])
    unlike = (1.0 - (about[0] * about[1]).sum(1)).tolist()
    price = {
        i: 0.4 * far + _size_and_hole(entries[blocks[i].id], entries[blocks[i + 1].id], most) + 0.2 * i / len(blocks)
        for i, far in zip(pairs, unlike, strict=True)
    }
    return min(pairs, key=lambda i: (price[i], i))


def merge(kept: Cold, gone: Cold, stamp: str) -> Cold:
    """One block of as many rows as the larger had: closest rows join, weighted by the patches they stand for."""
    rows = max(len(kept.mass), len(gone.mass))
    mass = torch.cat([kept.mass, gone.mass])
    fused = torch.cat([kept.fused, gone.fused]).float()
    group = _group(fused, mass, rows)

    def mean(values: Tensor) -> Tensor:  # (2F, x) -> (rows, x)
        weighted = torch.zeros(rows, values.shape[1]).index_add_(0, group, values.float() * mass[:, None])
        return weighted / total[:, None]

    total = torch.zeros(rows).index_add_(0, group, mass).clamp_min(1e-6)
    sketch = torch.cat([kept.sketch, gone.sketch], 1)  # (kv heads, 2F, d)
    heads, _, dim = sketch.shape
    keys = mean(sketch.transpose(0, 1).reshape(len(mass), heads * dim))
    return Cold(
        id=kept.id,
        stamp=stamp,
        fused=mean(fused).to(kept.fused.dtype),
        mass=total,
        cells=mean(torch.cat([kept.cells, gone.cells])).half(),
        grid=kept.grid,
        sketch=keys.view(rows, heads, dim).transpose(0, 1).contiguous().to(sketch.dtype),
    )


def _size_and_hole(first: Entry, second: Entry, most: int) -> float:
    """What else merging two neighbours costs: sizes already merged, and time between them that neither saw."""
    whole = max(second.until_s - first.from_s, 1e-6)
    hole = max(0.0, second.from_s - first.until_s) / whole
    return 0.4 * max(first.merges, second.merges) / most + 0.5 * hole


def _group(fused: Tensor, mass: Tensor, rows: int) -> Tensor:
    """(n,) group of each row: closest pairs join until `rows` groups are left, numbered by first member."""
    n = len(mass)
    group = torch.arange(n)
    sums = normalize(fused, dim=1) * mass[:, None]
    units = normalize(sums, dim=1)
    cosine = (units @ units.T).masked_fill(torch.ones(n, n, dtype=torch.bool).tril(), -2.0)
    for _ in range(n - rows):
        first, second = divmod(int(cosine.argmax()), n)
        group[group == second] = first
        sums[first] += sums[second]
        cosine[second, :] = -2.0
        cosine[:, second] = -2.0
        near = normalize(sums, dim=1) @ normalize(sums[first], dim=0)
        alive = torch.zeros(n, dtype=torch.bool)
        alive[group] = True
        index = torch.arange(n)
        cosine[first, alive & (index > first)] = near[alive & (index > first)]
        cosine[alive & (index < first), first] = near[alive & (index < first)]
    numbered: Tensor = torch.unique(group, return_inverse=True)[1]
    return numbered
