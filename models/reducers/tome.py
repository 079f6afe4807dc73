"""Tokens of a whole clip, merged where they are alike until few enough rows are left.

Source: ToMe (arXiv 2210.09461). Published as a way to have fewer tokens from layer to layer of a vision tower, which is
`models/vision/merging.py`; here the same merging goes on after the tower, over all frames of a clip at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.reducers.clip import Clip, Reduced
from models.reducers.matching import Order, at_most, match

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Pile:
    """Rows that are merged on and on, each known by its place: the flat index of the token that received the rest."""

    embeds: Tensor  # (n, D) means of the tokens in a row
    mass: Tensor  # (n,) how many they are
    places: Tensor  # (n,) int64

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Its three columns."""
        return self.embeds, self.mass, self.places

    def merged(self, r: int, order: Order = "place") -> tuple[Pile, Tensor]:
        """The `r` best pairs as one row each, and (2, r) places: of rows that are gone, and of those they went into."""
        if r < 1:
            return self, self.places.new_empty(2, 0)
        matching = match(self.embeds[None], r, order=order)
        embeds, mass = matching.merge(self.embeds[None], self.mass[None])
        gone = self.places[torch.cat([matching.sources, matching.receivers])]
        return Pile(embeds[0], mass[0], self.places[matching.stay[0]]), gone

    def thinned(self, rows: int, order: Order = "place") -> tuple[Pile, list[Tensor]]:
        """At most `rows` (1 or more): the tokens halve in each round, and the last round takes what is still too much.

        Also what each round has merged, as in `merged`.
        """
        pile, gone = self, list[torch.Tensor]()
        while (count := len(pile.embeds)) > rows:
            pile, pairs = pile.merged(min(at_most(count), count - rows), order)
            gone.append(pairs)
        return pile, gone

    def told(self, tokens: int, gone: Sequence[Tensor]) -> Reduced:
        """What became of all `tokens` of a clip, by all that was merged on the way to this pile."""
        into = torch.arange(tokens)
        if gone:
            places, receivers = torch.cat(list(gone), dim=1)  # a token goes once
            into[places] = receivers
        while not torch.equal(further := into[into], into):  # a receiver may have gone later
            into = further
        row = torch.empty(tokens, dtype=torch.int64)
        row[self.places] = torch.arange(len(self.places))
        return Reduced(self.embeds, row[into], self.places)


def pile_of(tokens: Tensor, first: int = 0) -> Pile:
    """(n, D) tokens as they are, the first of them at the flat index `first`."""
    tokens = tokens.contiguous()  # the last bit of a product may depend on how rows lie in memory
    return Pile(tokens, torch.ones(len(tokens)), torch.arange(first, first + len(tokens)))


@dataclass(frozen=True, slots=True)
class ToMe:
    """Exactly the rows asked for, down to 1, or all tokens there are; a round merges at most half of them.

    All frames are matched at once, in the order of time and raster, so that a thing may merge with itself in any other
    frame. Later rounds match the means. Published are one round per layer of a tower, keys as what is compared, and an
    order of rows by how alike they were; `as_published` has this order, in the result and between the rounds (which
    changes who meets whom). Otherwise rows stand by place.
    """

    as_published: bool = False

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """At most `rows` means; no token is dropped."""
        pile, gone = pile_of(clip.flat).thinned(rows, "alike" if self.as_published else "place")
        return pile.told(len(clip.flat), gone)
