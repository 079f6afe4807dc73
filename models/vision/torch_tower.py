"""The vision tower in torch: frames of several cameras in one batch, one `Tokens` each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from models.depth import features_of
from models.vision.cells import as_tokens
from stream.flow import Frame, Tokens

if TYPE_CHECKING:
    from torch import Tensor

    from models.checkpoint import Checkpoint


class TorchVision:
    """`VisionEncoder` over a checkpoint's own tower, projector and 2 x 2 pooling."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._model = checkpoint.model
        self._picture = checkpoint.picture
        self._grid = checkpoint.grid
        self._depth = checkpoint.depth

    @torch.inference_mode()
    def encode(self, frames: Sequence[Frame]) -> list[Tokens]:
        """P tokens per frame, P = rows * columns of the checkpoint's grid."""
        if not frames:
            return []
        pixels = torch.stack([self._picture.tensor(frame.rgb) for frame in frames])
        pixels = pixels.to(self._model.device, self._model.dtype)
        if self._depth is None:
            rows = see(self._model, pixels)
            return [as_tokens(row, frame, self._grid) for row, frame in zip(rows, frames, strict=True)]
        rows, inside = see_inside(self._model, pixels)
        judged = zip(rows, frames, self._depth.scores(inside), strict=True)
        return [as_tokens(row, frame, self._grid, score) for row, frame, score in judged]


def see(model: Any, pixels: Tensor) -> Tensor:
    """(B, 3, S, S) pixels to (B, P, D) tokens.

    transformers appends one `image_newline` row after all frames; it belongs to the prompt, not to a frame, so it is
    dropped here and put back once per question. Frame-by-frame calls equal one batched call exactly.
    """
    return _per_frame(model.get_video_features(pixels[None]).pooler_output, pixels.shape[0])


def see_inside(model: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 3, S, S) pixels to (B, P, D) tokens and the (B, F) features that `Depth` judges."""
    seen = model.get_video_features(pixels[None], output_hidden_states=True)
    return _per_frame(seen.pooler_output, pixels.shape[0]), features_of(seen.hidden_states)


def _per_frame(features: Tensor, frames: int) -> Tensor:
    """(1, B*P + 1, D) to (B, P, D)."""
    return features[0, :-1].view(frames, -1, features.shape[-1])
