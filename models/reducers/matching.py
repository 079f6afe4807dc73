"""Bipartite soft matching: which tokens are so alike that one row may stand for several.

Source: ToMe (arXiv 2210.09461), section 3. The form in which any number of leading tokens takes no part is TempMe's
(arXiv 2409.01156). Tokens stand alternately on two sides, so that no search among all pairs and no iteration is needed:
those at even positions may go, those at odd positions receive. Each that may go looks for the receiver with the most
similar metric (cosine), and the `r` best of these pairs become one row each; a receiver may take several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

Order = Literal["place", "sides", "alike"]
LARGEST_SCORES = 1 << 24  # cosines held at once, per batch row: 64 MiB


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """Who goes into whom: positions among t tokens, for each row of a batch."""

    sources: Tensor  # (B, r) int64: these go, the most alike first
    receivers: Tensor  # (B, r) int64: into these
    stay: Tensor  # (B, t - r) int64: the position that each row of the result keeps

    @property
    def owners(self) -> Tensor:
        """(B, t) int64: the row of the result that a token is in."""
        batch, rows = self.stay.shape
        found = self.stay.new_empty(batch, rows + self.sources.shape[1])
        found.scatter_(1, self.stay, torch.arange(rows, device=found.device).expand(batch, rows))
        return found.scatter(1, self.sources, found.gather(1, self.receivers))

    def merge(self, x: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
        """(B, t, D) tokens that stand for (B, t) others to (B, t - r, D) weighted means and the sums of their mass."""
        if not self.sources.shape[1]:
            return pick(x, self.stay), mass.gather(1, self.stay)
        weight = mass[..., None]
        found = self.sum(torch.cat([x * weight, weight], dim=2))
        return found[..., :-1] / found[..., -1:], found[..., -1]

    def sum(self, x: Tensor) -> Tensor:
        """(B, t, D) to (B, t - r, D) sums of what is in one row."""
        rows = self.owners.gather(1, self.sources)
        total, gone = pick(x, self.stay), pick(x, self.sources)
        if x.is_cpu:
            return total.scatter_add_(1, rows[..., None].expand_as(gone), gone)
        return add_in_order(total, gone, rows)  # on an accelerator, additions to one place race each other

    def spread(self, rows: Tensor) -> Tensor:
        """(B, t - r, D) to (B, t, D): every token gets the row that it is in."""
        return pick(rows, self.owners)


def match(metric: Tensor, r: int, *, fixed: int = 0, order: Order = "place") -> Matching:
    """The `r` most alike pairs among (B, t, d); the first `fixed` tokens neither go nor receive.

    Never more than may go (about half; see `at_most`), and none where none receives. Ties go to the earlier position.

    `order` of the rows that stay: "place": by position. "sides": the fixed ones, those that could have gone, the
    receivers, each by position; so published for TempMe, and for ToMe with a class token. "alike": as "sides", but of
    those that could have gone the most alike come first; so published for ToMe without one, and places are lost.
    """
    batch, tokens = metric.shape[:2]
    side = torch.arange(fixed, tokens, device=metric.device)
    may_go, may_receive = side[fixed % 2 :: 2], side[1 - fixed % 2 :: 2]
    r = max(0, min(r, len(may_go) if len(may_receive) else 0))
    if not r:  # as published too, nothing moves then
        none = side.new_empty(batch, 0)
        return Matching(none, none, torch.arange(tokens, device=side.device).expand(batch, -1))
    units = normalize(metric, dim=2)
    best, partner = _most_alike(units[:, may_go], units[:, may_receive])
    ranked = best.argsort(dim=1, descending=True, stable=True)
    goes, remains = ranked[:, :r], may_go[ranked[:, r:]]
    if order != "alike":
        remains = remains.sort(dim=1).values
    parts = [torch.arange(fixed, device=side.device).expand(batch, -1), remains, may_receive.expand(batch, -1)]
    stay = torch.cat(parts, dim=1)
    return Matching(
        sources=may_go[goes],
        receivers=may_receive[partner.gather(1, goes)],
        stay=stay.sort(dim=1).values if order == "place" else stay,
    )


def match_every(metric: Tensor, k: int, *, as_published: bool = False) -> Matching:
    """ToMe's other form: every k-th of (B, t, d) receives, and all others go into the receiver most like them.

    As published, tokens beyond a multiple of k are lost, and the matching is one of the first `t // k * k` only. Here
    they go into a receiver like all others; fewer than k tokens stay as they are.
    """
    batch, tokens = metric.shape[:2]
    within = tokens // k * k if as_published else tokens
    place = torch.arange(within, device=metric.device)
    receives = (place % k == k - 1) if tokens >= k else torch.ones_like(place, dtype=torch.bool)
    may_go, stay = place[~receives], place[receives]
    units = normalize(metric, dim=2)
    _, partner = _most_alike(units[:, may_go], units[:, stay])
    return Matching(may_go.expand(batch, -1), stay[partner], stay.expand(batch, -1))


def at_most(tokens: int, fixed: int = 0) -> int:
    """ToMe's limit of one round: half of the tokens that take part."""
    return max(0, (tokens - fixed) // 2)


def removals(r: int | Sequence[int], layers: int, inflection: float = 0.0) -> list[int]:
    """How many tokens each of a tower's layers merges.

    A number is the mean of a straight line that `inflection` tilts: -1 merges twice as many at first and none at the
    end, 0 the same everywhere, 1 the other way round. A sequence is taken as it is, and padded with zeros.
    """
    if not isinstance(r, int):
        return [*r, *[0] * (layers - len(r))]
    first = int(r * (1 - inflection))
    step = (2 * r - 2 * first) / max(1, layers - 1)
    return [int(first + step * layer) for layer in range(layers)]


def pick(x: Tensor, at: Tensor) -> Tensor:
    """(B, t, D) at positions (B, n): (B, n, D)."""
    return x.gather(1, at[..., None].expand(-1, -1, x.shape[2]))


def add_in_order(total: Tensor, gone: Tensor, rows: Tensor) -> Tensor:
    """(B, n, D) plus (B, r, D) at rows (B, r), as a product with zeros and ones: the same bits every time."""
    into = rows[:, None] == torch.arange(total.shape[1], device=rows.device)[:, None]
    return total + into.to(total.dtype) @ gone


def _most_alike(sources: Tensor, receivers: Tensor) -> tuple[Tensor, Tensor]:
    """(B, a, d) and (B, b, d) unit vectors to the best cosine of each source, (B, a), and whose it is, (B, a)."""
    if not receivers.shape[1]:
        return sources.new_zeros(sources.shape[:2]), sources.new_zeros(sources.shape[:2], dtype=torch.int64)
    at_once = max(1, LARGEST_SCORES // receivers.shape[1])
    parts = [(part @ receivers.mT).max(dim=2) for part in sources.split(at_once, dim=1)]
    return torch.cat([part.values for part in parts], dim=1), torch.cat([part.indices for part in parts], dim=1)
