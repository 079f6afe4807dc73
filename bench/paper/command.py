"""Public video questions with a checkpoint and one reducer, beside the figures of the papers.

    python run_stream.py bench paper --dataset nextqa_mc --data DIR --model PATH
        [--reducer NAME] [--rows 32] [--frames 32] [--limit N] [--out FILE.json]

DIR is the dataset as its authors publish it: annotation files and videos, in any folders below. Frames are evenly
spaced, the first and the last among them; they are reduced once, and the rows stand where the checkpoint's own video
prompt has the video. `--reducer none` gives it every token: the figure to compare with. Nothing is downloaded.

A run that was stopped goes on where it was: answers are beside FILE.json, in FILE.jsonl. `--limit` takes questions at
even distances through the file, and a later run with a higher one adds to them. Subtitles are not used.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench._results import OtherPlan
from bench.paper.datasets import DATASETS, question_of
from bench.paper.film import Unreadable
from bench.paper.items import BadData, Item
from bench.paper.judging import is_exact, is_right
from bench.paper.report import lines, numbers
from bench.paper.resume import Answered, Answers
from bench.paper.shelf import Shelf
from bench.paper.viewer import NAMES, Look, TooLong, Viewer
from bench.watch.progress import Progress
from models.backbone import Backbone
from models.checkpoint import Checkpoint, open_checkpoint
from models.place import place, use_threads
from stream.cli.console import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LETTER_TOKENS, WORD_TOKENS = 16, 24  # the most said in answer to a choice, and to an open question


def main(argv: Sequence[str], say: Callable[[str], None]) -> int:
    """Ask what was not asked before, then print the table and write the numbers. Raises `Trouble`."""
    found = _parse(argv)
    try:
        return _run(found, say)
    except OtherPlan as other:
        raise Trouble(str(other), 2) from other
    except (BadData, TooLong) as error:
        raise Trouble(str(error)) from error
    except OSError as error:
        raise Trouble(f"{error.filename or found.out}: {error.strerror or error}") from error


def _run(found: argparse.Namespace, say: Callable[[str], None]) -> int:
    shelf = Shelf(found.data, *([found.videos] if found.videos else []))
    tables = tables_of(found.dataset, found.annotations, shelf)
    items = chosen([item for path in tables for item in DATASETS[found.dataset].read(path, shelf)], found.limit)
    checkpoint, viewer = _viewer(found)
    out = found.out or Path("runs/paper") / f"{found.dataset}-{found.reducer}-{found.rows}-of-{found.frames}.json"
    what: dict[str, Any] = {
        "dataset": found.dataset,
        "annotations": sorted(path.name for path in tables),
        "reducer": found.reducer,
        "rows": found.rows,
        "frames": found.frames,
        "model": checkpoint.model_id,
        "fingerprint": Backbone(checkpoint).fingerprint(),
    }
    answers = Answers(out.with_suffix(".jsonl"), what)
    measure(items, shelf, viewer, answers, Progress(say, sys.stderr))
    answered = [answers.known[item.id] for item in items]
    name = f"{found.reducer}, {found.frames} frames"
    for line in lines(found.dataset, name, checkpoint.model_id, answered):
        say(line)
    out.write_text(json.dumps({**what, **numbers(answered)}, indent=2, allow_nan=False) + "\n", "utf-8")
    return 0 if any(not one.why for one in answered) else 1


def _viewer(found: argparse.Namespace) -> tuple[Checkpoint, Viewer]:
    try:
        device, dtype = place(found.device, found.dtype)
        checkpoint = open_checkpoint(found.model, device, dtype)
        use_threads(checkpoint.model)
        return checkpoint, Viewer(checkpoint, found.reducer, found.rows, found.frames)
    except ValueError as error:
        raise Trouble(str(error)) from error


def tables_of(dataset: str, given: Path | None, shelf: Shelf) -> list[Path]:
    """The files with the questions. Raises `BadData` where there is none."""
    if given is not None:
        return [given]
    wanted = DATASETS[dataset]
    found = [path for path in map(shelf.annotation, wanted.files) if path is not None]
    if not found:
        raise BadData(f"No annotations of {dataset} are there: {' or '.join(wanted.files[:3])}; or give --annotations.")
    return found if wanted.several else found[:1]


def chosen(items: Sequence[Item], limit: int | None) -> list[Item]:
    """At most `limit`, at even distances, each id once, by video: a film is seen once for all its questions."""
    if len({item.id for item in items}) < len(items):
        items = list({item.id: item for item in items}.values())
    count = min(limit or len(items), len(items))
    taken = [items[number * len(items) // count] for number in range(count)]
    return sorted(taken, key=_film)


def measure(items: Iterable[Item], shelf: Shelf, viewer: Viewer, answers: Answers, progress: Progress) -> None:
    """Every question that has no answer yet; what cannot be asked is noted with the reason."""
    films = [list(same) for _, same in groupby(items, _film)]
    for number, asks in enumerate(films):
        todo = [item for item in asks if not answers.asked(item.id)]
        if not todo:
            progress.known(number + 1, len(films), asks[0].video)
            continue
        progress.begin(number + 1, len(films), asks[0].video, len(todo))
        started = time.perf_counter()
        seen = _see(todo[0], shelf, viewer)
        for item in todo:
            answers.add(_unasked(item, seen) if isinstance(seen, str) else _ask(item, seen, viewer))
        progress.done(time.perf_counter() - started)


def _see(item: Item, shelf: Shelf, viewer: Viewer) -> Look | str:
    """The film, or why not."""
    try:
        film = shelf.film(item)
        return f"there is no video {item.video}" if film is None else viewer.look(film, item.span_s)
    except (BadData, Unreadable) as error:
        return str(error)


def _ask(item: Item, seen: Look, viewer: Viewer) -> Answered:
    said = viewer.ask(seen, question_of(item), LETTER_TOKENS if item.options else WORD_TOKENS)
    right, understood = is_right(item, said.text)
    return Answered(
        **_named(item),
        said=said.text,
        right=right,
        exact=is_exact(item, said.text),
        understood=understood,
        tokens=len(seen.rows),
        patches=seen.patches,
        frames=seen.frames,
        vision_ms=seen.vision_ms,
        reduce_ms=seen.reduce_ms,
        first_ms=said.first_ms,
        total_ms=said.total_ms,
    )


def _unasked(item: Item, why: str) -> Answered:
    return Answered(**_named(item), why=why)


def _named(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "video": item.video,
        "group": item.group,
        "answer": item.answer,
        "choices": len(item.options),
    }


def _film(item: Item) -> tuple[str, str, tuple[float, float]]:
    return item.folder, item.video, item.span_s or (-1.0, -1.0)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count from 1 on")
    return int(text)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run_stream.py bench paper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=tuple(DATASETS), required=True)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the dataset's folder")
    parser.add_argument("--videos", type=Path, metavar="DIR", help="where its videos are, if not below --data")
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="the file with the questions, if several fit")
    parser.add_argument("--model", default="bundled", metavar="PATH", help="folder, hub id or bundled (the default)")
    parser.add_argument("--reducer", choices=NAMES, default="token_dynamics")
    parser.add_argument("--rows", type=int, default=32, help="rows of a video, at most; default 32")
    parser.add_argument("--frames", type=int, default=32, help="frames of a video; default 32, at most 64")
    parser.add_argument("--limit", type=_count, metavar="N", help="only N questions")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="default: below runs/paper")
    return parser.parse_args(argv)
