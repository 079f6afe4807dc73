"""Falling behind a live camera, and catching up.

A machine that decodes slower than pictures come shows no error: they pile up in the socket and what is seen grows
older and older. The sign is a reader that never has to wait. Then only key frames are decoded, a small part of the
work, until reading has to wait again.
"""

from __future__ import annotations

# A read that took this part of the time between two pictures had nothing to read: the socket was empty. Measured in
# pictures, because on a busy machine a read of what is there takes milliseconds: 5 to be given the interpreter back.
WAIT_FRACTION = 0.3
WAIT_S = (0.002, 0.05)  # at least, at most: declared rates may be nonsense
BEHIND_S = 1.0  # without such a wait for so long, there is a backlog
LATE_S = 2.0  # how old pictures may be before those between key frames are left out


class Backlog:
    """One connection's. Times are of the monotonic clock, s."""

    def __init__(self, now_s: float) -> None:
        self.skipped = 0  # packets that were not decoded
        self._caught_up_s = now_s
        self._hurrying = False

    def heard(self, asked_s: float, now_s: float, usual_s: float) -> None:
        """A packet was asked for, and came; pictures are usually `usual_s` apart."""
        shortest_s, longest_s = WAIT_S
        if now_s - asked_s > min(longest_s, max(shortest_s, WAIT_FRACTION * usual_s)):
            self._caught_up_s = now_s

    def behind(self, now_s: float) -> bool:
        """Whether more is waiting than we take."""
        return now_s - self._caught_up_s > BEHIND_S

    def worth_decoding(self, late_s: float, key: bool, now_s: float) -> bool:
        """Whether to decode this packet, so many seconds after its time. Changes its mind at key frames only."""
        if key:
            self._hurrying = late_s > LATE_S and self.behind(now_s)
        self.skipped += self._hurrying and not key
        return key or not self._hurrying
