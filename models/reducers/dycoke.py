"""DyCoke's temporal stage, made causal: of each frame, what changed at its place since it was last kept.

Source: DyCoke (arXiv 2411.15024), section on token temporal merging, which drops and never averages. The first of
every few frames, an anchor, stays whole; of the others stay the tokens least like the one before at their place.
What the released code does otherwise is in `dycoke_published.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cosine_similarity

from models.reducers import dycoke_published as published
from models.reducers.clip import DROPPED, Clip, Reduced, kept

if TYPE_CHECKING:
    from torch import Tensor

NEVER = -2.0  # below every cosine


@dataclass(frozen=True, slots=True)
class Plan:
    """How many tokens go on: `anchor` of the first of `window` frames, `others` of each other frame on average."""

    window: int
    anchor: int
    others: float
    cut_below: float  # a frame whose mean is less like that of the frame before starts a scene, and is an anchor


class Thinning:
    """One frame at a time. State: the tokens last kept (N, D), the mean of the frame before (D,), two counters."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._last: Tensor | None = None
        self._mean: Tensor | None = None
        self._age = 0  # frames since the anchor
        self._thinned = 0  # frames that were no anchor

    def see(self, frame: Tensor) -> Tensor:
        """Cells of a frame (N, D) that are kept, ascending. Decided now, never changed."""
        mean = frame.mean(0)
        if self._mean is None or self._age >= self._plan.window or _cut(self._mean, mean, self._plan.cut_below):
            self._last, self._age = None, 0
        self._age += 1
        self._mean = mean
        if self._last is None:
            # Later frames are compared with all of the anchor: where its own token was left out, a neighbour said it.
            self._last = frame.clone()
            return _least_alike(_with_neighbour(frame), self._plan.anchor)
        chosen = _least_alike(cosine_similarity(self._last, frame, dim=1), self._due())
        self._last[chosen] = frame[chosen]
        return chosen

    def _due(self) -> int:
        """Fractions of a token are carried over to the next frame; a millionth forgives 0.1 * 20 = 1.9999."""
        before = int(self._thinned * self._plan.others + 1e-6)
        self._thinned += 1
        return int(self._thinned * self._plan.others + 1e-6) - before


@dataclass(frozen=True, slots=True)
class DyCoke:
    """Drop what is as it was.

    Differs from the released code: a token is compared with the last *kept* one at its place, so that slow drift is
    noticed; every frame counts, one to four and odd ones too; the order is raster; a scene cut makes an anchor.
    `as_published` brings all that back, with the rows in the order of the released code.
    `cut_below`, a cosine of means of frames: 0.94 and more within a scene, 0.16 and less at the cuts, of the synthetic
    reference videos; 0.95 and more within a stream for the bundled tower. Towers whose tokens all point one way want it
    higher; a cut that goes unnoticed costs rows until the next anchor, no more.
    """

    window: int = 4
    ratio: float = 0.7  # share of a thinned frame that goes; ours goes by `rows` and so far with the short window
    cut_below: float = 0.5
    as_published: bool = False

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """At most `rows` tokens as they are.

        The drop ratio follows from `rows` as far as `ratio` (47.5 % of a long clip at 0.7). Below, where whole anchors
        would leave little for what changes (at 25 %, the method's floor, nothing), windows grow until anchors take no
        more than half of the rows, which is their part at the published ratio. Where one anchor per scene is still
        too much, it is thinned to half of the rows by the same rule along the raster: tokens least like the neighbour
        before them stay. Where even scenes are more than rows, cuts are ignored.
        As published: the ratio is `ratio`, or more where `rows` asks for it. Raises ValueError for four frames or
        fewer, and below the floor.
        """
        if self.as_published:
            return self._published(clip, rows)
        embeds = clip.embeds.contiguous()
        thinning = Thinning(self.plan(embeds, rows))
        return kept(clip, torch.cat([thinning.see(frame) + t * embeds.shape[1] for t, frame in enumerate(embeds)]))

    def plan(self, embeds: Tensor, rows: int) -> Plan:
        """What keeps at most `rows` of (T, N, D)."""
        frames, cells = embeds.shape[:2]
        scenes, cut_below = _scenes(embeds, self.cut_below), self.cut_below
        if len(scenes) > rows:
            scenes, cut_below = [frames], NEVER
        for window in range(self.window, max(self.window, *scenes) + 1):
            anchors = sum(-(-length // window) for length in scenes)
            left = rows - anchors * cells
            least = (1 - self.ratio) * cells * (frames - anchors) - 1e-6 if window == self.window else anchors * cells
            if left >= least:
                return Plan(window, cells, _each(left, frames - anchors, cells), cut_below)
        others = frames - len(scenes)
        anchor = min(cells, max(1, rows // len(scenes) // (2 if others else 1)))
        return Plan(frames, anchor, _each(rows - anchor * len(scenes), others, cells), cut_below)

    def _published(self, clip: Clip, rows: int) -> Reduced:
        frames, cells = clip.embeds.shape[:2]
        thinned = len(published.thinned_frames(frames))
        room = rows - (frames - frames % 2 - thinned) * cells
        if room < 0:
            raise ValueError(f"DyCoke as published cannot say {frames} frames of {cells} tokens in {rows} rows.")
        keep = min(published.keep_count(self.ratio, cells), room // thinned)
        sources = published.as_published(clip.embeds, keep)
        owners = torch.full((frames * cells,), DROPPED, device=sources.device)
        owners[sources] = torch.arange(len(sources), device=sources.device)
        return Reduced(clip.flat[sources], owners, sources)


def _each(tokens: int, frames: int, most: int) -> float:
    return min(most, tokens / frames) if frames else 0.0


def _cut(before: Tensor, now: Tensor, below: float) -> bool:
    return float(cosine_similarity(before, now, dim=0)) < below


def _scenes(embeds: Tensor, cut_below: float) -> list[int]:
    """Frames in each scene of (T, N, D)."""
    means = [frame.mean(0) for frame in embeds]  # one by one, to round as `Thinning` does
    starts = [t for t in range(1, len(means)) if _cut(means[t - 1], means[t], cut_below)]
    return [to - start for start, to in pairwise([0, *starts, len(means)])]


def _with_neighbour(frame: Tensor) -> Tensor:
    """(N,) cosine of each token with the one before it in raster order; the first is like none."""
    first = torch.full((1,), NEVER, dtype=frame.dtype, device=frame.device)
    return torch.cat([first, cosine_similarity(frame[:-1], frame[1:], dim=1)])


def _least_alike(alike: Tensor, count: int) -> Tensor:
    """Indices of the `count` smallest, ascending; the lower index where two are equal."""
    return alike.argsort(stable=True)[:count].sort().values
