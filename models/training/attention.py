"""Attention over packed histories: every question sees the context and itself, never the others.

A mask over the whole sequence would cost far more work: context rows see no question. So the context attends causally
to itself, and the questions, all together, to the context and to their own rows. Registered with transformers by name,
as `models/attention.py` is. One head of a layer can be noted for chosen rows (`models/training/pointing.py`).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        hidden = hidden or [[[] for _ in found[1:]] for found in bounds]
        self.masks = [_mask(*its) for its in zip(contexts, bounds, hidden, strict=True)]


@dataclass(slots=True, eq=False)
class Note:
    """The attention of one head of one layer at chosen rows: asked for before a pass, filled in by it."""

    layer: int
    head: int
    at: Tensor  # (m, 2) batch and row
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


def _mask(context: int, bounds: list[int], hidden: list[list[range]]) -> Tensor:
    """(questions' rows, all rows) bool: the context in reach, and what came before in the same question."""
    rows = bounds[-1] - context
    owner = torch.zeros(rows, dtype=torch.long)
    for start in bounds[:-1]:
        owner[start - context :] += 1
    own = (owner[:, None] == owner[None, :]) & torch.ones(rows, rows, dtype=torch.bool).tril()
    before = torch.ones(rows, context, dtype=torch.bool)
    for start, end, out in zip(bounds, bounds[1:], hidden, strict=False):
        for gone in out:
            before[start - context : end - context, gone.start : gone.stop] = False
    return torch.cat([before, own], 1)


def _packed_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """The function transformers calls: (B, heads, S, d) in, (B, S, heads, d) out; padding comes out as zeros."""
    tails: Tails = kwargs["tails"]
    notes: tuple[Note, ...] = kwargs.get("notes", ())
    scale = float(kwargs["scaling"])
    groups = query.shape[1] // key.shape[1]
    # Parts are split off, never sliced: backwards, each slice would fill a tensor of the whole size.
    queries = query.unbind(0)
    keys, values = key.repeat_interleave(groups, 1).unbind(0), value.repeat_interleave(groups, 1).unbind(0)
    whole = [_attend(q, k, v, tails, b, scale) for b, (q, k, v) in enumerate(zip(queries, keys, values, strict=True))]
    for note in notes:
        if note.layer == module.layer_idx and len(note.at):
            note.log_shares = _log_shares(queries, keys, tails, note, scale)
    return torch.stack(whole).transpose(1, 2), None


def _attend(query: Tensor, key: Tensor, value: Tensor, tails: Tails, batch: int, scale: float) -> Tensor:
    """(heads, S, d) of one history to the same."""
    context, length = tails.contexts[batch], tails.lengths[batch]
    parts = [context, length - context, query.shape[1] - length]
    (q, asked, _), (k, k_asked, _), (v, v_asked, _) = (x[None].split(parts, 2) for x in (query, key, value))
    seen = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    k, v, mask = torch.cat([k, k_asked], 2), torch.cat([v, v_asked], 2), tails.masks[batch].to(q.device)
    found = scaled_dot_product_attention(asked, k, v, attn_mask=mask, scale=scale)
    return torch.nn.functional.pad(torch.cat([seen, found], 2)[0], (0, 0, 0, parts[2]))


def _log_shares(queries: Sequence[Tensor], keys: Sequence[Tensor], tails: Tails, note: Note, scale: float) -> Tensor:
    """(m, S) log attention of the noted head at the noted rows, all of which belong to questions."""
    found, order = [], []
    for batch, (query, key) in enumerate(zip(queries, keys, strict=True)):
        mine = (note.at[:, 0] == batch).nonzero()[:, 0]
        rows = note.at[mine, 1]
        seen = tails.masks[batch][rows - tails.contexts[batch]].to(query.device)
        scores = query[note.head][rows.to(query.device)] @ key[note.head].T * scale
        hidden = torch.nn.functional.pad(~seen, (0, scores.shape[1] - seen.shape[1]), value=True)
        found.append(scores.masked_fill(hidden, float("-inf")))
        order.append(mine)
    back = torch.cat(order).argsort().to(queries[0].device)
    return torch.cat(found)[back].log_softmax(1)


AttentionInterface.register(NAME, _packed_attention)
