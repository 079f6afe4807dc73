"""The vision tower in torch: frames of several cameras in one batch, one `Tokens` each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from models.depth import features_of
from models.vision.cells import as_tokens
from models.vision.merging import Look, TowerMerge, plan_of, see_merging
from stream.flow import Frame, Tokens

if TYPE_CHECKING:
    from torch import Tensor

    from models.checkpoint import Checkpoint


class TorchVision:
    """`VisionEncoder` over a checkpoint's own tower, projector and 2 x 2 pooling."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        merge: TowerMerge = "none",
        merge_tokens: int | None = None,
        *,
        salient: bool = False,
    ) -> None:
        """`merge` and `merge_tokens` as `plan_of` takes them; `salient`: tokens come with `saliency`.

        That is the attention of the tower's last layer, which costs about as much again as that layer's own. Raises
        ValueError where the tower's layers are not known and are to merge or to tell.
        """
        self._model = checkpoint.model
        self._picture = checkpoint.picture
        self._grid = checkpoint.grid
        self._depth = checkpoint.depth
        self._salient = salient
        self._plan = plan_of(checkpoint.model, merge, merge_tokens)
        if salient and not self._plan:
            self._plan = plan_of(checkpoint.model, "tome", 0)  # merges nothing

    @torch.inference_mode()
    def encode(self, frames: Sequence[Frame]) -> list[Tokens]:
        """P tokens per frame, P = rows * columns of the checkpoint's grid."""
        if not frames:
            return []
        return self._tokens(frames, self._look(self._pixels(frames)))

    def _pixels(self, frames: Sequence[Frame]) -> Tensor:
        pixels = torch.stack([self._picture.tensor(frame.rgb) for frame in frames])
        return pixels.to(self._model.device, self._model.dtype)

    def _look(self, pixels: Tensor) -> Look:
        if self._plan:
            return see_merging(self._model, pixels, self._plan, judged=self._depth is not None, salient=self._salient)
        if self._depth is None:
            return Look(see(self._model, pixels), None, None)
        return Look(*see_inside(self._model, pixels), None)

    def _tokens(self, frames: Sequence[Frame], look: Look) -> list[Tokens]:
        judged: Sequence[float | None] = [None] * len(frames)
        if self._depth is not None and look.inside is not None:
            judged = self._depth.scores(look.inside)
        telling = [None] * len(frames) if look.saliency is None else look.saliency.unbind()
        rows = zip(look.rows, frames, judged, telling, strict=True)
        return [as_tokens(row, frame, self._grid, score, said) for row, frame, score, said in rows]


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
