"""Small words of the command line: lengths of time, places in a picture, lines of evidence, the log."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from stream.cli import evidence, spans
from stream.cli.console import Console, harmless
from stream.cli.log import JsonLines
from stream.redact import RedactingFilter


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("45", 45), (" 1.5H ", 5400)]
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert spans.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "-5m", "0", "10x", "nan", "inf", "5m ago", "1e12"])
def test_no_lengths_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="10m"):
        spans.seconds(text)


@pytest.mark.parametrize(
    ("row", "column", "place"), [(0, 0, "top left"), (1, 1, "middle"), (2, 2, "bottom right"), (2, 1, "bottom middle")]
)
def test_where_one_cell_is(row: int, column: int, place: str) -> None:
    cells = [[1.0 if (r, c) == (row, column) else 0.0 for c in range(3)] for r in range(3)]
    assert evidence.region(cells) == place


def test_an_even_picture_is_all_over_and_an_empty_one_is_nowhere() -> None:
    assert evidence.region([[1.0] * 8] * 6) == "all over"
    assert evidence.region([[0.0] * 8] * 6) == ""


def test_lines_of_evidence() -> None:
    seen = {"from": "2026-01-31T12:00:00.000Z", "to": "2026-01-31T12:00:08.000Z", "cells": [[1.0, 0.0], [0.0, 0.0]]}
    gone = {"from": "2026-01-31T11:00:00.000Z", "to": "2026-01-31T11:10:00.000Z"}
    answer = {
        "evidence": {
            "sightings": [{**seen, "weight": 0.61, "tier": "warm"}],
            "uncovered": [gone],
            "newest_frame_age_ms": 250,
        },
        "latency_ms": {"first_token": 310.0, "total": 640.0},
        "usage": {"prompt_tokens": 2310, "completion_tokens": 21},
    }
    said = list(evidence.lines(answer))
    assert "61 %" in said[0]
    assert "recalled, exact" in said[0]
    assert said[0].endswith("top left")
    assert "not in memory" in said[1]
    assert "0.31 s" in said[2]
    assert "2310 tokens" in said[2]


def test_a_picture_beyond_the_model_is_a_line() -> None:
    lost = {"sightings": [], "uncovered": [], "out_of_depth": True, "depth_score": 1.81}
    assert any("trained on" in line and "1.81" in line for line in evidence.lines({"evidence": lost}))
    assert not list(evidence.lines({"evidence": lost | {"out_of_depth": False, "depth_score": 0.6}}))


def test_an_answer_without_evidence_has_no_lines() -> None:
    assert list(evidence.lines({"evidence": None})) == []


def test_a_model_cannot_steer_the_terminal() -> None:
    out = io.StringIO()
    Console(out=out).words("red\x1b[2J\x07 car\n\u009b1m")
    assert out.getvalue() == "red[2J car\n1m"
    assert harmless("äöü 東京 é") == "äöü 東京 é"


def test_quiet_says_results_only() -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(quiet=True, out=out, err=err)
    console.note("beside")
    console.say("result")
    console.fail("what went wrong")
    with console.working("loading") as progress:
        progress.now("half", 1)
    assert out.getvalue() == "result\n"
    assert err.getvalue() == "longwatch: what went wrong\n"


def test_plain_progress_speaks_when_the_mark_changes() -> None:
    out = io.StringIO()
    with Console(out=out).working("start") as progress:
        for frames, closed in ((1, 0), (2, 0), (3, 1)):
            progress.now(f"{frames} frames, {closed} closed", closed)
    assert out.getvalue().splitlines() == ["start", "1 frames, 0 closed", "3 frames, 1 closed"]


def test_log_lines_are_json_without_credentials() -> None:
    try:
        raise ValueError("rtsp://user:canary-in-log@host/1 is away")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "it %s", ("broke",), sys.exc_info())
    RedactingFilter().filter(record)
    line = JsonLines().format(record)
    told = json.loads(line)
    assert told["text"].startswith("it broke")
    assert told["level"] == "error"
    assert "canary" not in line
    assert "ValueError" in line
