"""Attention over packed histories: every question sees the context and itself, never the others.

On a processor, a mask over the whole sequence would cost far more work, for context rows see no question: the context
attends causally to itself, and the questions, all together, to the context and to their own rows, one history after the
other. On a GPU the work is nothing and starting it is what takes long: there one masked call does a whole batch. Both
are registered with transformers by one name, as `models/attention.py` is. One head of a layer can be noted for chosen
rows (`models/training/pointing.py`).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

NAME = "longwatch_packed"


class Tails:
    """Who sees whom in a padded batch: per history the context's length and where each question begins and ends."""

    def __init__(
        self, contexts: list[int], bounds: list[list[int]], hidden: list[list[list[range]]] | None = None
    ) -> None:
        """`bounds[b]`: first row of each question of history b, then its end; `hidden[b]`: what each does not see."""
        self.contexts = contexts
        self.lengths = [found[-1] for found in bounds]
        longest, most = max(self.lengths), max(map(len, bounds))
        # (B, S): 0 the context, then the questions from 1 on; -1 padding. (B, questions + 1, S): what each cannot see.
        self._group = torch.full((len(bounds), longest), -1)
        self._gone = torch.zeros(len(bounds), most, longest, dtype=torch.bool)
        for b, found in enumerate(bounds):
            self._group[b, : contexts[b]] = 0
            for i, (start, end) in enumerate(pairwise(found), start=1):
                self._group[b, start:end] = i
                for out in hidden[b][i - 1] if hidden else ():
                    self._gone[b, i, out.start : out.stop] = True
        self._device = torch.device("cpu")
        self._whole: Tensor | None = None
        self._each: dict[int, Tensor] = {}

    def to(self, device: torch.device) -> Tails:
        """The same, told where it is used."""
        self._device = device
        self._group, self._gone = self._group.to(device), self._gone.to(device)
        return self

    @property
    def at_once(self) -> bool:
        """Is a whole batch read by one masked call?"""
        return self._device.type != "cpu"

    @property
    def whole(self) -> Tensor:
        """(B, S, S) bool: who (first) sees whom. Padding sees padding, so that no row sees nothing."""
        if self._whole is None:
            batch, longest = self._group.shape
            every = torch.arange(longest, device=self._device).expand(batch, longest)
            self._whole = self._seen(slice(None), every)
        return self._whole

    def of(self, batch: int) -> Tensor:
        """(questions' rows, all rows) bool of one history."""
        if batch not in self._each:
            rows = torch.arange(self.contexts[batch], self.lengths[batch])
            self._each[batch] = self._seen(slice(batch, batch + 1), rows[None])[0, :, : self.lengths[batch]]
        return self._each[batch]

    def at(self, batch: Tensor, rows: Tensor) -> Tensor:
        """(m, S) bool of chosen rows, each of a batch of its own."""
        return self._seen(batch, rows[:, None])[:, 0]

    def _seen(self, batch: slice | Tensor, rows: Tensor) -> Tensor:
        """(b, r) rows of those histories to (b, r, S)."""
        group, gone = self._group[batch], self._gone[batch]
        mine = group.gather(1, rows)
        hidden = gone.gather(1, mine.clamp_min(0)[:, :, None].expand(-1, -1, gone.shape[2]))
        context = (group == 0)[:, None] & ~hidden & (mine >= 0)[:, :, None]
        before = torch.arange(group.shape[1], device=rows.device) <= rows[:, :, None]
        seen: Tensor = ((mine[:, :, None] == group[:, None]) | context) & before
        return seen


@dataclass(slots=True, eq=False)
class Note:
    """The attention of one head of one layer at chosen rows: asked for before a pass, filled in by it."""

    layer: int
    head: int
    at: Tensor  # (m, 2) batch, ascending, and row
    most: int  # rows of any one batch
    log_shares: Tensor | None = None  # (m, S) log of a distribution over the rows that may be seen


@contextmanager
def packed_attention(language_model: Any) -> Iterator[None]:
    """Inside, the language model takes `tails` (and `notes`) and reads packed histories."""
    config = language_model.config
    usual = config._attn_implementation  # noqa: SLF001  transformers has no public getter for it
    config._attn_implementation = NAME  # noqa: SLF001
    try:
        yield
    finally:
        config._attn_implementation = usual  # noqa: SLF001


def _packed_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """The function transformers calls: (B, heads, S, d) in, (B, S, heads, d) out; padding comes out as zeros."""
    tails: Tails = kwargs["tails"]
    notes: tuple[Note, ...] = kwargs.get("notes", ())
    scale = float(kwargs["scaling"])
    groups = query.shape[1] // key.shape[1]
    keys, values = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    if tails.at_once:
        whole = scaled_dot_product_attention(query, keys, values, attn_mask=tails.whole[:, None], scale=scale)
    else:
        # Parts are split off, never sliced: backwards, each slice would fill a tensor of the whole size.
        parts = zip(query.unbind(0), keys.unbind(0), values.unbind(0), strict=True)
        whole = torch.stack([_attend(q, k, v, tails, b, scale) for b, (q, k, v) in enumerate(parts)])
    for note in notes:
        if note.layer == module.layer_idx and len(note.at):
            note.log_shares = _log_shares(query[:, note.head], keys[:, note.head], tails, note, scale)
    return whole.transpose(1, 2), None


def _attend(query: Tensor, key: Tensor, value: Tensor, tails: Tails, batch: int, scale: float) -> Tensor:
    """(heads, S, d) of one history to the same."""
    context, length = tails.contexts[batch], tails.lengths[batch]
    parts = [context, length - context, query.shape[1] - length]
    (q, asked, _), (k, k_asked, _), (v, v_asked, _) = (x[None].split(parts, 2) for x in (query, key, value))
    seen = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    k, v = torch.cat([k, k_asked], 2), torch.cat([v, v_asked], 2)
    found = scaled_dot_product_attention(asked, k, v, attn_mask=tails.of(batch), scale=scale)
    return torch.nn.functional.pad(torch.cat([seen, found], 2)[0], (0, 0, 0, parts[2]))


def _log_shares(query: Tensor, key: Tensor, tails: Tails, note: Note, scale: float) -> Tensor:
    """(m, S) log attention at the noted rows by one head's (B, S, d) queries and keys."""
    batch, rows = note.at.unbind(1)
    # One product per history, its rows padded to as many as any has: m copies of all keys would be far larger.
    counts = torch.bincount(batch, minlength=len(query))
    place = torch.arange(len(batch), device=batch.device) - (counts.cumsum(0) - counts)[batch]
    padded = query.new_zeros(len(query), int(note.most), query.shape[2])
    padded = padded.index_put((batch, place), query[batch, rows])
    scores = (padded @ key.transpose(1, 2) * scale)[batch, place]
    return scores.float().masked_fill(~tails.at(batch, rows), float("-inf")).log_softmax(1)


AttentionInterface.register(NAME, _packed_attention)
