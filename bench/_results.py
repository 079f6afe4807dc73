"""Results on disk: one line of JSON each, after a first line that says what they are of.

A bench that is ended goes on from them; one that measures something else is told so instead of mixing the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class OtherPlan(ValueError):
    """The file holds results of something else."""


class ResultLines:
    """A file of results; each is on disk as soon as it is added."""

    def __init__(self, path: Path, what: Mapping[str, Any]) -> None:
        """`what`: plan and model, as JSON can hold them. Raises `OtherPlan` with a sentence."""
        self.path = path
        self.known: list[dict[str, Any]] = []  # what was there already, oldest first
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        whole = [line for line in map(_parsed, lines) if line is not None]
        if not whole:
            self._write([dict(what)])
            return
        _compare(path, whole[0], json.loads(json.dumps(dict(what))))  # as it would come back: lists for tuples
        if len(whole) < len(lines):  # the last run was ended while it wrote
            self._write(whole)
        self.known = whole[1:]

    def add(self, line: Mapping[str, Any]) -> None:
        """One more."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(line)) + "\n")

    def _write(self, lines: list[dict[str, Any]]) -> None:
        self.path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _compare(path: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    old, new = _flat(theirs), _flat(ours)
    apart = sorted(
        f"{name} {old.get(name)!r}, now {new.get(name)!r}"
        for name in old.keys() | new.keys()
        if old.get(name) != new.get(name)
    )
    if apart:
        raise OtherPlan(
            f"{path} holds results of another measurement ({'; '.join(apart)}); "
            "give another --out, or remove that file to start afresh."
        )


def _flat(what: Mapping[str, Any]) -> dict[str, Any]:
    """One level of parts taken apart, so that what differs is named, not the part that holds it."""
    flat: dict[str, Any] = {}
    for name, part in what.items():
        flat |= part if isinstance(part, dict) else {name: part}
    return flat
