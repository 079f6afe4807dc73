"""Whether a socket was empty, told from how long reading took."""

from __future__ import annotations

import pytest

from stream.sources.backlog import BEHIND_S, LATE_S, Backlog


def after(pictures: int, read_s: float, decode_s: float, usual_s: float) -> tuple[Backlog, float]:
    """What is known after so many pictures that took so long to read and to decode, and the time."""
    now_s = 100.0
    backlog = Backlog(now_s)
    for _ in range(pictures):
        backlog.heard(now_s, now_s + read_s, usual_s)
        now_s += read_s + decode_s
    return backlog, now_s


@pytest.mark.parametrize(
    ("read_s", "decode_s", "usual_s", "behind"),
    [
        (0.035, 0.005, 0.04, False),  # an idle machine
        (0.0001, 0.06, 0.04, True),  # decodes too slowly
        (0.006, 0.06, 0.04, True),  # and waits for the interpreter in each read
        (0.011, 0.06, 0.04, True),  # twice
        (0.014, 0.026, 0.04, False),  # just keeps up
        (0.004, 0.002, 0.0067, False),  # 150 pictures per second
        (0.04, 0.005, 1.0, True),  # declared as one per second, sends 22: a busy camera, not a late one
        (0.06, 0.005, 1.0, False),
    ],
)
def test_a_read_of_what_is_there_is_no_wait(read_s: float, decode_s: float, usual_s: float, behind: bool) -> None:
    backlog, now_s = after(round(3 * BEHIND_S / (read_s + decode_s)), read_s, decode_s, usual_s)
    assert backlog.behind(now_s) == behind
    assert backlog.worth_decoding(LATE_S + 1, True, now_s), "a key frame always"
    assert backlog.worth_decoding(LATE_S + 1, False, now_s) != behind
    assert backlog.skipped == int(behind)
    assert backlog.worth_decoding(0.0, True, now_s)
    assert backlog.worth_decoding(0.0, False, now_s), "nothing is left out while pictures are on time"
