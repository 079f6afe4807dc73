"""One camera's counts: of this second for the page, for ever for the metrics."""

from __future__ import annotations

from stream.flow import CameraState, Frame, Tick
from stream.meters import Drop, Meters


class Tally:
    """Counts what happens to frames and questions; `tick` closes a second."""

    def __init__(self, camera: str, meters: Meters) -> None:
        self.errors = 0  # frames that could not be encoded or remembered, ever
        self._camera = camera
        self._meters = meters
        self._last_index = -1
        self._reconnects = self._stalls = 0
        self._reset()

    def arrived(self, frame: Frame) -> None:
        """A frame from the source; gaps in its index were lost before us."""
        received = frame.index - self._last_index if frame.index > self._last_index else 1
        self._last_index = frame.index
        self._frames_in += 1
        self._meters.received.labels(self._camera).inc(received)
        self._meters.decoded.labels(self._camera).inc()

    def dropped(self, frames: int, reason: Drop) -> None:
        """Frames left out. `sampling` is a choice and not a loss: only the metrics count it."""
        if frames:
            self._frames_dropped += frames if reason != "sampling" else 0
            self._meters.dropped.labels(self._camera, reason).inc(frames)

    def gated(self) -> None:
        """Nothing new in a frame."""
        self._frames_gated += 1
        self._meters.gated.labels(self._camera).inc()

    def saw(self, tokens: int, seconds: float) -> None:
        """A frame encoded and remembered."""
        self._frames_seen += 1
        self._tokens_in += tokens
        self._see_s += seconds
        self._meters.seen.labels(self._camera).inc()
        self._meters.see_seconds.labels(self._camera).observe(seconds)

    def failed(self) -> None:
        """A frame that could not be encoded or remembered."""
        self.errors += 1
        self._meters.see_errors.labels(self._camera).inc()

    def first_word(self, seconds: float) -> None:
        """Time from asking to the first piece, s."""
        self._asks += 1
        self._ask_s += seconds

    def state(self, state: CameraState) -> None:
        """A camera's state has changed."""
        self._meters.set_state(self._camera, state)
        # A source that was made anew counts from zero again; metrics never go back.
        for counter, before, now in (
            (self._meters.reconnects.labels(self._camera, state.state), self._reconnects, state.reconnects),
            (self._meters.stalls.labels(self._camera), self._stalls, state.stalls),
        ):
            counter.inc(now - before if now >= before else now)
        self._reconnects, self._stalls = state.reconnects, state.stalls

    def tick(self, wall_s: float, tokens_kept: int, age_s: float | None) -> Tick:
        """Close this second."""
        tick = Tick(
            camera=self._camera,
            wall_s=wall_s,
            frames_in=self._frames_in,
            frames_gated=self._frames_gated,
            frames_dropped=self._frames_dropped,
            frames_seen=self._frames_seen,
            tokens_in=self._tokens_in,
            tokens_kept=tokens_kept,
            see_ms=1000 * self._see_s / self._frames_seen if self._frames_seen else 0.0,
            ask_ms=1000 * self._ask_s / self._asks if self._asks else 0.0,
            lag_s=age_s or 0.0,
        )
        if age_s is not None:
            self._meters.frame_age.labels(self._camera).set(age_s)
        self._reset()
        return tick

    def _reset(self) -> None:
        self._frames_in = self._frames_gated = self._frames_dropped = self._frames_seen = 0
        self._tokens_in = self._asks = 0
        self._see_s = self._ask_s = 0.0
