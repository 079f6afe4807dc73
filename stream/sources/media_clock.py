"""Media time: what the time stamps of a stream say, made continuous for ever.

Cameras restart their clocks, jump by an hour when somebody sets them, repeat themselves, wrap around and drift. Media
time never runs backwards and never leaves the monotonic clock by more than a few seconds, so that "ten minutes ago"
stays true after a month.
"""

from __future__ import annotations

from dataclasses import dataclass

SLACK_S = 5.0  # live: a stream that leaves the arrival clock by more has jumped; below it is jitter or a burst
REORDER_S = 1.0  # a step back that is no jump: pictures stamped in the order they were coded
LONGEST_STEP_S = 60.0  # stored: a longer gap between two pictures is a broken stamp, not a pause
SLEW = 0.005  # live: seconds per second by which drift is made good; crystals need 0.0001


@dataclass(frozen=True, slots=True)
class Moment:
    """Where media time stood (s) at an instant of the monotonic clock (s)."""

    time_s: float
    arrived_s: float


class MediaClock:
    """Stamps the pictures of one connection. Give the next connection `last` to go on where this one ended.

    A *live* stream is held to the clock of arrival: gaps, jumps and missing stamps take the time that truly passed.
    A *stored* one has only its own stamps: a jump or the seam of a loop takes the time of one picture. One that is
    stored but `endless`, segments of something that goes on, has its own stamps and jumps by the time that passed.
    """

    def __init__(self, live: bool, after: Moment | None = None) -> None:
        self.live = live
        self.endless = False
        self._after = after
        self._origin: Moment | None = None
        self._offset_s: float | None = None  # media time minus stream time
        self._pts_s: float | None = None
        self._repeats = 0
        self.last: Moment | None = after
        self.jumps = 0

    def seam(self) -> None:
        """The stream begins again from its start: the next stamp has nothing to do with the last."""
        self._offset_s = self._pts_s = None

    def late_s(self, pts_s: float | None, now_s: float) -> float:
        """How long after its time a picture with this stamp is here, s; 0 where that cannot be said."""
        if pts_s is None or self._offset_s is None or self._origin is None:
            return 0.0
        return max(0.0, self._by_arrival(self._origin, now_s) - pts_s - self._offset_s)

    def stamp(self, pts_s: float | None, arrived_s: float, duration_s: float, behind: bool = False) -> float:
        """Media time (s) of a picture with this stamp (s, or None), this arrival and this usual duration (s).

        `behind`: it comes out of a backlog, so that its arrival says nothing about its time.
        """
        if self._origin is None or self.last is None:
            self._origin = self._begin(arrived_s)
            time_s = self._origin.time_s
        else:
            by_arrival_s, jumps = self._by_arrival(self._origin, arrived_s), self.jumps
            time_s = self._continue(self._unless_stuck(pts_s), self.last.time_s, by_arrival_s, duration_s, behind)
            if self.endless and self.jumps > jumps:
                time_s = max(time_s, self.last.time_s + arrived_s - self.last.arrived_s)
        if pts_s is not None and self._offset_s is None:
            self._offset_s = time_s - pts_s
        self._pts_s = pts_s
        self.last = Moment(time_s, arrived_s)
        return time_s

    @staticmethod
    def _by_arrival(origin: Moment, now_s: float) -> float:
        return origin.time_s + now_s - origin.arrived_s

    def _begin(self, arrived_s: float) -> Moment:
        """Zero, or after an earlier connection: later by the time without pictures."""
        if self._after is None:
            return Moment(0.0, arrived_s)
        return Moment(self._after.time_s + max(0.0, arrived_s - self._after.arrived_s), arrived_s)

    def _unless_stuck(self, pts_s: float | None) -> float | None:
        """None for a stamp said three times: twice is a picture in two halves, three times is a clock that stands."""
        self._repeats = self._repeats + 1 if pts_s is not None and pts_s == self._pts_s else 0
        return None if self._repeats > 1 else pts_s

    def _continue(
        self, pts_s: float | None, last_s: float, by_arrival_s: float, duration_s: float, behind: bool
    ) -> float:
        without_stamp_s = max(last_s, by_arrival_s if self.live else last_s + duration_s)
        if pts_s is None:
            self._offset_s = None
            return without_stamp_s
        if self._offset_s is None:
            # The first stamp, often of the second picture: a hiccup while starting up is no pause of the stream.
            hiccup = without_stamp_s - last_s <= SLACK_S
            return min(without_stamp_s, last_s + duration_s) if hiccup else without_stamp_s
        time_s = pts_s + self._offset_s
        if self._has_jumped(time_s, last_s, by_arrival_s, behind):
            self.jumps += 1
            self._offset_s = None
            return without_stamp_s
        if self.live and not behind:
            most_s = SLEW * max(0.0, time_s - last_s)
            correction_s = min(most_s, max(-most_s, by_arrival_s - time_s))
            self._offset_s += correction_s
            time_s += correction_s
        return max(time_s, last_s)

    def _has_jumped(self, time_s: float, last_s: float, by_arrival_s: float, behind: bool) -> bool:
        if self.live:
            far = time_s - by_arrival_s > SLACK_S or by_arrival_s - time_s > (LONGEST_STEP_S if behind else SLACK_S)
        else:
            far = time_s - last_s > LONGEST_STEP_S
        return far or time_s - last_s < -REORDER_S
