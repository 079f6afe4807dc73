"""The vision tower in torch: frames of several cameras in one batch, one `Tokens` each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

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

    @torch.inference_mode()
    def encode(self, frames: Sequence[Frame]) -> list[Tokens]:
        """P tokens per frame, P = rows * columns of the checkpoint's grid."""
        if not frames:
            return []
        pixels = torch.stack([self._picture.tensor(frame.rgb) for frame in frames])
        embeds = see(self._model, pixels.to(self._model.device, self._model.dtype))
        return [as_tokens(row, frame, self._grid) for row, frame in zip(embeds, frames, strict=True)]


def see(model: Any, pixels: Tensor) -> Tensor:
    """(B, 3, S, S) pixels to (B, P, D) tokens.

    transformers appends one `image_newline` row after all frames; it belongs to the prompt, not to a frame, so it is
    dropped here and put back once per question. Frame-by-frame calls equal one batched call exactly.
    """
    features = model.get_video_features(pixels[None]).pooler_output  # (1, B*P + 1, D)
    return features[0, :-1].view(pixels.shape[0], -1, features.shape[-1])  # type: ignore[no-any-return]
