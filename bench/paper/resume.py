"""Answers on disk: one line of JSON each, after a first line that says what they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench.watch.resume import OtherPlan


@dataclass(frozen=True, slots=True)
class Answered:
    """One question and what became of it."""

    id: str
    video: str
    group: str
    answer: str
    choices: int  # options there were; 0: an open question
    why: str = ""  # a sentence, where it could not be asked; then nothing below means anything
    said: str = ""
    right: bool = False
    exact: bool = False
    understood: bool = True
    tokens: int = 0  # visual tokens given to the language model
    patches: int = 0  # before reduction
    frames: int = 0
    vision_ms: float = 0.0  # once per video; decoding, tower, projector
    reduce_ms: float = 0.0  # once per video
    first_ms: float = 0.0
    total_ms: float = 0.0


_FIELDS = {field.name for field in fields(Answered)}


class Answers:
    """By question; each is on disk as soon as it is known. Of two lines about one question the later counts."""

    def __init__(self, path: Path, what: Mapping[str, Any]) -> None:
        """`what`: settings, as JSON can hold them. Raises `OtherPlan` with a sentence."""
        self._path = path
        self.known: dict[str, Answered] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        found = [one for one in map(_parsed, lines) if one is not None]
        if not found:
            path.write_text(json.dumps(dict(what)) + "\n", "utf-8")
            return
        apart = [
            f"{name} {found[0].get(name)!r}, now {value!r}"
            for name, value in what.items()
            if found[0].get(name) != value
        ]
        if apart:
            raise OtherPlan(
                f"{path} holds answers of another measurement ({'; '.join(apart)}); give --out another file, or remove "
                "that one to start afresh."
            )
        if len(found) < len(lines):  # the last run was ended while it wrote
            path.write_text("".join(json.dumps(one) + "\n" for one in found), "utf-8")
        for one in found[1:]:
            if one.keys() == _FIELDS:
                self.known[one["id"]] = Answered(**one)

    def add(self, one: Answered) -> None:
        """One answer more."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(one)) + "\n")
        self.known[one.id] = one

    def asked(self, item_id: str) -> bool:
        """Whether there is an answer; a question that could not be asked is tried again."""
        return item_id in self.known and not self.known[item_id].why


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
