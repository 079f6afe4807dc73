"""A reel: simulated frames and their tokens, made once, played for as long as a measurement needs.

A million frames through a vision tower would measure the tower. Memory is what must not grow, so its frames come from
a reel of real tokens (simulated scenes, the checkpoint's own tower), played in ever new order: stretches of one scene
after another, by a seeded walk. Media time runs on without end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.vision.torch_tower import TorchVision
from stream.flow import Frame, Tokens
from stream.sources.simulated.paint import paint
from stream.sources.simulated.world import Script

if TYPE_CHECKING:
    from torch import Tensor

    from models.checkpoint import Checkpoint

SCENES = (("yard", True), ("street", True), ("hall", True), ("yard", False), ("street", False), ("hall", False))
STRETCH = 48  # frames of one scene before the walk goes on


@dataclass(frozen=True, slots=True, eq=False)
class Reel:
    """Scenes of consecutive frames with their tokens."""

    frames: list[list[Frame]]
    tokens: list[list[Tokens]]
    fps: float

    def play(self, count: int, seed: int = 0, novelty: float = 0.0) -> Iterator[Tokens]:
        """`count` frames' tokens, media time from 0 on.

        `novelty` tints each stretch: one direction, drawn for it alone, is added to all its tokens at that share of
        their own length. No camera does this. It stands for what a day, a season and new things do to looks, so that
        ever new codes open, the token base fills, and merging is part of what is measured: at 0.75 the cosine of a
        token to itself in another stretch is about 0.64, below what opens a code.
        """
        rng = np.random.default_rng(seed)
        shown = 0
        while shown < count:
            scene = self.tokens[int(rng.integers(len(self.tokens)))]
            start = int(rng.integers(len(scene) - STRETCH + 1))
            tint = torch.from_numpy(rng.standard_normal(scene[0].embeds.shape[1], np.float32)) if novelty else None
            for tokens in scene[start : start + min(STRETCH, count - shown)]:
                time_s = shown / self.fps
                embeds = tokens.embeds if tint is None else _tinted(tokens.embeds, tint, novelty)
                yield replace(tokens, embeds=embeds, span_s=(time_s, time_s))
                shown += 1


def _tinted(embeds: Tensor, tint: Tensor, share: float) -> Tensor:
    """(N, D) tokens, each with `share` of its own length of (D,) `tint` added."""
    length = embeds.norm(dim=1, keepdim=True)
    tinted: Tensor = embeds + share * length * (tint / tint.norm())
    return tinted


def make_reel(checkpoint: Checkpoint, say: Callable[[str], None], per_scene: int = 192, fps: float = 2.0) -> Reel:
    """Paint and encode every scene once."""
    encoder = TorchVision(checkpoint)
    frames, tokens = [], []
    for name, day in SCENES:
        script = Script(125, name, day=day)  # type: ignore[arg-type]  # SCENES holds scene names only
        scene = [Frame(i, i / fps, 0.0, paint(script, i / fps)) for i in range(per_scene)]
        frames.append(scene)
        tokens.append([t for at in range(0, per_scene, 32) for t in encoder.encode(scene[at : at + 32])])
        say(f"reel: {name} by {'day' if day else 'night'}, {per_scene} frames")
    return Reel(frames, tokens, fps)
