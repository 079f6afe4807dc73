"""A day's film tells memory that nothing has changed only where that is so."""

from __future__ import annotations

from itertools import pairwise

from bench.watch import films
from stream.sources.simulated.truth import visible


def test_the_look_after_a_stretch_is_still_only_if_the_stretch_ended_in_an_empty_place() -> None:
    found = {True: 0, False: 0}
    for seed in (5_100_000, 5_100_001):
        shots = films.day(seed, 43_200.0, 2.0).shots
        assert not shots[0].still
        for before, look in pairwise(shots):
            if look.script is before.script or before.script.seed != look.script.seed:
                continue
            if look.time_s == look.at_s and before.script is shots[-1].script:  # from a busy stretch to the empty place
                empty = not visible(before.script, before.at_s)
                assert look.still == empty
                found[empty] += 1
    assert found[True] and found[False], "both kinds of ending must occur, or nothing is shown"
