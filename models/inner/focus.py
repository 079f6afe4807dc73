"""What one question looks at, layer by layer. Memory's shared rows are read by it and never written.

A row's id is its place among all that the question could look at: the shared rows, then those of its own prompt. What
is said later has no id; it is always looked at. Where a layer looks at fewer rows, these are gathered once into private
tensors, so that it really reads less; rows of the prompt that leave are not computed any further.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from models.inner.dycoke import Choice
from models.inner.holitom import groups, means, nearest_kept
from models.inner.method import head_mean
from models.inner.working import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from models.attention import Tail
    from models.inner.holitom import Groups
    from models.inner.method import Inner
    from models.inner.registry import Methods
    from models.inner.working import Cut, Part
    from models.kv.render import Rendered


class Focus:
    """One question's. Made when it is read; `settle` ends the reading, and saying begins."""

    def __init__(
        self, methods: Methods, shared: Rendered, seen: Tensor, words: int, angles: tuple[Tensor, Tensor]
    ) -> None:
        """`seen` (ids,) bool: what was seen; `words`: rows of the question; `angles` of shared rows."""
        self.shared = shared
        self.front = shared.tokens
        self.seen = seen.to(shared.keys.device)
        self.layers = len(shared.keys)
        self.words = words
        self.attended = [0] * self.layers  # keys that the newest pass looked at, by layer
        self._angles = angles
        self._inner: Inner | None = methods.inner
        self._stages = () if methods.inner is None else methods.inner.after(self.layers)
        self._held: list[Tensor | None] = [None] * self.layers  # ids, ascending; None: all
        self._own: dict[int, Part] = {}  # shared rows of `_held`, by layer
        self._groups: Groups | None = None
        self._stay: tuple[Tensor, Tensor] | None = None  # chosen in the layer just passed: rows that stay, rows seen
        self._saying = False
        self._choice = None if methods.decode is None else Choice(methods.decode)
        self._from = None if methods.decode is None else methods.decode.after(self.layers)
        self._active: Tensor | None = None  # (ids,) bool: what deeper layers look at while saying
        self._working: dict[int, tuple[Cut, Part]] = {}  # which of a layer's rows these are, and the rows

    def parts(self, layer: int, tail: Part) -> list[Part]:
        """What a layer looks at: the tail's part holds what it has of the prompt, and what was said."""
        found = self._fewer(layer, tail) or ([self._shared(layer)] if self.front else []) + [tail]
        self.attended[layer] = sum(keys.shape[1] for keys, _ in found)
        return found

    def note(self, layer: int, query: Tensor, parts: Sequence[Part], scale: float, shares: Tensor | None) -> None:
        """A layer is passed: choose, where it is one that chooses. Rotated queries (heads, n, d).

        `shares` (keys,): attention of the rows that are watched, which is the newest row alone while saying.
        """
        if not self._saying and self._inner is not None and layer in self._stages:
            self._choose(self._inner, layer, query, parts, scale)
        elif self._saying and self._choice is not None and layer == self._from and shares is not None:
            self._follow(self._choice, layer, shares)

    def cut(self, hidden: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows (n, D) after a layer -> those that go on, and which (n,) bool they are; None: all."""
        chosen, self._stay = self._stay, None
        if chosen is None:
            return hidden, None
        stay, seen = chosen
        if self._inner is not None and self._inner.merges:
            hidden = _merged(hidden, stay, seen)
        return hidden[stay], stay

    def spread(self, layer: int, shares: Tensor, total: int) -> Tensor:
        """Attention on what a layer looked at -> on all keys in reach (total,); rows not looked at get none."""
        if len(shares) == total:
            return shares
        ids = self._working[layer][0].ids if layer in self._working else self._ids(layer)
        whole = shares.new_zeros(total)
        whole[ids] = shares[: len(ids)]
        whole[len(self.seen) :] = shares[len(ids) :]
        return whole

    def settle(self, tail: Tail) -> None:
        """The question is read: all layers after the first stage, and that one, hold what the last stage left."""
        self._saying = True
        last = self._held[-1]
        if last is None or self._inner is None or not self._inner.words:
            return
        for layer in range(self._stages[0], self.layers):
            ids = self._ids(layer)
            if len(ids) == len(last):
                continue
            tail.keep(layer, torch.isin(ids[ids >= self.front], last))
            self._held[layer] = last
            self._own.pop(layer, None)

    def _ids(self, layer: int) -> Tensor:
        held = self._held[layer]
        return torch.arange(len(self.seen), device=self.seen.device) if held is None else held

    def _shared(self, layer: int) -> Part:
        """What a layer holds of the shared rows: by reference, or gathered once."""
        held = self._held[layer]
        if held is None:
            return self.shared.layer(layer)
        if layer not in self._own:
            kept = held[held < self.front]
            keys, values = self.shared.layer(layer)
            if self._groups is not None:
                self._own[layer] = self._groups.merged(keys, values)
            elif len(kept) < self.front:
                self._own[layer] = keys[:, kept], values[:, kept]
            else:
                self._own[layer] = keys, values
        return self._own[layer]

    def _fewer(self, layer: int, tail: Part) -> list[Part] | None:
        """While saying, deeper than where attention is followed: the rows in focus, then what was said."""
        if self._active is None or self._from is None or layer <= self._from:
            return None
        if layer not in self._working:
            self._working[layer] = self._gathered(layer, self._active, tail)
        chosen, working = self._working[layer]
        return [working, (tail[0][:, chosen.rows :], tail[1][:, chosen.rows :])]

    def _gathered(self, layer: int, active: Tensor, tail: Part) -> tuple[Cut, Part]:
        above = self._working.get(layer - 1)
        same = above is not None and self._held[layer] is self._held[layer - 1]
        chosen = above[0] if above is not None and same else cut(self._ids(layer), active, self.front)
        return chosen, chosen.gather(self._shared(layer), tail)

    def _choose(self, inner: Inner, layer: int, query: Tensor, parts: Sequence[Part], scale: float) -> None:
        """While reading: which seen rows deeper layers look at."""
        ids = self._ids(layer)
        where = self.seen[ids].nonzero()[:, 0]
        noticed = head_mean(query, parts, scale, self.words if inner.words else 1)[:, where]
        kept = inner.keep(noticed, int(self.seen.sum()))
        stay = ~self.seen[ids]
        stay[where[kept]] = True
        if inner.merges:
            self._keep_a_target(stay, ids, where, noticed)
        if bool(stay.all()):
            return
        left = ids[stay]
        for deeper in range(layer + 1, self.layers):
            self._held[deeper] = left
        mine = ids >= self.front
        self._stay = stay[mine], self.seen[ids[mine]]
        if inner.merges:
            self._groups = self._grouped(layer + 1, ids, stay)

    def _keep_a_target(self, stay: Tensor, ids: Tensor, where: Tensor, noticed: Tensor) -> None:
        """Rows of memory merge among themselves, and so do those just read: each side keeps one to merge into."""
        for side in (ids[where] < self.front, ids[where] >= self.front):
            if bool(side.any()) and not bool(stay[where][side].any()):
                best = noticed[-1].masked_fill(~side, -1.0).argmax()
                stay[where[best]] = True

    def _grouped(self, layer: int, ids: Tensor, stay: Tensor) -> Groups | None:
        mine = ids < self.front
        kept, gone = ids[mine & stay], ids[mine & ~stay]
        if not len(gone):
            return None
        return groups(self.shared.values[layer], kept, kept[self.seen[kept]], gone, self._angles)

    def _follow(self, choice: Choice, layer: int, shares: Tensor) -> None:
        """While saying: has attention moved?"""
        ids = self._ids(layer)
        where = self.seen[ids].nonzero()[:, 0]
        if not len(where):
            return
        rows = choice.step(shares[where])
        if not choice.moved:
            return
        self._working.clear()
        self._active = None
        if rows is not None:
            self._active = ~self.seen
            self._active[ids[where[rows]]] = True


def _merged(hidden: Tensor, stay: Tensor, seen: Tensor) -> Tensor:
    """Rows just read: each that leaves goes into the most similar seen one that stays; (n, D), in place of that one."""
    kept, gone = (stay & seen).nonzero()[:, 0], (~stay).nonzero()[:, 0]
    if not len(gone):
        return hidden
    into = nearest_kept(hidden, kept, gone)
    return hidden.index_copy(0, kept, means(hidden[kept], hidden[gone], into))
