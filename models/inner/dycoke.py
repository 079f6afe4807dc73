"""DyCoke's pruning while an answer is said (arXiv 2411.15024): look at few seen rows until attention moves.

In our own words: at each word, the newest row's attention on seen rows, mean over heads, in the last complete layer is
compared with that of the word before. Where their cosine is below `similar` (the first word counts as 0), the most
attended `1 - pruned` are chosen anew, and deeper layers look at these and at all words. What is set aside stays where
it is and can come back at any later word.

`as_published=True`: where attention has not moved, the published code does not re-use its choice but looks at
everything. Published: L = 3 of 28 layers (here: the same share of any other depth), `pruned` 0.7 in paper and readme
(0.8 in the code), `similar` 0.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn.functional import cosine_similarity

from models.inner.method import complete, most_attended

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class DyCoke:
    """`pruned`: share of seen rows set aside after `depth` (share of layers)."""

    pruned: float = 0.7
    similar: float = 0.9
    depth: float = 3 / 28
    as_published: bool = False

    def after(self, layers: int) -> int | None:
        """The layer whose attention chooses; None in a model of one layer."""
        done = complete(self.depth, layers)
        return done - 1 if done else None

    def most(self, rows: int) -> int:
        """Of so many seen rows, how many are looked at; one at least. Cut in floating point, as published."""
        return max(min(rows, 1), int(rows * (1 - self.pruned)))


class Choice:
    """What one answer looks at as it goes on."""

    def __init__(self, method: DyCoke) -> None:
        self.method = method
        self.rows: Tensor | None = None  # (F,) ascending; None: all
        self.similarity = 0.0  # of the last word's attention to that of the word before
        self.moved = False  # was the choice made anew, or given up, at the last word?
        self._before: Tensor | None = None

    def step(self, attention: Tensor) -> Tensor | None:
        """Attention (V,) of the newest word -> indices to look at, ascending, or None for all."""
        before, self._before = self._before, attention
        self.similarity = 0.0 if before is None else float(cosine_similarity(attention, before, 0))
        had = self.rows
        if self.similarity < self.method.similar:
            self.rows = most_attended(attention, self.method.most(len(attention)))
        elif self.method.as_published:
            self.rows = None
        self.moved = self.rows is not had
        return self.rows
