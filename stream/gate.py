"""Which frames are worth a look: those that differ from the last one *kept*.

Compared with the last kept frame, not with the one before, so that a slow change adds up until it is seen. Two
questions are asked of a small grey picture: has the whole changed (light, a cut, a camera that moves), and has any one
tile changed (a small thing far away leaves the mean alone). Both are asked above the noise of the sensor, which is
measured as it goes: the *median* over tiles of the change between neighbouring frames, because things that move touch
few tiles while noise touches all.
"""

from __future__ import annotations

import numpy as np

from stream.flow import Frame

ROWS, COLUMNS = 24, 32  # tiles: 30 x 40 pixels each at 1280 x 720, a person at 30 m
SAMPLES = 4  # pixels looked at along each side of a tile
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
LOCAL_NOISE = 6.0  # times the median change: beyond 4 sigma, so that none of 768 tiles trips by chance
MEAN_NOISE = 2.0  # the mean of |change| under pure noise is 1.2 times its median
NOISE_FORGETTING = 0.05  # per frame
CUT = 30.0  # grey levels of mean change: another picture altogether


def thumbnail(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 to (24, 32) float32 mean grey levels, 0..255, from 16 sampled pixels per tile; about 0.1 ms."""
    height, width = rgb.shape[:2]
    ys = np.arange(ROWS * SAMPLES) * height // (ROWS * SAMPLES)
    xs = np.arange(COLUMNS * SAMPLES) * width // (COLUMNS * SAMPLES)
    grey = rgb[ys][:, xs].astype(np.float32) @ LUMA  # rows first: they are contiguous
    tiles: np.ndarray = grey.reshape(ROWS, SAMPLES, COLUMNS, SAMPLES).sum(axis=1).sum(axis=2) / SAMPLES**2
    return tiles


class KeepAll:
    """The gate that is always open; the baseline to measure a gate against."""

    def __init__(self) -> None:
        self.admitted = 0
        self.refused = 0

    def admits(self, frame: Frame) -> bool:  # noqa: ARG002 (the socket's shape)
        """True."""
        self.admitted += 1
        return True

    def reset(self) -> None:
        """Nothing to forget."""


class ChangeGate:
    """Admits a frame that differs from the last kept one, a cut at once, and any frame every `refresh_s`.

    `threshold` is in grey levels (0..255) that one tile must change by, above the noise; the whole picture needs a
    quarter of it. The counters `admitted`, `refused`, `refreshed` and `cuts` only grow.
    """

    def __init__(self, threshold: float = 6.0, refresh_s: float = 4.0) -> None:
        if threshold < 0 or refresh_s <= 0:
            raise ValueError("A gate needs a threshold of 0 or more grey levels and a refresh above 0 seconds.")
        self.threshold = threshold
        self.refresh_s = refresh_s
        self.admitted = self.refused = self.refreshed = self.cuts = 0
        self.noise = 0.0  # median change of a tile between neighbouring frames, grey levels
        self.reset()

    def reset(self) -> None:
        """Forget what was seen; the next frame is admitted. The noise belongs to the sensor and stays."""
        self._kept: np.ndarray | None = None
        self._before: np.ndarray | None = None
        self._kept_s = 0.0
        self._shape: tuple[int, ...] = ()

    def admits(self, frame: Frame) -> bool:
        """True: encode it. Costs about 0.2 ms."""
        small = thumbnail(frame.rgb)
        self._learn_noise(small)
        if not self._is_new(frame, small):
            self.refused += 1
            return False
        self._kept, self._kept_s, self._shape = small, frame.time_s, frame.rgb.shape
        self.admitted += 1
        return True

    def _learn_noise(self, small: np.ndarray) -> None:
        if self._before is not None:
            change = float(np.median(np.abs(small - self._before)))
            if change < CUT / 2:  # a cut says nothing about the sensor
                self.noise += NOISE_FORGETTING * (change - self.noise)
        self._before = small

    def _is_new(self, frame: Frame, small: np.ndarray) -> bool:
        if self._kept is None or frame.rgb.shape != self._shape:
            return True
        change = np.abs(small - self._kept)
        mean = float(change.mean())
        if mean > CUT:
            self.cuts += 1
            return True
        if mean > self.threshold / 4 + MEAN_NOISE * self.noise:
            return True
        if float(change.max()) > self.threshold + LOCAL_NOISE * self.noise:
            return True
        if frame.time_s - self._kept_s >= self.refresh_s:
            self.refreshed += 1
            return True
        return False
