"""What a run that is gone on with knows already: outcomes by stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench._results import ResultLines
from bench.watch.scoring import Answered
from bench.watch.standing import Visit
from bench.watch.watching import Kept, Outcome


class Results:
    """Outcomes by unit; each is on disk as soon as it is known."""

    def __init__(self, path: Path, what: Mapping[str, Any]) -> None:
        """`what`: plan and model, as JSON can hold them. Raises `OtherPlan` with a sentence."""
        self._lines = ResultLines(path, what)
        self.outcomes = {outcome.unit: outcome for outcome in map(_outcome, self._lines.known)}

    def add(self, outcome: Outcome) -> None:
        """One stream more."""
        self._lines.add(asdict(outcome))
        self.outcomes[outcome.unit] = outcome


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
