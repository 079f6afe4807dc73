"""The ablations: the deployed memory with one part taken away, scrambled or exchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from kernels import ops
from models.cross_dynamics import CrossDynamics
from models.perception import Perception, PerceptionConfig
from models.rows import Rows
from models.token_base import Assignment, TokenBase

SEED = 20  # of untrained weights, of shuffling and of random codes


@dataclass(frozen=True, slots=True)
class Variant:
    """How a memory differs from the deployed one."""

    attention: Callable[[CrossDynamics], CrossDynamics] = lambda trained: trained
    perception: Callable[[PerceptionConfig, int, tuple[int, int]], Perception] = Perception
    config: Mapping[str, Any] = field(default_factory=dict)  # memory settings
    ungated: bool = False


def without_map(trained: CrossDynamics) -> CrossDynamics:
    """The token base alone: the gate is shut, rows are read as they are."""
    shut = deepcopy(trained)
    with torch.no_grad():
        shut.gate.zero_()
    return shut


def untrained(trained: CrossDynamics) -> CrossDynamics:
    """Fresh weights behind a gate that is as open as the trained one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        fresh = CrossDynamics(trained.norm.normalized_shape[0])
    with torch.no_grad():
        fresh.gate.copy_(trained.gate)
    return fresh.to(trained.gate.device, trained.gate.dtype).eval()


class Shuffled(CrossDynamics):
    """The trained attention, each row being given the motion of another."""

    def forward(self, rows: Rows) -> Tensor:
        """(F, D) fused tokens."""
        order = torch.randperm(len(rows.mass), generator=torch.Generator().manual_seed(SEED))
        return super().forward(replace(rows, motion=rows.motion[order.to(rows.motion.device)]))


def shuffled(trained: CrossDynamics) -> CrossDynamics:
    """See `Shuffled`."""
    other = Shuffled(trained.norm.normalized_shape[0])
    other.load_state_dict(trained.state_dict())
    return other.to(trained.gate.device, trained.gate.dtype).eval()


class RandomBase(TokenBase):
    """Codes drawn by lot instead of by likeness; everything else is as in the token base."""

    def __init__(self, codes: int, used: int, dim: int, forgetting: float) -> None:
        """`used` of the `codes`: as many as a segment has rows, or merging rows would sort out what was drawn."""
        super().__init__(codes, dim, spawn_below=-1.0, forgetting=forgetting)
        self._used = used
        self._coin = torch.Generator().manual_seed(SEED)

    def assign(self, embeds: Tensor, mass: Tensor) -> Assignment:
        """Take in one frame: (N, D) tokens with (N,) mass."""
        units = normalize(embeds.float(), dim=1)
        slots = torch.randint(self._used, (len(units),), generator=self._coin)
        opened = 0
        for slot in slots.unique().tolist():
            if not self.alive[slot]:
                self._open(slot, units[int((slots == slot).nonzero()[0, 0])])
                opened += 1
        errors = (1 - (units * self.units[slots]).sum(1)).clamp_min(0)
        touched = ops.move_codes(self.sums, self.weights, units, mass, slots, self.forgetting)
        self.units[touched] = normalize(self.sums[touched], dim=1)
        return Assignment(slots, errors, (), opened)


def by_lot(config: PerceptionConfig, dim: int, grid: tuple[int, int]) -> Perception:
    """A perception whose tokens are given codes by lot."""
    perception = Perception(config, dim, grid)
    perception.base = RandomBase(config.base_codes, perception.rows, dim, config.forgetting)
    return perception


FULL = "full (adaptive length, score+strata, recall, gate)"
VARIANTS: dict[str, Variant] = {
    FULL: Variant(),
    "token base alone": Variant(attention=without_map),
    "base + map, untrained attention": Variant(attention=untrained),
    "map shuffled": Variant(attention=shuffled),
    "base random": Variant(perception=by_lot),
    "fixed length": Variant(config={"length": "fixed"}),
    "pruning: window": Variant(config={"policy": "window"}),
    "pruning: random": Variant(config={"policy": "random"}),
    "pruning: score": Variant(config={"policy": "score"}),
    "recall off": Variant(config={"recall": False}),
    "gate off": Variant(ungated=True),
}
