"""Results on disk: one line of JSON per stream and setting, after a first line that says what they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.methods.trial import Trial, as_trial


class OtherPlan(ValueError):
    """The file holds results of something else."""


class Results:
    """Trials by stream and setting; each is on disk as soon as it is known. More methods may be added later."""

    def __init__(self, path: Path, what: Mapping[str, Any]) -> None:
        """`what`: plan and model, as JSON can hold them. Raises `OtherPlan` with a sentence."""
        self._path = path
        self.trials: dict[tuple[str, str], Trial] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        if not lines:
            path.write_text(json.dumps(what) + "\n", "utf-8")
            return
        theirs = json.loads(lines[0])
        apart = [
            f"{k} {theirs.get(k)!r}, now {what.get(k)!r}" for k in what.keys() | theirs if theirs.get(k) != what.get(k)
        ]
        if apart:
            raise OtherPlan(
                f"{path} holds results of another measurement ({'; '.join(sorted(apart))}); give --out another "
                "folder, or remove that file to start afresh."
            )
        whole = [line for line in lines[1:] if _is_whole(line)]
        if len(whole) < len(lines) - 1:  # the last run was ended while it wrote
            path.write_text("\n".join([lines[0], *whole]) + "\n", "utf-8")
        for trial in (as_trial(json.loads(line)) for line in whole):
            self.trials[trial.unit, trial.name] = trial

    def add(self, trial: Trial) -> None:
        """One more."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(trial)) + "\n")
        self.trials[trial.unit, trial.name] = trial


def _is_whole(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False
