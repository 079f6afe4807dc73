"""Histories made by hand, and everything that is ever asked about one."""

from __future__ import annotations

import numpy as np

from stream.sources.simulated.history import History, Run, Sample, Track
from stream.sources.simulated.kinds import Colour, Kind
from stream.sources.simulated.quiz import Item, ask
from stream.sources.simulated.wording import UNSEEN


def track(kind: Kind, colour: Colour, times: tuple[float, float], xs: tuple[float, float], shown: float = 1.0) -> Track:
    """Walks from the first x to the second at an even pace, looked at twice a second."""
    start, end = times
    n = int((end - start) * 2)
    vx = (xs[1] - xs[0]) / (end - start)
    u = [k / max(n, 1) for k in range(n + 1)]
    return Track(
        kind, colour, tuple(Sample(start + k / 2, xs[0] + v * (xs[1] - xs[0]), 0.5, vx, shown) for k, v in enumerate(u))
    )


def history(*tracks: Track, end_s: float = 60.0) -> History:
    return History((Run(0.0, end_s, 0.5, tracks),))


def everything(h: History, kind: str, tries: int = 60) -> list[Item]:
    """All that is ever asked of a kind."""
    found = [i for k in range(tries) for i in ask(h, np.random.default_rng(k), 4, (kind,))]
    return list({i.text: i for i in found}.values())


def answers(h: History, kind: str) -> dict[str, str]:
    """Those about what was there."""
    return {i.text: i.answer for i in everything(h, kind) if i.answer != UNSEEN}


def unseen(h: History, kind: str) -> set[tuple[str, str | None]]:
    """What it names of all that was not there."""
    return {name for i in everything(h, kind) for name in i.named if i.answer == UNSEEN}
