"""A stage of training by the clock: how far it is, what it measured on the way, and what a killed run goes on from.

Every few minutes the stage's state (weights, optimiser, random state) is written beside the checkpoint under another
name and moved into place, so a kill at any moment loses minutes, never the run. Numbers go to `curves.jsonl`;
`models/training/curves.py` draws them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_BAR = 24  # characters
_SAY_S = 20.0
_NOTE_S = 10.0


def narrow(device: torch.device) -> torch.autocast:
    """Half the numbers' width where that is faster and safe: bfloat16 on a GPU, nothing elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


class Course:
    """One stage. `spent` counts the minutes of all runs that went into it."""

    def __init__(
        self, folder: Path, name: str, minutes: float, say: Callable[[str], None], save_every_minutes: float = 5.0
    ) -> None:
        self.folder, self.name, self.minutes = folder, name, minutes
        self.step = 0
        self._say, self._every_s = say, save_every_minutes * 60
        self._before = 0.0  # minutes of earlier runs
        self._began = self._saved = time.monotonic()
        self._said = self._noted = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def spent(self) -> float:
        """Minutes of training so far."""
        return self._before + (time.monotonic() - self._began) / 60

    @property
    def part(self) -> float:
        """Share of the stage that is over, 0..1."""
        return min(1.0, self.spent / self.minutes) if self.minutes > 0 else 1.0

    @property
    def over(self) -> bool:
        """Is the time used up?"""
        return self.spent >= self.minutes

    @property
    def due(self) -> bool:
        """Is it time to keep the state?"""
        return time.monotonic() - self._saved > self._every_s

    @property
    def telling(self) -> bool:
        """Would `note` write or say anything now?"""
        now = time.monotonic()
        return now - self._noted > _NOTE_S or now - self._said > _SAY_S

    def resume(self) -> dict[str, Any] | None:
        """What the last run kept, if it was killed or ended early; our own working file, never a stranger's."""
        if not self._path.is_file():
            return None
        state: dict[str, Any] = torch.load(self._path, weights_only=False)
        self.step, self._before = int(state["step"]), float(state["minutes"])
        self._say(f"{self.name}: goes on after {self._before:.1f} minutes, step {self.step}")
        return state

    def begin(self) -> None:
        """What had to be prepared is ready: only from here on it counts."""
        self._began = self._saved = time.monotonic()

    def keep(self, state: dict[str, Any]) -> None:
        """Write the state, whole or not at all."""
        self._saved = time.monotonic()
        beside = self._path.with_suffix(".new")
        torch.save(state | {"step": self.step, "minutes": self.spent}, beside)
        beside.replace(self._path)

    def note(self, numbers: dict[str, float], *, always: bool = False) -> None:
        """One step was made: now and then, its numbers go to the curves and a line with the progress to people."""
        now = time.monotonic()
        if always or now - self._noted > _NOTE_S:
            self._noted = now
            line = {"stage": self.name, "minutes": round(self.spent, 3), "step": self.step, **numbers}
            with (self.folder / "curves.jsonl").open("a") as curves:
                curves.write(json.dumps(line) + "\n")
        if always or now - self._said > _SAY_S:
            self._said = now
            told = "  ".join(f"{name} {value:.3f}" for name, value in numbers.items())
            self._say(f"{self.name} {self._bar()} {self.spent:.1f} of {self.minutes:g} min  step {self.step}  {told}")

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.name}.state.pt"

    def _bar(self) -> str:
        full = int(self.part * _BAR)
        return "[" + "#" * full + "." * (_BAR - full) + "]"
