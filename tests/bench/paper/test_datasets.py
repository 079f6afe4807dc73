"""The public datasets' own formats, from files made here with their authors' field names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from bench.paper.datasets import DATASETS, question_of
from bench.paper.film import Unreadable, frames_of
from bench.paper.items import BadData, Item, read
from bench.paper.judging import is_exact, is_right, letter_said
from bench.paper.shelf import Shelf
from tests.bench.paper.made import BLUE, GREEN, MADE, RED, film, mvbench, nextqa_mc, store, videomme


def items_of(dataset: str, folder: Path) -> list[Item]:
    shelf, found = Shelf(folder), DATASETS[dataset]
    paths = [path for path in map(shelf.annotation, found.files) if path is not None]
    return [item for path in (paths if found.several else paths[:1]) for item in found.read(path, shelf)]


def colour(rgb: np.ndarray) -> tuple[int, int, int]:
    mean = rgb.reshape(-1, 3).mean(0)
    return min((RED, GREEN, BLUE), key=lambda c: float(np.abs(mean - c).sum()))


# Annotations.


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_question_finds_its_video_and_its_answer(dataset: str, tmp_path: Path) -> None:
    items = items_of(dataset, MADE[dataset](tmp_path))
    shelf = Shelf(tmp_path)
    assert items and len({item.id for item in items}) == len(items)
    for item in items:
        assert shelf.film(item) is not None
        assert item.question and item.answer
        assert not item.options or item.answer in "ABCDE"[: len(item.options)]


def test_nextqa_reads_quoted_options_and_numbers_from_0(tmp_path: Path) -> None:
    first, second, *_, last = items_of("nextqa_mc", nextqa_mc(tmp_path))
    assert first.options == ("red", "green", "blue", "grey", 'a dog, "big"')
    assert (first.answer, second.answer, last.answer) == ("A", "C", "E")
    assert (first.question, second.question, first.group, first.video) == (
        "what comes first?",
        "what comes last?",
        "TN",
        "1150/4010069381",
    )
    assert question_of(first).splitlines() == [
        "what comes first?",
        "A. red",
        "B. green",
        "C. blue",
        "D. grey",
        'E. a dog, "big"',
        "Answer with the option's letter from the given choices directly.",
    ]


@pytest.mark.parametrize("nested", [False, True])
def test_videomme_in_both_its_forms(nested: bool, tmp_path: Path) -> None:
    (item,) = items_of("videomme", videomme(tmp_path, nested=nested))
    assert (item.id, item.video, item.answer, item.group) == ("001-1", "fFjv93ACGo8", "C", "short")
    assert item.options == ("One.", "Two.", "Three.", "Four.")


def test_mvbench_answers_are_words_even_where_those_are_numbers(tmp_path: Path) -> None:
    by_task = {item.group: item for item in items_of("mvbench", mvbench(tmp_path))}
    assert by_task["action_sequence"].span_s == (2.0, 3.0) and by_task["action_sequence"].answer == "C"
    assert by_task["moving_count"].span_s is None and by_task["moving_count"].answer == "B"
    shelf = Shelf(tmp_path)
    assert "star" in str(shelf.film(by_task["action_sequence"]))
    assert "clevrer" in str(shelf.film(by_task["moving_count"]))
    assert shelf.film(by_task["episodic_reasoning"]).is_dir()


def test_egoschema_asks_only_what_has_an_answer(tmp_path: Path) -> None:
    (item,) = items_of("egoschema", MADE["egoschema"](tmp_path))
    assert item.answer == "D" and item.options[3] == "C did thing 3."
    (tmp_path / "subset_answers.json").unlink()
    with pytest.raises(BadData, match=r"put subset_answers\.json beside it"):
        items_of("egoschema", tmp_path)


def test_open_questions(tmp_path: Path) -> None:
    yes, three = items_of("actnet_qa", MADE["actnet_qa"](tmp_path))
    assert yes.video == "v_1QIUV7WYKXg" and (yes.group, three.group) == ("yes/no", "number")
    assert question_of(yes).endswith("green?\nAnswer the question using a single word or phrase.")
    (tmp_path / "val_a.json").unlink()
    with pytest.raises(BadData, match=r"val_a\.json, are not there"):
        items_of("actnet_qa", tmp_path)


@pytest.mark.parametrize(
    ("dataset", "name", "content", "words"),
    [
        ("videomme", "videomme.json", "[", "cannot be read"),
        ("videomme", "videomme.json", "{}", "a list of questions"),
        ("videomme", "videomme.json", '[{"question_id": "1", "question": "q"}]', "no video_id, options, answer"),
        ("longvideobench", "lvb_val.json", '[{"id": 1, "video_path": "a", "question": "q"}]', "no candidates"),
        ("nextqa_mc", "val.csv", "video,question,answer,qid\n1,2,3,4\n", "no a0, a1, a2, a3, a4"),
        (
            "mvbench",
            "action_count.json",
            '[{"video":"a","question":"q","candidates":["1","2"],"answer":"3"}]',
            "none of",
        ),
        (
            "egoschema",
            "questions.json",
            '[{"q_uid":"a","question":"q","answer":7,"option 0":"x","option 1":"y"}]',
            "none of",
        ),
        ("egoschema", "questions.json", "[" * 100_000, "cannot be read"),
    ],
)
def test_what_is_not_in_the_format_is_a_sentence(
    dataset: str, name: str, content: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadData, match=words) as told:
        items_of(dataset, tmp_path)
    assert name in str(told.value)


def test_parquet_is_read(tmp_path: Path) -> None:
    """Video-MME as it is published: a table whose options are lists."""
    path = tmp_path / "videomme" / "test-00000-of-00001.parquet"
    path.parent.mkdir()
    row: dict[str, object] = {
        "video_id": "001",
        "videoID": "abc",
        "duration": "short",
        "domain": "x",
        "question_id": "001-1",
    }
    row |= {"question": "What is it?", "options": ["A. a dog", "B. a cat"], "answer": "B"}
    parquet.write_table(pa.Table.from_pylist([row]), path)
    assert read(path) == [row]
    (item,) = items_of("videomme", tmp_path)
    assert (item.video, item.answer) == ("abc", "B")
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(BadData, match="cannot be read"):
        read(path)


def test_without_the_reader_of_parquet_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "test-00000-of-00001.parquet"
    path.write_bytes(b"PAR1 and no more")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadData, match=r"longwatch\[paper\]"):
        read(path)


# Videos.


def test_two_files_of_one_name_are_not_guessed_between(tmp_path: Path) -> None:
    film(tmp_path / "a" / "x.mp4")
    film(tmp_path / "b" / "x.mp4")
    with pytest.raises(BadData, match="Two files could be the video x"):
        Shelf(tmp_path).film(Item("1", "x", "q", "A"))
    assert Shelf(tmp_path).film(Item("1", "b/x", "q", "A")) == (tmp_path / "b" / "x.mp4").resolve()
    assert Shelf(tmp_path).film(Item("1", "../../etc/passwd", "q", "A")) is None
    with pytest.raises(BadData, match="no folder"):
        Shelf(tmp_path / "none")


def test_frames_are_evenly_spaced_from_the_first_to_the_last(tmp_path: Path) -> None:
    path = film(tmp_path / "x.mp4")  # 3 s at 10 Hz
    found = list(frames_of(path, 4))
    assert [round(frame.time_s, 2) for frame in found] == pytest.approx([0.0, 1.0, 1.9, 2.9], abs=0.11)
    assert [colour(frame.rgb) for frame in found] == [RED, GREEN, GREEN, BLUE]
    assert [frame.index for frame in found] == [0, 1, 2, 3]
    part = list(frames_of(path, 3, (1.0, 1.8)))
    assert [colour(frame.rgb) for frame in part] == [GREEN] * 3
    assert [round(frame.time_s, 2) for frame in part] == pytest.approx([1.0, 1.4, 1.8], abs=0.06)


def test_a_short_film_gives_each_frame_once(tmp_path: Path) -> None:
    path = film(tmp_path / "x.mp4", each=2)
    assert len(list(frames_of(path, 64))) == 6
    assert len(list(frames_of(path, 1))) == 1
    assert len(list(frames_of(path, 3, (50.0, 60.0)))) == 1, "a part past the end is the last frame"


def test_what_nobody_wants_is_jumped_over(tmp_path: Path) -> None:
    path = film(tmp_path / "long.mp4", (RED, GREEN, BLUE) * 7, each=30, fps=5)  # 126 s
    whole = list(frames_of(path, 22))
    assert len(whole) == 22
    assert np.diff([frame.time_s for frame in whole]) == pytest.approx(125.8 / 21, abs=0.21)
    few = list(frames_of(path, 4))
    assert [frame.time_s for frame in few] == pytest.approx([0, 41.93, 83.87, 125.8], abs=0.21)
    assert [colour(frame.rgb) for frame in few] == [(RED, GREEN, BLUE)[int(frame.time_s / 6) % 3] for frame in few]


def test_films_that_cannot_be_read_are_sentences(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"no film at all")
    with pytest.raises(Unreadable, match=r"x\.mp4 cannot be read"):
        list(frames_of(path, 4))
    (tmp_path / "none").mkdir()
    with pytest.raises(Unreadable, match="none"):
        list(frames_of(tmp_path / "none", 4))
    whole = film(tmp_path / "whole.mp4", each=60).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Unreadable):
        list(frames_of(tmp_path / "cut.mp4", 4))


# Right and wrong.


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(C)", "C"),
        ("B. a cat", "B"),
        ("A: because", "A"),
        ("**D**", "D"),
        ("The answer is B.", "B"),
        ("Answer: (C) a bird", "C"),
        ("I think it is (B), the cat", "B"),
        ("a dog", "A"),
        ("A dog", "A"),
        ("A cat", "B"),
        ("the cat.", "B"),
        ("There is a bird in the tree", "C"),
        ("A man walks by", None),
        ("a cat or a bird", None),
        ("E", None),
        ("", None),
        ("I do not know", None),
        ("none of them", "D"),
        ("The answer is a cat", "B"),
    ],
)
def test_the_letter_that_is_meant(said: str, letter: str | None) -> None:
    assert letter_said(said, ("a dog", "a cat", "a bird", "none of them")) == letter


@pytest.mark.parametrize(
    ("answer", "said", "right"),
    [
        ("yes", "Yes.", True),
        ("no", "No, yes would be wrong", True),
        ("yes", "no", False),
        ("yes", "maybe", False),
        ("3", "three", True),
        ("two", "There are 2 of them", True),
        ("2", "12", False),
        ("swimming pool", "In the swimming pool.", True),
        ("pool", "carpool", False),
        ("the beach", "a beach", True),
        ("beach", "", False),
    ],
)
def test_open_answers(answer: str, said: str, right: bool) -> None:
    assert is_right(Item("1", "v", "q", answer), said)[0] is right


def test_exact_and_understood() -> None:
    item = Item("1", "v", "q", "B", ("a dog", "a cat"))
    assert is_right(item, "B. a cat") == (True, True) and not is_exact(item, "B. a cat") and is_exact(item, "b")
    assert is_right(item, "hm") == (False, False)


def test_answers_survive_as_json(tmp_path: Path) -> None:
    assert read(store(tmp_path / "a.json", {"a": 1})) == {"a": 1}
    (tmp_path / "a.jsonl").write_text(json.dumps({"a": 1}) + "\n\n" + json.dumps({"a": 2}) + "\n")
    assert read(tmp_path / "a.jsonl") == [{"a": 1}, {"a": 2}]
