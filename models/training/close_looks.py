"""Close looks: one block alone and what it shows, or does not.

Who is asked when something was last there reads, of the many blocks that may show it, one after the other by itself
(`models/kv/closer.py`); "not seen" is then the answer of most. Histories teach that little: something like the thing
asked for stands beside it there, and hardly ever alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.training.histories import History, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.training.lessons import Item, Teacher
    from models.training.tokens import RunTokens

ASKED = 5  # times as many questions as are taken
OFTENER = {"when": 3.0, "seen": 2.0, "past_where": 2.0}  # the kinds to which a block alone may be shown
ABSENT = 3.0  # times as often, what the block does not show
_DAY_S = 86_400


def look_closer(runs: list[RunTokens], teacher: Teacher, rng: np.random.Generator, questions: int) -> History | None:
    """One block of one run, and questions about it when it is long over. None where nothing was asked."""
    run = runs[int(rng.integers(len(runs)))]
    if not run.segments:
        return None
    rows = run.segments[int(rng.integers(len(run.segments)))]
    wall_s = float(rng.integers(0, _DAY_S))
    span_s = rows.span_s[0], min(rows.span_s[1], run.seconds)
    asked = teacher.ask_later(run.truth, span_s, int(rng.integers(1 << 31)), ASKED * questions, wall_s)
    items = _some(asked, questions, rng)
    if not items:
        return None
    everything = [frozenset({0})] * len(items)
    return History([Seen(rows.span_s, rows)], span_s[1], wall_s, [], items, everything, [""] * len(items))


def _some(items: Sequence[Item], most: int, rng: np.random.Generator) -> list[Item]:
    share = np.array([OFTENER.get(item.kind, 1.0) * (1.0 if item.there else ABSENT) for item in items])
    count = min(most, len(items))
    return [items[int(i)] for i in rng.choice(len(items), count, replace=False, p=share / share.sum())] if count else []
