"""Rain before the lens: slanting streaks and a grey veil."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stream.sources.simulated.brush import HIGH

VEIL = 0.30  # of the grey, in the heaviest rain
GREY = 138
_LENGTH, _SLANT = 14, 0.25  # of a streak, px, and how far it leans


def rain(picture: NDArray[np.uint8], strength: float, moment: int) -> NDArray[np.uint8]:
    """The (H, W, 3) picture through rain of 0..1 at `moment` (ms): other streaks at each."""
    veil = round(256 * VEIL * strength)
    h, w = picture.shape[:2]
    sheet = _streaks((h, w), min(round(strength * 4), 3))
    down, along = (moment * 7) % h, (moment * 3) % w
    streaks = np.roll(sheet, (down, along), (0, 1))[..., None]
    dim = (picture.astype(np.uint16) * np.uint16(256 - veil) + np.uint16(GREY * veil)) >> 8
    wet: NDArray[np.uint8] = np.minimum(dim + streaks, HIGH).astype(np.uint8)
    return wet


@lru_cache(maxsize=16)
def _streaks(size: tuple[int, int], many: int) -> NDArray[np.uint16]:
    """(H, W) extra light of a sheet of rain, wrapping at its edges."""
    rng = np.random.default_rng((*size, many))
    sheet = np.zeros(size, np.uint16)
    for _ in range((many + 1) * size[0] * size[1] // 1600):
        y, x, light = int(rng.integers(size[0])), int(rng.integers(size[1])), int(rng.integers(16, 52))
        for k in range(_LENGTH):
            sheet[(y + k) % size[0], (x - round(k * _SLANT)) % size[1]] = light
    return sheet
