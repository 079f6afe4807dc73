"""The bundled checkpoint watching the simulated camera: real pictures, real weights, real activations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from models.backbone import Backbone
from models.checkpoint import Checkpoint, open_checkpoint
from models.kv.budget import MemoryConfig
from models.memory import Memory, open_memory
from models.vision.torch_tower import TorchVision
from stream.flow import Frame, MediaEpoch, Tokens
from stream.sources.simulated.kinds import Scene
from stream.sources.simulated.paint import paint
from stream.sources.simulated.world import Script
from tests.models.scripted import NOON

FPS = 2.0


@cache
def bundled() -> Checkpoint:
    """The shipped checkpoint, loaded once per session; no test may write to it."""
    return open_checkpoint("bundled")


@cache
def backbone() -> Backbone:
    return Backbone(bundled())


@cache
def picture(index: int, seed: int = 125, scene: Scene = "yard") -> Frame:
    """Frame `index` of a simulated camera at two a second."""
    time_s = index / FPS
    return Frame(index, time_s, 0.0, paint(Script(seed, scene), time_s))


@cache
def _sight(index: int, seed: int, scene: Scene) -> Tokens:
    return TorchVision(bundled()).encode([picture(index, seed, scene)])[0]


def pictures(*span: int) -> list[Frame]:
    """Frames of the yard; `span` as for `range`."""
    return [picture(index) for index in range(*span)]


def seen(*span: int, seed: int = 125, scene: Scene = "yard") -> list[Tokens]:
    """Frames through the checkpoint's own tower, one by one as a camera brings them; `span` as for `range`."""
    return [_sight(index, seed, scene) for index in range(*span)]


def pixels(frames: Iterable[Frame]) -> Tensor:
    """(1, T, 3, S, S) as transformers' own forward pass takes a video."""
    return torch.stack([bundled().picture.tensor(frame.rgb) for frame in frames])[None]


def camera(checkpoint: Checkpoint | None = None, **settings: Any) -> Memory:
    """A memory as the deployed one is opened, with small sizes; `settings` are those of `MemoryConfig`.

    Any question reads all that is at hand: what is left out for one about this moment is tested on its own.
    """
    given: dict[str, Any] = {"budget": "128MiB", "hot_blocks": 6, "segment_s": 2.0, "present_blocks": 10**6}
    return open_memory(backbone(), checkpoint or bundled(), MemoryConfig(**(given | settings)), MediaEpoch(NOON))


def watch(mem: Memory, tokens: Iterable[Tokens]) -> Memory:
    for each in tokens:
        mem.append(each)
    return mem


def later(tokens: Tokens, time_s: float) -> Tokens:
    """The same sight at another time."""
    return replace(tokens, span_s=(time_s, time_s))


def off(found: Tensor, truth: Tensor) -> float:
    """The largest difference between two rows of logits, as a share of the range that the true ones span."""
    return float((found - truth).abs().max() / (truth.max() - truth.min()))
