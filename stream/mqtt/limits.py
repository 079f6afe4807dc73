"""Every bound of the MQTT side in one place, and the bucket that keeps a rate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, rates per second, times in s. The defaults suit a broker shared with other programs."""

    packet_bytes: int = 256 * 1024  # told to a version 5 broker: larger packets never reach us
    inbox: int = 256  # messages read from the socket and not yet looked at; the newest is refused
    outbox_bytes: int = 8 * 2**20  # what waits for the broker; the oldest goes
    in_flight: int = 16  # publishes that wait for the broker's acknowledgement
    open_questions: int = 32  # per camera, asked over MQTT and not yet answered
    asks_per_s: float = 10.0  # per camera, on average
    asks_burst: int = 40
    refusals_per_s: float = (
        50.0  # all cameras: beyond it a refusal is only counted, or a flood would be answered by one
    )
    refusals_burst: int = 100
    clears_per_s: float = 0.2
    clears_burst: int = 3
    snapshot_bytes: int = 512 * 1024
    snapshot_every_s: float = 10.0
    stats_every_s: float = 60.0
    frozen_s: float = 5.0  # we did not run for this long: what waited in the socket is out of date
    timeout_s: float = 10.0  # for one word with the broker
    backoff_s: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
    refused_backoff_s: tuple[float, ...] = (60.0, 120.0, 300.0, 600.0)  # wrong password, or our id is in use
    settled_s: float = 30.0  # a connection this old starts the back-off anew
    brief_losses: int = 3  # as many connections in a row lost before that: somebody else uses our client id
    closing_s: float = 2.0  # at the end: for open questions to be answered, then for the outbox to empty
    last_word_s: float = 2.5  # for those that are not: to be told so, once the journal knows
    leaving_s: float = 5.0  # for all of this together, and `offline`
    goodbye_s: float = 0.5  # for the broker to hang up
    birth_spread_s: float = 3.0  # Home Assistant comes back: wait up to this long, or all instances speak at once
    tidy_s: float = 2.0  # how long to look for announcements of cameras that are gone


class Bucket:
    """Tokens trickle in at a rate and are taken one at a time."""

    def __init__(self, per_s: float, burst: int, now_s: float) -> None:
        self._per_s, self._burst = per_s, float(burst)
        self._level, self._at_s = float(burst), now_s

    def take(self, now_s: float) -> bool:
        """True: go on. False: too fast."""
        self._level = min(self._burst, self._level + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._level < 1:
            return False
        self._level -= 1
        return True

    @property
    def wait_s(self) -> float:
        """When the next one will be there, s from the last `take`."""
        return max(0.0, (1 - self._level) / self._per_s)


def backoff_s(schedule: tuple[float, ...], attempt: int, chance: float) -> float:
    """Pause before attempt 0, 1, 2 ...: the schedule's last step for ever, jittered by `chance` (0..1) to 50-100 %."""
    return schedule[min(attempt, len(schedule) - 1)] * (0.5 + 0.5 * chance)
