"""Is a picture like those that a checkpoint was trained on? A calibrated score, so that a model can say when it is not.

A vision tower meets a picture of a kind it never saw in states it never had. Of each layer's hidden states the mean and
the spread over the patches are taken; what of these lies outside the directions in which training pictures differ is
the picture's distance, and a score of 1 is the distance that one in a thousand training-like pictures passes. The
tokens themselves say much less: the projector keeps only what answers need (docs/decisions/0042-out-of-depth.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

DEPTH_FILE = "depth.safetensors"
LIMIT = 1.0  # above it a camera is out of depth: one picture of a known place in a thousand is, no median of eight
LARGEST_BYTES = 2 << 20
_NAMES = ("mean", "scale", "axes", "unit", "witness")
_WITNESS = 4  # weights per parameter of the tower


class DepthError(ValueError):
    """A depth file that cannot be used, in a sentence that says what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Depth:
    """What training pictures look like from inside the tower; float32 on the host."""

    mean: Tensor  # (F,) of training pictures
    scale: Tensor  # (F,) their spread
    axes: Tensor  # (F, K) orthonormal: the directions in which they differ most
    unit: Tensor  # () the distance that scores 1
    witness: Tensor  # (W,) a few weights of the tower that this was measured with

    @torch.no_grad()
    def scores(self, features: Tensor) -> list[float]:
        """(B, F) of `features_of` to one score per picture: 0 and more, around 0.6 for training pictures."""
        found: list[float] = (self.distances(features) / self.unit).tolist()
        return found

    def distances(self, features: Tensor) -> Tensor:
        """(B, F) to (B,): how far outside the span of `axes`."""
        apart = (features.float().cpu() - self.mean) / self.scale
        found: Tensor = torch.linalg.vector_norm(apart - apart @ self.axes @ self.axes.T, dim=1)
        return found

    def save(self, folder: Path) -> None:
        """Write `depth.safetensors` into a checkpoint's folder."""
        save_file({name: getattr(self, name).contiguous() for name in _NAMES}, folder / DEPTH_FILE)


def load_depth(folder: Path, model: Any) -> Depth | None:
    """The judgement that a checkpoint brings; None where it brings none. Raises `DepthError` with a sentence."""
    path = folder / DEPTH_FILE
    if not path.is_file():
        return None
    if path.stat().st_size > LARGEST_BYTES:
        raise DepthError(f"{path} is larger than {LARGEST_BYTES >> 20} MiB; remove it or fit it again.")
    try:
        with safe_open(path, "pt") as file:
            depth = Depth(**{name: file.get_tensor(name).float() for name in _NAMES})
    except (SafetensorError, OSError) as error:
        raise DepthError(f"{path} is damaged or incomplete; remove it or fit it again.") from error
    _check(depth, path)
    ours = witness_of(model)
    if depth.witness.shape != ours.shape or not torch.allclose(depth.witness, ours, rtol=0.02, atol=0.002):
        raise DepthError(f"{path} was fitted to another vision tower than this one; fit it again or remove it.")
    return depth


def _check(depth: Depth, path: Path) -> None:
    width = depth.mean.numel()
    shapes = (tuple(depth.mean.shape), tuple(depth.scale.shape), tuple(depth.axes.shape[:1]), tuple(depth.unit.shape))
    whole = all(bool(getattr(depth, name).isfinite().all()) for name in _NAMES)
    positive = whole and bool((depth.scale > 0).all()) and bool((depth.unit > 0).all())
    if shapes != ((width,), (width,), (width,), ()) or depth.axes.ndim != 2 or not positive:
        raise DepthError(f"{path} holds no judgement that fits together; remove it or fit it again.")


def features_of(hidden_states: Sequence[Tensor]) -> Tensor:
    """Layers + 1 of (B, patches, C), the first being the embeddings, to (B, F = 2 C layers) float32."""
    parts = [part for h in hidden_states[1:] for part in (h.float().mean(1), h.float().std(1))]
    return torch.cat(parts, dim=1)


def witness_of(model: Any) -> Tensor:
    """A few weights of each part of the tower, (W,) float32, kept within the precision they may be stored in."""
    parts = [p.detach().flatten()[:_WITNESS].float().cpu() for p in model.model.vision_tower.parameters()]
    return torch.cat(parts)


def beyond(score: float | None) -> bool:
    """Is this so unlike the training pictures that an answer would be a guess? Never without a judgement."""
    return score is not None and not (math.isfinite(score) and score <= LIMIT)
