"""One question of a public dataset, and how annotation files are read."""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 1 << 30  # of an annotation file; the largest of these datasets has some tens of MiB
LETTERS = "ABCDEFGHIJ"


class BadData(ValueError):
    """Annotations that are not in the dataset's format, in a sentence."""


@dataclass(frozen=True, slots=True)
class Item:
    """A question about a video. With `options` the answer is a letter, without it is words."""

    id: str
    video: str  # as the dataset names it: an id, or a path below some folder
    question: str
    answer: str
    options: tuple[str, ...] = ()
    group: str = ""  # what the dataset breaks its figures down by
    span_s: tuple[float, float] | None = None  # the part of the video that is meant
    folder: str = ""  # where the dataset keeps such videos; decides between files of one name


def read(path: Path) -> Any:
    """What an annotation file holds; tables are lists of dicts. Raises `BadData` with a sentence."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadData(f"{path} is larger than 1 GiB; that is no annotation file.")
        if path.suffix == ".parquet":
            return _parquet(path)
        text = path.read_text("utf-8-sig")
        if path.suffix in {".csv", ".tsv"}:
            mark = "\t" if path.suffix == ".tsv" else ","
            return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=mark))
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        return json.loads(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, csv.Error, RecursionError) as error:
        raise BadData(f"{path} cannot be read: {str(error)[:200]}.") from error


def _parquet(path: Path) -> list[dict[str, Any]]:
    try:
        arrow = importlib.import_module("pyarrow")  # an extra of whoever has such files
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise BadData(
            f"{path} is a Parquet file, and pyarrow is not installed: pip install 'longwatch[paper]', or give "
            "--annotations the same rows as .json (a list of objects), .jsonl or .csv."
        ) from error
    try:
        found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise BadData(f"{path} cannot be read: {str(error)[:200]}.") from error
    return found


def rows(found: Any, path: Path, *needed: str) -> list[Mapping[str, Any]]:
    """A list of objects that all have these fields. Raises `BadData` naming the first that has not."""
    if not isinstance(found, list) or not found:
        raise BadData(f"{path} should hold a list of questions, and there is none.")
    for number, row in enumerate(found):
        absent = [name for name in needed if not isinstance(row, Mapping) or row.get(name) is None]
        if absent:
            raise BadData(f"{path}, question {number}: there is no {', '.join(absent)}.")
    return found


def letter(value: Any, options: Sequence[str], where: str) -> str:
    """The letter of the true option, given as a letter, a number from 0, or the option's words."""
    told = str(value).strip()
    if told.isdigit() and int(told) < len(options):
        return LETTERS[int(told)]
    if len(told) == 1 and told.upper() in LETTERS[: len(options)]:
        return told.upper()
    if told in options:
        return LETTERS[options.index(told)]
    raise BadData(f"{where}: the answer {told[:40]!r} is none of the {len(options)} options.")


def options_of(value: Any, where: str) -> tuple[str, ...]:
    """Options as words, without the `A. ` that some datasets write before them."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not 2 <= len(value) <= len(LETTERS):
        raise BadData(f"{where}: there should be 2 to {len(LETTERS)} options.")
    told = [str(one).strip() for one in value]
    marked = all(one[:2] in {f"{mark}.", f"{mark})", f"{mark}:"} for one, mark in zip(told, LETTERS, strict=False))
    return tuple(one[2:].strip() if marked else one for one in told)


def seconds(value: Any) -> float | None:
    """A time, where there is one."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) and found >= 0 else None
