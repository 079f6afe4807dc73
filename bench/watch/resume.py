"""Results on disk: one line of JSON per stream, after a first line that says what they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.watch.scoring import Answered
from bench.watch.standing import Visit
from bench.watch.watching import Kept, Outcome


class OtherPlan(ValueError):
    """The file holds results of something else."""


class Results:
    """Outcomes by unit; each is on disk as soon as it is known."""

    def __init__(self, path: Path, what: Mapping[str, Any]) -> None:
        """`what`: plan and model, as JSON can hold them. Raises `OtherPlan` with a sentence."""
        self._path = path
        self.outcomes: dict[str, Outcome] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        if not lines:
            path.write_text(json.dumps(what) + "\n", "utf-8")
            return
        _compare(path, json.loads(lines[0]), what)
        whole = [line for line in lines[1:] if _is_whole(line)]
        if len(whole) < len(lines) - 1:  # the last run was ended while it wrote
            path.write_text("\n".join([lines[0], *whole]) + "\n", "utf-8")
        for line in whole:
            outcome = _outcome(json.loads(line))
            self.outcomes[outcome.unit] = outcome

    def add(self, outcome: Outcome) -> None:
        """One stream more."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")
        self.outcomes[outcome.unit] = outcome


def _compare(path: Path, theirs: Any, ours: Mapping[str, Any]) -> None:
    flat = {k: v for part in ours.values() for k, v in (part.items() if isinstance(part, dict) else ())}
    old = {k: v for part in theirs.values() for k, v in (part.items() if isinstance(part, dict) else ())}
    apart = [f"{k} {old.get(k)!r}, now {v!r}" for k, v in flat.items() if old.get(k) != v]
    if apart or theirs.keys() != ours.keys():
        raise OtherPlan(
            f"{path} holds results of another measurement ({'; '.join(apart) or 'of an older version'}); "
            "give --out another folder, or remove that file to start afresh."
        )


def _is_whole(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


def _outcome(found: dict[str, Any]) -> Outcome:
    return Outcome(
        **{
            **found,
            "answered": [Answered(**one) for one in found["answered"]],
            "kept": Kept(**found["kept"]),
            "standing": {g: [Visit(**v) for v in visits] for g, visits in found["standing"].items()},
            "at_once": (found["at_once"][0], found["at_once"][1]),
        }
    )
