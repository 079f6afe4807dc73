"""The public datasets as their authors publish them: which files, which fields, and what becomes an `Item`.

Field names are those of the datasets' own files; copies on hubs that keep them are read as well. Subtitles are not used
by any: figures are to be compared with published ones without subtitles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.paper.items import BadData, Item, letter, options_of, read, rows, seconds

if TYPE_CHECKING:
    from bench.paper.shelf import Shelf

_CHOICE = "\nAnswer with the option's letter from the given choices directly."
_OPEN = "\nAnswer the question using a single word or phrase."
# Tasks of MVBench whose question is about a part of the video; the others' times, where there are any, mean nothing.
_PARTS = {"action_sequence", "action_prediction", "object_interaction", "action_localization", "episodic_reasoning"}
_FOLDERS = {  # of MVBench's videos by task: names repeat from source to source
    "action_sequence": "star",
    "action_prediction": "star",
    "object_interaction": "star",
    "action_antonym": "ssv2_video",
    "fine_grained_action": "Moments_in_Time_Raw",
    "unexpected_action": "FunQA_test",
    "object_existence": "clevrer",
    "moving_direction": "clevrer",
    "moving_count": "clevrer",
    "moving_attribute": "clevrer",
    "counterfactual_inference": "clevrer",
    "object_shuffle": "perception",
    "action_count": "perception",
    "state_change": "perception",
    "character_order": "perception",
    "action_localization": "sta",
    "scene_transition": "scene_qa",
    "fine_grained_pose": "nturgbd",
    "egocentric_navigation": "vlnqa",
    "episodic_reasoning": "tvqa",
}


@dataclass(frozen=True, slots=True)
class Dataset:
    """Where its questions are, in order of preference, and how they are read."""

    files: tuple[str, ...]  # names or endings of paths, below the folder given
    read: Callable[[Path, Shelf], list[Item]]
    several: bool = False  # all files of the first name that matches, not one


def question_of(item: Item) -> str:
    """The words put to the model: those that evaluations of LLaVA-type models commonly use."""
    if not item.options:
        return item.question + _OPEN
    options = "".join(f"\n{mark}. {words}" for mark, words in zip("ABCDEFGHIJ", item.options, strict=False))
    return item.question + options + _CHOICE


def nextqa_mc(path: Path, shelf: Shelf) -> list[Item]:
    """NExT-QA, multiple choice (arXiv 2105.08276): CSV, five options a0 to a4, answer 0 to 4."""
    names = [f"a{i}" for i in range(5)]
    found = rows(read(path), path, "video", "question", "answer", "qid", *names)
    beside = shelf.annotation("map_vid_vidorID.json")
    told = read(beside) if beside is not None else {}
    videos: Mapping[str, str] = told if isinstance(told, Mapping) else {}
    items = []
    for row in found:
        options, video = tuple(str(row[name]).strip() for name in names), str(row["video"])
        where = f"{path.name}, video {video}, question {row['qid']}"
        items.append(
            Item(
                id=f"{video}_{row['qid']}",
                video=str(videos.get(video, video)),
                question=str(row["question"]).strip().rstrip("?") + "?",
                answer=letter(row["answer"], options, where),
                options=options,
                group=str(row.get("type") or ""),
            )
        )
    return items


def videomme(path: Path, _: Shelf) -> list[Item]:
    """Video-MME (arXiv 2405.21075): Parquet rows, or the JSON with the questions inside each video."""
    found = read(path)
    if isinstance(found, list) and found and isinstance(found[0], Mapping) and "questions" in found[0]:
        found = [{**video, **one} for video in rows(found, path, "questions") for one in video["questions"]]
    items = []
    for row in rows(found, path, "video_id", "question_id", "question", "options", "answer"):
        where = f"{path.name}, question {row['question_id']}"
        options = options_of(row["options"], where)
        items.append(
            Item(
                id=str(row["question_id"]),
                video=str(row.get("videoID") or _of_address(row.get("url")) or row["video_id"]),
                question=str(row["question"]),
                answer=letter(row["answer"], options, where),
                options=options,
                group=str(row.get("duration") or ""),
            )
        )
    return items


def mvbench(path: Path, _: Shelf) -> list[Item]:
    """MVBench (arXiv 2311.17005): one JSON per task; the answer is the words of a candidate."""
    task, items = path.stem, []
    for number, row in enumerate(rows(read(path), path, "video", "question", "candidates", "answer")):
        where = f"{path.name}, question {number}"
        options = options_of(row["candidates"], where)
        start, end = seconds(row.get("start")), seconds(row.get("end"))
        part = (start, end) if task in _PARTS and start is not None and end is not None and start < end else None
        true = str(row["answer"]).strip()
        if true not in options:
            raise BadData(f"{where}: the answer {true[:40]!r} is none of the candidates.")
        items.append(
            Item(
                id=f"{task}_{number}",
                video=str(row["video"]),
                question=str(row["question"]),
                answer=letter(options.index(true), options, where),
                options=options,
                group=task,
                span_s=part,
                folder=_FOLDERS.get(task, ""),
            )
        )
    return items


def longvideobench(path: Path, _: Shelf) -> list[Item]:
    """LongVideoBench (arXiv 2407.15754), validation: JSON, `correct_choice` from 0. The test split has no answers."""
    items = []
    for row in rows(read(path), path, "id", "video_path", "question", "candidates", "correct_choice"):
        where = f"{path.name}, question {row['id']}"
        options = options_of(row["candidates"], where)
        items.append(
            Item(
                id=str(row["id"]),
                video=str(row["video_path"]),
                question=str(row["question"]),
                answer=letter(row["correct_choice"], options, where),
                options=options,
                group=f"{row['duration_group']} s" if row.get("duration_group") else "",
            )
        )
    return items


def egoschema(path: Path, shelf: Shelf) -> list[Item]:
    """EgoSchema (arXiv 2308.09126): questions.json, and the 500 public answers of subset_answers.json."""
    found, names = rows(read(path), path, "question"), [f"option {i}" for i in range(5)]
    beside = shelf.annotation("subset_answers.json")
    told = read(beside) if beside is not None else {}
    answers: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    items = []
    for row in found:
        video = str(row.get("q_uid") or row.get("video_idx") or "")
        answer = answers.get(video, row.get("answer"))
        if answer is None:
            continue  # most answers are kept by the authors' server
        where = f"{path.name}, question {video}"
        options = options_of(row.get("option") or [row[name] for name in names if name in row], where)
        true = letter(answer, options, where)
        items.append(Item(f"{video}_{row.get('question_idx', 0)}", video, str(row["question"]), true, options))
    if not items:
        raise BadData(f"No question of {path} has a public answer; put subset_answers.json beside it.")
    return items


def actnet_qa(path: Path, shelf: Shelf) -> list[Item]:
    """ActivityNet-QA (arXiv 1906.02467): questions and answers in two JSON files; open answers of few words."""
    found = rows(read(path), path, "question_id", "question", "video_name")
    beside = path.with_name(path.name.replace("_q.json", "_a.json"))
    other = beside if beside.is_file() and beside != path else shelf.annotation(beside.name)
    if other is None or other == path:
        raise BadData(f"{path} holds questions; their answers, {beside.name}, are not there.")
    answers = {str(row["question_id"]): row for row in rows(read(other), other, "question_id", "answer")}
    items = []
    for row in found:
        its = answers.get(str(row["question_id"]))
        if its is None:
            raise BadData(f"{other} has no answer to question {row['question_id']}.")
        question = str(row["question"]).strip().rstrip("?").strip() + "?"
        kind, video = str(its.get("type", "")), f"v_{row['video_name']}"
        items.append(Item(str(row["question_id"]), video, question, str(its["answer"]), group=_KINDS.get(kind, kind)))
    return items


def _of_address(url: Any) -> str:
    """The id in a video's address."""
    return str(url).partition("v=")[2].partition("&")[0] if url else ""


_KINDS = dict(
    zip("012345678", ("motion", "space", "time", "yes/no", "colour", "object", "place", "number", "other"), strict=True)
)
DATASETS = {
    "nextqa_mc": Dataset(("test.csv", "val.csv", "MC/test-00000-of-00001.parquet"), nextqa_mc),
    "videomme": Dataset(("videomme/test-00000-of-00001.parquet", "videomme.json", "Video-MME.json"), videomme),
    "mvbench": Dataset(tuple(f"{task}.json" for task in _FOLDERS), mvbench, several=True),
    "longvideobench": Dataset(("lvb_val.json", "validation-00000-of-00001.parquet"), longvideobench),
    "egoschema": Dataset(("questions.json", "Subset/test-00000-of-00001.parquet"), egoschema),
    "actnet_qa": Dataset(("test_q.json", "val_q.json"), actnet_qa),
}
