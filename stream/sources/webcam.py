"""Cameras plugged into this machine, through the system's own interface."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

from stream.clock import Clock
from stream.sources.errors import SourceError
from stream.sources.live import LiveSource
from stream.sources.reader import Recipe

_DEVICE = re.compile(r"(?:webcam:(?://)?)?(?:/dev/video)?(\d{1,3})")


class WebcamSource(LiveSource):
    """`webcam:0` or `/dev/video0`. Unplugged and plugged in again, it comes back as a network camera does."""

    def __init__(
        self,
        device: str,
        clock: Clock,
        *,
        fps: float = 2.0,
        connect_s: float = 10.0,
        stall_s: float = 10.0,
        longest_side: int = 1280,
        name: str = "",
        rng: random.Random | None = None,
    ) -> None:
        found = _DEVICE.fullmatch(device.strip())
        if not found:
            raise SourceError("A webcam is named webcam:0, webcam:1 ... or /dev/video0.")
        number = int(found[1])
        url, form, shown = _place(number)
        recipe = Recipe(url, shown, format=form, open_s=connect_s, fps=fps, longest_side=longest_side, kind="live")
        super().__init__(recipe, clock, name=name, stall_s=stall_s, rng=rng)

    def _check(self) -> None:
        if self.recipe.format == "v4l2" and not Path(self.recipe.url).exists():
            others = sorted(str(path) for path in Path("/dev").glob("video*"))
            there = ", ".join(others) if others else "none"
            raise SourceError(f"There is no camera at {self.recipe.url}; this machine has: {there}.", "not_found")


def _place(number: int) -> tuple[str, str, str]:
    """(what libav opens, in which format, name for people) on this system."""
    if sys.platform == "darwin":
        return str(number), "avfoundation", f"webcam {number}"
    if sys.platform == "win32":
        return f"video=@device_{number}", "dshow", f"webcam {number}"
    return f"/dev/video{number}", "v4l2", f"/dev/video{number}"
