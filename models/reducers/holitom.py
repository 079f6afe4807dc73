"""HoliTom between projector and language model: one copy of what stays as it is, and of what changes the most salient.

Source: HoliTom (arXiv 2505.21334). Stretches of time are chosen so that one copy of each static cell saves the most
(`models/reducers/segmentation.py`). The static cells of a stretch are averaged over it and merged around their density
peaks; of the other tokens of each frame those with the highest attention stay. Its merging within the language model
is in `models/inner/holitom.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.reducers import density_peaks
from models.reducers.clip import DROPPED, Clip, Reduced
from models.reducers.holitom_parts import STEP, Part, at_least, parts, published_rows, retained, shared_rows
from models.reducers.segmentation import LONGEST, Stretch, best_stretches, likeness, stretches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    Found = tuple[Tensor, Tensor, Tensor]  # rows (k, D); the token whose place each keeps (k,); labels (n,) or DROPPED


@dataclass(frozen=True, slots=True)
class HoliTom:
    """Static cells are merged over time, then in the picture; what changes is pruned by attention (`Clip.attention`).

    The ratio that the paper gives follows from `rows`: it rises until all rows are taken, so that each part has the
    published share of them. Every static part and every frame that changes has at least one. Where rows are too few for
    that, the changing tokens of a stretch are pruned as one part, over its frames; where they still are, `tau` goes
    down by .15, as between the published settings (.80, and .65 for few rows), until all is static if need be.
    Time is cut frame after frame (`Segmenter`), with the result of the batch form up to `lag` frames.

    Differs from the released code: densities have no random noise; their neighbours are not fewer where centres are
    (with one centre all densities were the same); rows come by place; no static part is rounded away to nothing; one
    frame is enough, and `clustered` above 0 works. `as_published` has it as released, but for the noise: static rows of
    a stretch first, then frame by frame.
    """

    tau: float = 0.8  # cosine above which a cell is alike from frame to frame; published 0.65 for 10 % of the tokens
    clustered: float = 0.0  # of a frame's rows, the share that are clusters of what attention leaves ("D")
    neighbours: int = 7  # of a density, itself included ("K")
    beta: float | None = 0.6  # of a centre in its row; None: the mean
    spatial_weight: float = 0.0  # distance of two neighbouring cells, added to that of their tokens; see `distances`
    lag: int = 64  # frames
    longest: int = LONGEST  # frames of a stretch
    as_published: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError with a sentence for what the released code cannot do either."""
        if self.as_published and self.clustered:
            raise ValueError(f"HoliTom as published has no clusters of changing tokens (clustered={self.clustered:g}).")

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """At most `rows` rows. As published: raises ValueError where that takes more rows, or more than one frame.

        As published the ratio is `rows` over all tokens, or the next lower one whose rounding gives no more rows.
        """
        if not self.as_published:
            found = self._fitting(clip, rows)
            return self._rows(clip, found, shared_rows(found, rows)).in_order()
        total = len(clip.flat)
        for asked in range(min(rows, total), 0, -1):
            found, counts = self._published(clip, asked / total)
            if 0 < sum(counts) <= rows:
                return self._rows(clip, found, counts)
        raise ValueError(f"HoliTom as published cannot have {rows} rows of these {len(clip.embeds)} frames.")

    def at_ratio(self, clip: Clip, ratio: float) -> Reduced:
        """The published form at a published ratio, whatever rows that takes. Raises ValueError for a single frame."""
        return self._rows(clip, *self._published(clip, ratio))

    def _published(self, clip: Clip, ratio: float) -> tuple[list[Part], list[int]]:
        """Parts and their rows."""
        frames, cells = clip.embeds.shape[:2]
        if frames == 1:
            raise ValueError("HoliTom as published needs two frames or more.")
        found = best_stretches(likeness(clip.embeds) > self.tau, self.longest)
        left = retained(ratio, frames * cells, sum(one.saved for one in found))
        whole = parts(found)
        return whole, published_rows(whole, left)

    def _fitting(self, clip: Clip, rows: int) -> list[Part]:
        """Parts, at most as many as rows: of the highest `tau` that allows it."""
        alike, tau = likeness(clip.embeds), self.tau
        while tau > -1 - STEP:
            still = alike > tau
            if at_least(still) <= rows:
                found = stretches(still, self.lag, self.longest)
                for joint in (False, True):
                    if len(whole := parts(found, joint=joint)) <= rows:
                        return whole
            tau -= STEP
        everything = torch.ones(clip.embeds.shape[1], dtype=torch.bool)
        return parts([Stretch(0, len(clip.embeds) - 1, everything)])

    def _rows(self, clip: Clip, found: Sequence[Part], counts: Sequence[int]) -> Reduced:
        """So many rows of each part, one part after the other."""
        frames, cells = clip.embeds.shape[:2]
        owners = torch.full((frames, cells), DROPPED, dtype=torch.int64, device=clip.embeds.device)
        embeds, sources, made = [], [], 0
        attention = clip.attention()
        for part, count in zip(found, counts, strict=True):
            if count:
                rows, kept, labels = self._of(clip, attention, part, count)
                at = part.cells.to(owners.device)
                mine = torch.where(labels >= 0, labels + made, DROPPED).view(-1, len(at))  # of one frame, or of each
                owners[part.first : part.last + 1, at] = mine.expand(part.frames, -1)
                embeds.append(rows)
                sources.append((part.first + kept // len(at)) * cells + at[kept % len(at)])
                made += count
        none = clip.embeds.new_zeros(0, clip.embeds.shape[2])
        return Reduced(torch.cat([none, *embeds]), owners.view(-1), torch.cat([owners.new_zeros(0), *sources]))

    def _of(self, clip: Clip, attention: Tensor, part: Part, count: int) -> Found:
        """`count` rows of a part."""
        span, cells = slice(part.first, part.last + 1), part.cells.to(clip.embeds.device)
        tokens = clip.embeds[span][:, cells].contiguous()
        if part.static:
            return self._around_peaks(tokens.mean(0), part.places(clip.grid[1], over_time=False), count)
        clusters = int(count * self.clustered)
        flat = tokens.flatten(0, 1)
        ranks = attention[span][:, cells].reshape(-1).argsort(descending=True, stable=True)
        kept, rest = ranks[: count - clusters].sort().values, ranks[count - clusters :].sort().values
        labels = torch.full_like(ranks, DROPPED).scatter_(0, kept, torch.arange(len(kept), device=ranks.device))
        if not clusters:
            return flat[kept], kept, labels
        places = part.places(clip.grid[1], over_time=True).to(rest.device)[rest]
        rows, centres, joined = self._around_peaks(flat[rest], places, clusters)
        labels[rest] = joined + len(kept)
        return torch.cat([flat[kept], rows]), torch.cat([kept, rest[centres]]), labels

    def _around_peaks(self, tokens: Tensor, places: Tensor, count: int) -> Found:
        """(n, D) merged into `count` rows around density peaks, by the place of the peaks."""
        far = density_peaks.distances(tokens[None], places.to(tokens.device), self.spatial_weight)
        neighbours = min(self.neighbours, count) if self.as_published else self.neighbours
        centres = density_peaks.peaks(far, neighbours).centres(count).sort(1).values
        labels = density_peaks.nearest_centre(far, centres)
        return density_peaks.merge(tokens[None], centres, labels, self.beta)[0], centres[0], labels[0]
