"""The measurement of answers, with one short stream, and that its arithmetic knows right from wrong."""

from __future__ import annotations

import json
from pathlib import Path

from bench import answers
from bench.answers import SYSTEMS, Asked
from stream.sources.simulated.quiz import Item


def item(answer: str) -> Item:
    return Item("what", "present", "What is there?", answer, (0.0, 1.0), 0.0)


def test_one_stream_from_first_frame_to_table(tmp_path: Path) -> None:
    said, path = list[str](), tmp_path / "answers.json"
    assert answers.main(["--streams", "1", "--seconds", "40", "--moments", "3", "--json", str(path)], said.append) == 0
    table = json.loads(path.read_text())["table"]
    whole = [row for name, row in table.items() if name.startswith("all ")]
    questions = sum(row["questions"] for row in whole)
    assert 8 <= questions <= 24
    kinds = [row for name, row in table.items() if ": " in name]
    assert sum(row["questions"] for row in kinds) == questions
    for row in table.values():
        assert all(0 <= row[name] <= 1 for name in (*SYSTEMS, "blind"))
    for name in table:
        assert [line for line in said if line.startswith(f"| {name} |")]


def test_right_is_right_and_wrong_is_wrong() -> None:
    asked = [
        Asked(item("a car"), {"longwatch": "a car", "last 4": "a car", "last frame": "a dog"}),
        Asked(item("a dog"), {"longwatch": "a dog", "last 4": "a car", "last frame": "a car"}),
    ]
    row = answers.tabulate(asked)["all present"]
    assert [row[name] for name in SYSTEMS] == [1.0, 0.5, 0.0]
    assert row["blind"] == 0.5  # the best constant answer is right once


def test_guessing_from_the_question_alone_may_name_what_it_names() -> None:
    """Half of "which came first" is right by always naming the first of the two: blind must not look weaker."""

    def order(answer: str) -> Asked:
        said = dict.fromkeys(SYSTEMS, answer)
        text = "Which came first, the red car or the blue dog?"
        return Asked(Item("order", "past", text, answer, (0.0, 1.0), 0.0), said)

    other = order("the green ball")
    table = answers.tabulate([order("the red car"), order("the red car"), order("the blue dog"), other])
    assert table["all past"]["blind"] == 0.5
    texts = ("Which came first, the red car or the blue dog?", "Which came first, the white box or the red ball?")
    firsts = [
        Asked(Item("order", "past", t, a, (0.0, 1.0), 0.0), dict.fromkeys(SYSTEMS, a))
        for t, a in zip(texts, ("the red car", "the white box"), strict=True)
    ]
    assert answers.tabulate(firsts)["all past"]["blind"] == 1.0
