"""Media time that never runs backwards and never strays from the clock of arrival."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.sources.media_clock import SLACK_S, MediaClock, Moment


def steady(clock: MediaClock, frames: int, start_s: float, pts_s: float, step_s: float = 0.04) -> list[float]:
    return [clock.stamp(pts_s + i * step_s, start_s + i * step_s, step_s) for i in range(frames)]


def test_it_follows_the_stamps_and_not_the_jitter_of_arrival() -> None:
    clock = MediaClock(live=True)
    arrivals = [0.0, 0.09, 0.1, 0.11, 0.2, 0.21]
    times = [clock.stamp(50 + i * 0.04, 7 + at, 0.04) for i, at in enumerate(arrivals)]
    assert times == pytest.approx([i * 0.04 for i in range(6)], abs=0.002)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, -95443.7])
def test_a_jump_of_the_camera_clock_takes_the_time_that_truly_passed(jump_s: float) -> None:
    clock = MediaClock(live=True)
    before = steady(clock, 50, 100.0, 20.0)
    after = steady(clock, 50, 102.0, 22.0 + jump_s)
    assert after[0] - before[-1] == pytest.approx(0.04, abs=0.01)
    assert after[-1] == pytest.approx(3.96, abs=0.05) and clock.jumps == 1


def test_a_live_gap_lasts_as_long_as_it_did() -> None:
    clock = MediaClock(live=True)
    steady(clock, 10, 0.0, 0.0)
    assert clock.stamp(30.4, 30.4, 0.04) == pytest.approx(30.4, abs=0.2)
    assert clock.jumps == 0


def test_missing_stamps_take_the_time_of_arrival() -> None:
    clock = MediaClock(live=True)
    assert [clock.stamp(None, 10 + t, 0.04) for t in (0.0, 0.5, 1.0)] == [0.0, 0.5, 1.0]
    assert clock.stamp(777.0, 11.1, 0.04) == pytest.approx(1.04, abs=0.07)
    assert clock.stamp(777.1, 11.2, 0.04) == pytest.approx(1.14, abs=0.07)


def test_one_picture_in_two_halves_has_one_time_but_a_clock_that_stands_is_not_believed() -> None:
    clock = MediaClock(live=True)
    clock.stamp(1.0, 0.0, 0.04)
    assert clock.stamp(1.04, 0.04, 0.04) == pytest.approx(clock.stamp(1.04, 0.05, 0.04))
    times = [clock.stamp(1.04, 0.05 + t, 0.04) for t in range(1, 20)]
    assert times[-1] == pytest.approx(19.05, abs=0.1)


def test_a_clock_that_drifts_is_held_to_ours() -> None:
    """A crystal that is 0.1 % fast, ten times worse than any: within a second after a day, instead of 86 s off."""
    clock = MediaClock(live=True)
    for i in range(0, 86_400, 2):
        time_s = clock.stamp(i * 1.001, float(i), 0.04)
    assert time_s == pytest.approx(86_398, abs=1.0) and clock.jumps == 0


def test_another_connection_goes_on_later_by_the_time_without_pictures() -> None:
    first = MediaClock(live=True)
    steady(first, 100, 50.0, 1000.0)
    assert first.last is not None
    second = MediaClock(live=True, after=first.last)
    assert second.stamp(3.0, first.last.arrived_s + 60, 0.04) == pytest.approx(first.last.time_s + 60)


def test_a_stored_stream_has_only_its_stamps_and_a_loop_is_seamless() -> None:
    clock = MediaClock(live=False)
    assert steady(clock, 3, 0.0, 5.0, 0.1) == pytest.approx([0.0, 0.1, 0.2])
    assert clock.stamp(15.2, 0.0, 0.1) == pytest.approx(10.2)  # a pause in the recording, however fast it is read
    clock.seam()
    assert clock.stamp(5.0, 0.0, 0.1) == pytest.approx(10.3)
    assert clock.stamp(5.1, 0.0, 0.1) == pytest.approx(10.4)
    assert clock.stamp(9999.0, 0.0, 0.1) == pytest.approx(10.5)  # a broken stamp


@pytest.mark.parametrize("jump_s", [90.0, 3600.0, -3600.0])
def test_segments_of_a_live_stream_jump_by_the_time_that_passed(jump_s: float) -> None:
    """An encoder that was away for a minute and a half, whatever its clock says then; segments come in bursts."""
    clock = MediaClock(live=False)
    clock.endless = True
    for segment in range(3):
        for i in range(10):
            time_s = clock.stamp(500 + segment + i * 0.1, 7.0 + segment + i * 0.001, 0.1)
    assert time_s == pytest.approx(2.9), "stamps, not arrival"
    assert clock.stamp(502.9 + jump_s, 9.009 + 90, 0.1) == pytest.approx(2.9 + 90) and clock.jumps == 1
    assert clock.stamp(503.0 + jump_s, 9.009 + 90, 0.1) == pytest.approx(3.0 + 90)
    assert clock.stamp(None, 20.0 + 90, 0.1) == pytest.approx(3.1 + 90), "a stamp that is missing is no jump"
    assert clock.stamp(10.0, 20.0 + 90, 0.1) == pytest.approx(3.2 + 90)
    assert clock.stamp(9000.0, 20.0 + 90, 0.1) == pytest.approx(3.3 + 90), "one picture at least"


def test_pictures_out_of_order_wait_for_each_other_and_do_not_stretch_time() -> None:
    clock = MediaClock(live=False)
    stamps = [0.0, 0.12, 0.04, 0.08, 0.16, 0.28, 0.2, 0.24, 0.32]
    times = [clock.stamp(pts, 0.0, 0.04) for pts in stamps]
    assert times == sorted(times) and times[-1] == pytest.approx(0.32)


@given(
    live=st.booleans(),
    steps=st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(-1e5, 1e5), st.just(0.0), st.just(0.04)),
            st.floats(0, 20),
        ),
        max_size=60,
    ),
    after=st.one_of(st.none(), st.builds(Moment, st.floats(0, 1e4), st.floats(0, 50))),
)
def test_whatever_comes_time_never_runs_backwards_and_live_time_stays_near_ours(
    live: bool, steps: list[tuple[float | None, float]], after: Moment | None
) -> None:
    clock, pts_s, now_s = MediaClock(live, after), 0.0, 100.0
    times, gaps = [], []
    for step_s, gap_s in steps:
        now_s += gap_s
        pts_s += step_s or 0.0
        times.append(clock.stamp(None if step_s is None else pts_s, now_s, 0.04))
        gaps.append(now_s)
    assert times == sorted(times)
    if after and times:
        assert times[0] >= after.time_s
    if live and times:
        assert abs((times[-1] - times[0]) - (gaps[-1] - gaps[0])) <= SLACK_S + 0.1 * len(times)
