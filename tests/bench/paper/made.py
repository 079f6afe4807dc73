"""Public datasets in miniature: their own files and field names, about films of one colour after another."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import av
import numpy as np

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 40), (30, 40, 220)


def film(
    path: Path, colours: tuple[tuple[int, int, int], ...] = (RED, GREEN, BLUE), each: int = 10, fps: int = 10
) -> Path:
    """`each` frames of every colour; the picture is 64 x 48."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as box:
        stream = box.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 800_000
        for colour in colours:
            for _ in range(each):
                picture = np.full((48, 64, 3), colour, np.uint8)
                box.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        box.mux(stream.encode())
    return path


def store(path: Path, what: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(what))
    return path


def nextqa_mc(folder: Path) -> Path:
    """Four questions on two videos, which lie where map_vid_vidorID.json says."""
    film(folder / "NExTVideo" / "1150" / "4010069381.mp4")
    film(folder / "NExTVideo" / "1150" / "6233408665.mp4", (BLUE, BLUE))
    store(folder / "map_vid_vidorID.json", {"4010069381": "1150/4010069381", "6233408665": "1150/6233408665"})
    rows = [
        (4010069381, 369, 640, 480, "what comes first", 0, 6, "TN", "red", "green", "blue", "grey", 'a dog, "big"'),
        (4010069381, 369, 640, 480, "what comes last?", 2, 7, "TN", "red", "green", "blue", "grey", "white"),
        (6233408665, 100, 640, 480, "how does it stay", 1, 0, "CH", "by itself", "quietly", "fast", "slow", "not"),
        (6233408665, 100, 640, 480, "why is it blue", 4, 1, "CW", "rain", "night", "snow", "hail", "it is the sky"),
    ]
    heads = [
        "video",
        "frame_count",
        "width",
        "height",
        "question",
        "answer",
        "qid",
        "type",
        *(f"a{i}" for i in range(5)),
    ]
    with (folder / "val.csv").open("w", newline="") as file:
        csv.writer(file).writerows([heads, *rows])
    return folder


def videomme(folder: Path, *, nested: bool = False) -> Path:
    film(folder / "data" / "fFjv93ACGo8.mp4")
    video = {
        "video_id": "001",
        "duration": "short",
        "domain": "Knowledge",
        "sub_category": "Humanity & History",
        "url": "https://www.youtube.com/watch?v=fFjv93ACGo8&t=3",
    }
    asked = {
        "question_id": "001-1",
        "task_type": "Counting Problem",
        "question": "How many colours follow each other?",
        "options": ["A. One.", "B. Two.", "C. Three.", "D. Four."],
        "answer": "C",
    }
    if nested:
        store(folder / "videomme.json", [{**video, "questions": [asked]}])
    else:
        store(folder / "videomme.json", [{**video, "videoID": "fFjv93ACGo8", **asked}])
    return folder


def mvbench(folder: Path) -> Path:
    """A task on a part of a video, one on a folder of pictures, and a name that two sources share."""
    film(folder / "video" / "star" / "Charades_v1_480" / "ZS9XR.mp4")
    film(folder / "video" / "clevrer" / "video_validation" / "ZS9XR.mp4", (GREEN,))
    frames = folder / "video" / "tvqa" / "frames_fps3_hq" / "castle_s07e23_seg02_clip_00"
    frames.mkdir(parents=True)
    from PIL import Image

    for number in range(12):
        Image.new("RGB", (64, 48), (RED, GREEN, BLUE)[number // 4]).save(frames / f"{number + 1:05d}.jpg")
    one = {"video": "ZS9XR.mp4", "question": "What happened?", "candidates": ["Red.", "Green.", "Blue."]}
    store(folder / "json" / "action_sequence.json", [{**one, "answer": "Blue.", "start": 2.0, "end": 3.0}])
    store(folder / "json" / "moving_count.json", [{**one, "candidates": ["3", "0", "2"], "answer": "0"}])
    cut = {**one, "video": "castle_s07e23_seg02_clip_00", "answer": "Green.", "start": 1.4, "end": 2.3}
    store(folder / "json" / "episodic_reasoning.json", [cut])
    return folder


def longvideobench(folder: Path) -> Path:
    film(folder / "videos" / "86CxyhFV9MI.mp4")
    one = {
        "video_id": "86CxyhFV9MI",
        "question": "What is on screen at the end?",
        "question_wo_referring_query": "What is on screen?",
        "candidates": ["red", "green", "blue"],
        "correct_choice": 2,
        "position": [10],
        "topic_category": "NP-News-Programs",
        "question_category": "S2E",
        "level": "L1-Perception",
        "id": "86CxyhFV9MI_0",
        "video_path": "86CxyhFV9MI.mp4",
        "subtitle_path": "86CxyhFV9MI_en.json",
        "duration_group": 15,
        "starting_timestamp_for_subtitles": 0,
        "duration": 3.0,
        "view_count": 1,
    }
    store(folder / "lvb_val.json", [one])
    return folder


def egoschema(folder: Path) -> Path:
    """Two questions, one of them with a public answer."""
    uid, other = "0074f737-11cb-497d-8d07-77c3a8127391", "00aa7247-9a4b-4667-8588-37df29d40fe8"
    film(folder / "videos" / f"{uid}.mp4")
    asked = {f"option {i}": f"C did thing {i}." for i in range(5)} | {"question": "What did C do?"}
    store(folder / "questions.json", [{"q_uid": name, "google_drive_id": "x", **asked} for name in (uid, other)])
    store(folder / "subset_answers.json", {uid: 3})
    return folder


def actnet_qa(folder: Path) -> Path:
    film(folder / "all" / "v_1QIUV7WYKXg.mkv")
    asked = {"video_name": "1QIUV7WYKXg"}
    store(
        folder / "val_q.json",
        [
            {**asked, "question": "is the picture ever green", "question_id": "v_1QIUV7WYKXg_3"},
            {**asked, "question": "how many colours are there", "question_id": "v_1QIUV7WYKXg_7"},
        ],
    )
    store(
        folder / "val_a.json",
        [
            {"answer": "yes", "type": 3, "question_id": "v_1QIUV7WYKXg_3"},
            {"answer": "3", "type": 7, "question_id": "v_1QIUV7WYKXg_7"},
        ],
    )
    return folder


MADE = {
    "nextqa_mc": nextqa_mc,
    "videomme": videomme,
    "mvbench": mvbench,
    "longvideobench": longvideobench,
    "egoschema": egoschema,
    "actnet_qa": actnet_qa,
}
