"""B-VLLM: frames that say the same become one, then each frame's tokens are merged to a budget (arXiv 2412.09919).

In the original a trained query transformer reads the question and picks frames, softly and with noise; that part acts
when a question is there and stands here without training as `frames_for`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from models.reducers.clip import DROPPED, Clip, Reduced, merged
from models.reducers.matching import at_most, match

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class BVllm:
    """Frames alike are averaged; the rows are shared evenly among those left, each merged down to its share in rounds.

    What a frame is compared by, a row of frame selection, comes from trained queries in the original. Here each frame
    is its own query: its row is the softmax over frames of the cosine of frame means, divided by `temperature`. So
    `threshold` (published) asks whether two frames look at the same stretch of the clip.

    At most `frames` frames are left, the published number of queries, and never more than there are rows; where the
    threshold leaves more, those most like an earlier one go. Where it leaves so few that all their tokens would not
    fill the rows, those least like an earlier one stay. One row is the mean of all tokens.

    `as_published`: see `distinct` and `in_rounds`: frames whose partner went too are lost, rows are no true means, and
    rows may stay unfilled. The default loses nothing, and every row is the mean of the tokens that are in it.
    """

    threshold: float = 0.75
    frames: int = 16
    temperature: float = 0.1  # as in the paper; 0.5 in the published code
    as_published: bool = False

    def reduce(self, clip: Clip, rows: int) -> Reduced:
        """At most `rows` rows."""
        embeds = clip.embeds.contiguous()
        frames, cells = embeds.shape[:2]
        summaries = embeds.mean(1, dtype=torch.float64)  # frames of one scene differ by less than float32 can tell
        selector = selection(summaries, summaries, self.temperature)
        most = min(self.frames, rows)
        fewest = 1 if self.as_published else min(-(-rows // cells), most)
        found = distinct(selector, self.threshold, fewest, most, as_published=self.as_published)
        pictures = found.average(embeds)
        each, extra = divmod(rows, len(pictures))
        labels = torch.full((frames, cells), DROPPED, device=embeds.device)
        parts: list[Tensor] = []
        for number, (picture, first) in enumerate(zip(pictures, found.kept, strict=True)):
            held = in_rounds(picture[None], each + (number < extra), as_published=self.as_published)
            labels[found.roots == first] = held.owners[0] + sum(len(part) for part in parts)
            parts.append(held.rows[0])
        if not self.as_published:
            return merged(clip, labels.reshape(-1))
        return _placed(torch.cat(parts), labels.reshape(-1))


@dataclass(frozen=True, slots=True, eq=False)
class Distinct:
    """Which of k frames are left, and whose content is in which."""

    similarity: Tensor  # (k,) to the most similar earlier one, 0 to 1; 0 for the first
    partner: Tensor  # (k,) int64: that one; 0 for the first
    removed: Tensor  # (k,) bool
    roots: Tensor  # (k,) int64: the frame that is left and has its content; `DROPPED` where none has

    @property
    def kept(self) -> Tensor:
        """(F,) int64: frames that are left, in order."""
        left: Tensor = (~self.removed).nonzero()[:, 0]
        return left

    @property
    def lost(self) -> Tensor:
        """(L,) int64: frames whose partner was removed too. What became of them is in `roots`."""
        gone: Tensor = (self.removed & self.removed[self.partner]).nonzero()[:, 0]
        return gone

    def average(self, features: Tensor) -> Tensor:
        """(k, n, c) to (F, n, c) plain means of the frames with one root."""
        held = self.roots >= 0
        sums = torch.zeros_like(features).index_add_(0, self.roots[held], features[held])
        count = torch.bincount(self.roots[held], minlength=len(features))
        return sums[self.kept] / count[self.kept][:, None, None]


def distinct(
    selector: Tensor, threshold: float = 0.75, fewest: int = 1, most: int | None = None, *, as_published: bool = False
) -> Distinct:
    """Frames whose selection (k, T) is not that of an earlier one: none has (cosine + 1) / 2 above `threshold` to it.

    A frame that goes is averaged into its most similar earlier one. If that went too, its content follows to where
    that one's is; `as_published` it is lost. At least `fewest` and at most `most` are left, as if the threshold had
    been another; the first always is.
    """
    units = normalize(selector, dim=1)
    alike = ((units @ units.T + 1) / 2).clamp_min(0).tril(-1)
    similarity, partner = alike.max(dim=1).values, alike.argmax(dim=1)
    left = max(fewest, 1, int((similarity <= threshold).sum()))
    removed = torch.ones_like(similarity, dtype=torch.bool)
    removed[similarity.argsort(stable=True)[: left if most is None else min(left, most)]] = False
    roots = torch.arange(len(selector), device=selector.device)
    for one in removed.nonzero()[:, 0].tolist():  # earlier ones first, so a partner knows its own already
        into = int(partner[one])
        roots[one] = DROPPED if as_published and bool(removed[into]) else roots[into]
    return Distinct(similarity, partner, removed, roots)


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """Tokens merged to a number of rows."""

    rows: Tensor  # (B, F, D)
    owners: Tensor  # (B, t) int64: the row that a token is in
    lengths: list[int]  # how many there were: at first, after each round


def in_rounds(tokens: Tensor, target: int, *, as_published: bool = False) -> Rounds:
    """(B, t, D) to `target` (1 or more) rows, or t: ToMe's matching halves them while that leaves too many, then ends.

    Every row is the mean of its tokens, in order of place. `as_published` each round takes all rows for one token
    each, so late merges weigh too much, and the order is that of the matching.
    """
    batch, count = tokens.shape[:2]
    mass = torch.ones_like(tokens[..., 0])
    owners = torch.arange(count, device=tokens.device).expand(batch, count)
    lengths = [count]
    while lengths[-1] > target:
        r = at_most(lengths[-1]) if lengths[-1] / 2 > target else lengths[-1] - target
        found = match(tokens, r, order="alike" if as_published else "place")
        tokens, mass = found.merge(tokens, torch.ones_like(mass) if as_published else mass)
        owners = found.owners.gather(1, owners)
        lengths.append(tokens.shape[1])
    return Rounds(tokens, owners, lengths)


def frames_for(question: Tensor, frames: Tensor, count: int, temperature: float = 0.1) -> tuple[Tensor, Tensor]:
    """The at most `count` frames that look most like a question, in order of time, and all their shares.

    `question` (D,) in the same space as tokens, for example a text tower's; `frames` (T, N, D). Gives (count,) int64
    and (T,) float32 that sum to 1: the softmax of the cosine of the question with each frame's mean token, divided by
    `temperature`. Where equal, the earlier frame.

    In the original, 16 trained queries of a query transformer read the question and the frames' class tokens, and each
    takes a mixture of all frames by Gumbel softmax, noise included, at answer time too; a second one then picks 32
    tokens within each. None of this is here: no training, no noise, and frames are picked whole. It is as good as the
    space in which question and frames meet.
    """
    shares = selection(question[None], frames.mean(1), temperature)[0]
    best = shares.argsort(descending=True, stable=True)[:count]
    return best.sort().values, shares


def selection(queries: Tensor, frames: Tensor, temperature: float) -> Tensor:
    """(k, T) how queries (k, D) share their attention among frames (T, D): softmax of cosine / `temperature`."""
    shares: Tensor = (normalize(queries, dim=1) @ normalize(frames, dim=1).T / temperature).softmax(1)
    return shares


def _placed(rows: Tensor, labels: Tensor) -> Reduced:
    """Rows by the first place of each."""
    held = labels >= 0
    places = held.nonzero()[:, 0]
    first = torch.full((len(rows),), len(labels), device=labels.device)
    return Reduced(rows, labels, first.scatter_reduce_(0, labels[held], places, "amin")).in_order()
