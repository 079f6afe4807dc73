"""The measurement of steps, with few frames: every step is there and was measured, peers too, table and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import steps
from models.kv.reading import Reader
from models.perception import Perception
from models.token_base import TokenBase

STEPS = ["gate", "encode", "assign", "map", "rows", "fuse", "prefill", "prune"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    path, said = tmp_path_factory.mktemp("steps") / "runs" / "steps.json", list[str]()
    assert steps.main(["--frames", "240", "--reel", "48", "--json", str(path)], said.append) == 0
    return said, path


def test_every_step_of_a_frame_was_measured(measured: tuple[list[str], Path]) -> None:
    said, path = measured
    told = json.loads(path.read_text())
    assert list(told["steps_ms"]) == STEPS
    never = [name for name, ms in told["steps_ms"].items() if not ms > 0]
    assert not never, f"these cost nothing, so they were not measured: {never}"
    for name in (*STEPS, "all"):
        assert [line for line in said if line.startswith(f"| {name} |")], said


def test_questions_beside_the_peers(measured: tuple[list[str], Path]) -> None:
    """What a question can see is the same run for run: bounded with memory, growing without."""
    asked = json.loads(measured[1].read_text())["asked"]
    assert set(asked) == {"last 4 frames", "longwatch", "every token"}
    assert all([row["frames"] for row in rows] == [120, 240] for rows in asked.values())
    tokens = {name: [row["tokens"] for row in rows] for name, rows in asked.items()}
    assert tokens["last 4 frames"][0] == tokens["last 4 frames"][1] < tokens["longwatch"][1] < tokens["every token"][1]
    assert tokens["every token"][1] > 1.9 * tokens["every token"][0]
    assert all(row["first_ms"] > 0 and row["word_ms"] > 0 and row["mib"] > 0 for rows in asked.values() for row in rows)


def test_measuring_leaves_nothing_behind(measured: tuple[list[str], Path]) -> None:
    assert measured
    for function in (TokenBase.assign, Perception.open_segment, Reader.fuse):
        assert function.__module__.startswith("models."), "a method is still wrapped"


def test_a_step_inside_another_is_not_counted_twice() -> None:
    clock = steps.Clock()
    with clock.step("outer"):
        with clock.step("inner"):
            sum(range(200_000))
        sum(range(1000))
    assert clock.spent_ms["inner"] > clock.spent_ms["outer"] > 0
