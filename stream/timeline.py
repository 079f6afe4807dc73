"""Media time of a camera: over restarts of its source and of the process, and thinned to a rate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stream.flow import Frame, MediaEpoch

if TYPE_CHECKING:
    from stream.clock import Clock

STEP_S = 0.001  # media time between the newest frame remembered and the first one after a restart, at least


class Timeline:
    """Makes the times of a source's frames times of the camera: they only ever rise.

    A fresh camera keeps its source's times, and its epoch says what the wall clock showed at time zero. A restored one
    goes on at `wall now - epoch`, so that what was remembered keeps its place in the day.
    """

    def __init__(self, clock: Clock) -> None:
        self.epoch = MediaEpoch(clock.wall_s())
        self.newest_s: float | None = None  # media time of the newest frame, s
        self._clock = clock
        self._offset_s: float | None = None  # camera time minus source time; None before the first frame
        self._restored = False

    def restore(self, epoch: MediaEpoch, newest_s: float) -> None:
        """Go on after what a restored memory holds."""
        self.epoch, self.newest_s = epoch, newest_s
        self._offset_s, self._restored = None, True

    def place(self, frame: Frame) -> Frame:
        """The frame in the camera's time."""
        if self._offset_s is None:
            self._offset_s = self._first_offset_s(frame)
        elif self.newest_s is not None and frame.time_s + self._offset_s < self.newest_s:
            self._offset_s = self.newest_s + STEP_S - frame.time_s  # the source began anew
        if self._offset_s:
            frame = replace(frame, time_s=frame.time_s + self._offset_s)
        self.newest_s = frame.time_s
        return frame

    def _first_offset_s(self, frame: Frame) -> float:
        now_wall_s = self._clock.wall_s() - (self._clock.now_s() - frame.arrived_s)
        if self._restored and self.newest_s is not None:
            return max(self.epoch.media(now_wall_s), self.newest_s + STEP_S) - frame.time_s
        self.epoch = MediaEpoch(now_wall_s - frame.time_s)
        return 0.0


class Rate:
    """Thins frames to `fps` by media time, without drifting when the source's rate is no multiple of it."""

    def __init__(self, fps: float) -> None:
        self._step_s = 1.0 / fps
        self._due_s: float | None = None  # media time from which the next frame is wanted, s

    def wants(self, time_s: float) -> bool:
        """True for a frame that is due."""
        if self._due_s is not None and time_s < self._due_s - 1e-6:
            return False
        on_time = self._due_s is not None and time_s <= self._due_s + self._step_s
        self._due_s = (self._due_s if on_time and self._due_s is not None else time_s) + self._step_s
        return True
