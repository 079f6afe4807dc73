"""How long to wait before trying again: soon at first, seldom later, never all at the same time, and for ever."""

from __future__ import annotations

import random
from collections.abc import Sequence

AWAY_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # a camera that does not answer
LOCKED_S = (60.0, 120.0, 300.0, 600.0)  # a wrong password: cameras lock accounts that are tried too often
JITTER = 0.2  # so that a hundred cameras behind one switch do not come back in one second


class Backoff:
    """Steps through waiting times (s); stays on the last one until `reset`."""

    def __init__(self, steps_s: Sequence[float], early: bool = True, rng: random.Random | None = None) -> None:
        """`early`: jitter may also shorten a wait; False keeps a step a promise, as for passwords."""
        self._steps_s = tuple(steps_s)
        self._low = 1 - JITTER if early else 1.0
        self._rng = rng or random.Random()
        self._step = 0

    def next_s(self) -> float:
        """The next wait, s."""
        step_s = self._steps_s[min(self._step, len(self._steps_s) - 1)]
        self._step += 1
        return step_s * self._rng.uniform(self._low, 1 + JITTER)

    def reset(self) -> None:
        """All is well: begin with the first step next time."""
        self._step = 0
