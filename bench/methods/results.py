"""What a run that is gone on with knows already: trials by stream and setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench._results import ResultLines
from bench.methods.trial import Trial, as_trial


class Results:
    """Trials by stream and setting; each is on disk as soon as it is known. More methods may be added later."""

    def __init__(self, path: Path, what: Mapping[str, Any]) -> None:
        """`what`: plan and model, as JSON can hold them. Raises `OtherPlan` with a sentence."""
        self._lines = ResultLines(path, what)
        self.trials = {(trial.unit, trial.name): trial for trial in map(as_trial, self._lines.known)}

    def add(self, trial: Trial) -> None:
        """One more."""
        self._lines.add(asdict(trial))
        self.trials[trial.unit, trial.name] = trial
