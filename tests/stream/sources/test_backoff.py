"""The shape of the waits between attempts."""

from __future__ import annotations

import random

import pytest

from stream.sources.backoff import AWAY_S, LOCKED_S, Backoff


def test_the_waits_grow_to_a_minute_and_stay_there_with_jitter() -> None:
    backoff = Backoff(AWAY_S, rng=random.Random(3))
    waits = [backoff.next_s() for _ in range(50)]
    assert all(
        0.8 * step <= wait <= 1.2 * step for wait, step in zip(waits, (1, 2, 5, 10, 30, *[60] * 45), strict=True)
    )
    assert len(set(waits[5:])) == 45, "without jitter all cameras would come back together"
    backoff.reset()
    assert backoff.next_s() <= 1.2


def test_a_wrong_password_is_never_tried_sooner_than_promised() -> None:
    backoff = Backoff(LOCKED_S, early=False, rng=random.Random(4))
    waits = [backoff.next_s() for _ in range(20)]
    assert all(wait >= step for wait, step in zip(waits, (60, 120, 300, *[600] * 17), strict=True))
    assert max(waits) == pytest.approx(660, abs=60)
