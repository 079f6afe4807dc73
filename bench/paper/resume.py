"""What a run that is gone on with knows already: answers by question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench._results import ResultLines


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
        self._lines = ResultLines(path, what)
        self.known = {one["id"]: Answered(**one) for one in self._lines.known if one.keys() == _FIELDS}

    def add(self, one: Answered) -> None:
        """One answer more."""
        self._lines.add(asdict(one))
        self.known[one.id] = one

    def asked(self, item_id: str) -> bool:
        """Whether there is an answer; a question that could not be asked is tried again."""
        return item_id in self.known and not self.known[item_id].why
