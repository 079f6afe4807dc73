"""Frames to pixel tensors, as the checkpoint's JSON asks.

Done here because transformers' video processors need torchvision, of which no CPU build fits (decision 0002). Pillow's
resampling is what the hub's slow image processors use, so a checkpoint sees the pictures it was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

_FILES = ("video_preprocessor_config.json", "preprocessor_config.json", "processor_config.json")
_LARGEST_JSON_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Picture:
    """How a frame becomes the vision tower's input."""

    side: int  # pixels; frames are squashed to side x side, as LLaVA-OneVision does with video
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    rescale: float = 1 / 255
    resample: int = 3  # PIL's numbering; 3 is bicubic

    def tensor(self, rgb: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 to (3, side, side) float32."""
        image: np.ndarray = rgb
        if rgb.shape[:2] != (self.side, self.side):
            # A frame far larger than the input is first shrunk by whole factors: 6x faster at 1080p, no visible change.
            gap = 2.0 if min(rgb.shape[:2]) > 3 * self.side else None
            resized = Image.fromarray(rgb).resize(
                (self.side, self.side), Image.Resampling(self.resample), reducing_gap=gap
            )
            image = np.asarray(resized)
        scale = np.asarray(self.rescale, np.float32) / np.asarray(self.std, np.float32)
        shift = np.asarray(self.mean, np.float32) / np.asarray(self.std, np.float32)
        return torch.from_numpy((image * scale - shift).astype(np.float32)).permute(2, 0, 1)


def read_picture(folder: Path, side: int) -> Picture:
    """The preprocessing of a checkpoint folder; `side` (from `config.json`) where the JSON has none.

    Hub checkpoints have `preprocessor_config.json`, those saved by transformers v5 one `processor_config.json`.
    """
    settings: Mapping[str, Any] = {}
    for name in _FILES:
        path = folder / name
        if not path.is_file() or path.stat().st_size > _LARGEST_JSON_BYTES:
            continue
        found = json.loads(path.read_text("utf-8"))
        found = found.get("video_processor") or found.get("image_processor") or found
        if "image_mean" in found:
            settings = found
            break
    return Picture(
        side=side,
        mean=_triple(settings.get("image_mean"), 0.5),
        std=_triple(settings.get("image_std"), 0.5),
        rescale=float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", True) else 1.0,
        resample=int(settings.get("resample", 3)),
    )


def _triple(values: Any, default: float) -> tuple[float, float, float]:
    r, g, b = values if values is not None else (default,) * 3
    return float(r), float(g), float(b)
