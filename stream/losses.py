"""What a source lost before the loop could see it: it counts, and here its counts become metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream.sources.states import Counts

if TYPE_CHECKING:
    from stream.meters import Drop, Meters
    from stream.ports import FrameSource

_REASONS: tuple[tuple[Drop, str], ...] = (
    ("decode_error", "errors"),  # what the decoder refused
    ("stale", "skipped"),  # left undecoded to catch up: it would have been old before it was seen
    ("backpressure", "dropped"),  # replaced by a newer one between the decoder and the loop
)


class Losses:
    """One camera's. A source that was made anew counts from zero again; metrics never go back."""

    def __init__(self, camera: str, meters: Meters) -> None:
        self._camera = camera
        self._meters = meters
        self._before = Counts()

    def count(self, source: FrameSource) -> None:
        """Take over what was lost since the last look; a source that does not count lost nothing that is known."""
        counts = getattr(source, "counts", None)
        if not isinstance(counts, Counts):
            return
        for reason, name in _REASONS:
            before, now = getattr(self._before, name), getattr(counts, name)
            self._meters.dropped.labels(self._camera, reason).inc(now - before if now >= before else now)
        self._before = counts
