"""Small pictures of what was seen, so that evidence can be shown long after the frames are gone."""

from __future__ import annotations

import bisect
import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from stream.flow import Frame

OVERHEAD = 200  # bytes per picture beside its JPEG: two objects and their places in two lists


class Album:
    """Thumbnails thinned by age under a byte budget: constant size for infinite time.

    When it is full, the picture goes whose absence leaves the smallest hole *for its age*: the gap it would leave,
    divided by the square root of how old it is. So the last minutes are dense and the first day is still there, ever
    sparser. (Divided by the age itself, 1000 pictures of a day would lie 9 minutes apart at noon; so it is 2.)
    """

    def __init__(self, budget_bytes: int, width: int = 320, every_s: float = 0.5, quality: int = 70) -> None:
        """`width`: pixels of a thumbnail; `every_s`: media time between two, s; `quality`: of the JPEG, 1 to 95."""
        self.budget_bytes = budget_bytes
        self.bytes = 0
        self.thinned = 0  # pictures that left
        self._width = width
        self._every_s = every_s
        self._quality = quality
        self._times: list[float] = []  # media time, s, ascending
        self._pictures: list[bytes] = []

    def __len__(self) -> int:
        return len(self._times)

    @property
    def span_s(self) -> tuple[float, float] | None:
        """Media time of the oldest and newest picture, s."""
        return (self._times[0], self._times[-1]) if self._times else None

    def add(self, frame: Frame) -> bool:
        """Keep a thumbnail of a frame. False: too soon after the one before, or it alone is above the budget."""
        if self._times and frame.time_s < self._times[-1] + self._every_s:
            return False
        picture = self._thumbnail(frame)
        if len(picture) + OVERHEAD > self.budget_bytes:
            return False
        self._times.append(frame.time_s)
        self._pictures.append(picture)
        self.bytes += len(picture) + OVERHEAD
        while self.bytes > self.budget_bytes:
            self._thin()
        return True

    def jpeg(self, time_s: float) -> tuple[bytes, float] | None:
        """The picture nearest to a media time, and its own time (s)."""
        if not self._times:
            return None
        after = bisect.bisect_left(self._times, time_s)
        near = min(range(max(0, after - 1), min(len(self._times), after + 1)), key=lambda i: self._gap(i, time_s))
        return self._pictures[near], self._times[near]

    def clear(self) -> None:
        """Forget all."""
        self._times.clear()
        self._pictures.clear()
        self.bytes = 0

    def _gap(self, index: int, time_s: float) -> float:
        return abs(self._times[index] - time_s)

    def _thin(self) -> None:
        """Let one go; the first and the last stay, unless there is nothing between them."""
        times, now = self._times, self._times[-1]
        inner = range(1, len(times) - 1)
        worst = min(inner, key=lambda i: (times[i + 1] - times[i - 1]) ** 2 / (now - times[i] + 1.0), default=0)
        del times[worst]
        self.bytes -= len(self._pictures.pop(worst)) + OVERHEAD
        self.thinned += 1

    def _thumbnail(self, frame: Frame) -> bytes:
        height, width = frame.rgb.shape[:2]
        image = Image.fromarray(frame.rgb)
        if width > self._width:
            size = (self._width, max(1, round(height * self._width / width)))
            # Decoding already softened the picture: the cheapest filter that does not shimmer is enough.
            image = image.resize(size, Image.Resampling.BOX, reducing_gap=1.0)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=self._quality)
        return file.getvalue()
