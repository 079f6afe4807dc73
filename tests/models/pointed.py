"""A memory whose checkpoint names a pointing head, and what that head looked at."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor

from models.backbone import Backbone
from models.checkpoint import Card, Checkpoint
from models.cross_dynamics import CrossDynamics
from models.evidence import Stretch, meant, moment_s
from models.kv.fork import View
from models.memory import Memory, MemoryConfig
from models.training.create import make_tokenizer
from stream.flow import MediaEpoch
from tests.models.scripted import NOON, ScriptedPerception, frame
from tests.models.tiny import tiny_model

LAYER, HEAD = 1, 2


@cache
def knowing() -> Checkpoint:
    """A tiny checkpoint that has the token, with the recipe's own tokenizer."""
    tokenizer = make_tokenizer(["was there a dog? yes, at noon"], 320)
    torch.manual_seed(0)
    dynamics = CrossDynamics(32).eval()
    return Checkpoint(tiny_model(tokenizer), tokenizer, None, Card(name="tiny"), dynamics, "tiny", None)  # type: ignore[arg-type]


def lived(frames: int = 21, **settings: Any) -> Memory:
    """Blocks of two frames: (0, 1), (2, 3) ... seconds after noon."""
    given: dict[str, Any] = {
        "budget": "8MiB",
        "hot_blocks": 12,
        "fused_tokens": 8,
        "instant_frames": 2,
        "segment_s": 2.0,
    }
    given |= {"base_codes": 16, "pointer_layer": LAYER, "pointer_head": HEAD} | settings
    mem = Memory(
        Backbone(knowing()),
        knowing().cross_dynamics,
        lambda: ScriptedPerception(),  # type: ignore[arg-type,return-value]  # noqa: PLW0108
        MemoryConfig(**given),
        MediaEpoch(NOON),
    )
    for index in range(frames):
        mem.append(frame(index))
    return mem


def look_of(view: View) -> Tensor:
    assert view._look is not None
    return view._look


def looked_at_s(look: Tensor, stretches: list[Stretch], longest_s: float = math.inf, shows: Any = None) -> float | None:
    found = meant(look, stretches, shows)
    return None if found is None else moment_s(found, longest_s)
