"""K-means by cosine: starts drawn or spread, rounds of assigning and averaging."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from torch import Generator, Tensor

TRIALS = 8  # tokens compared for each pick of `spread`


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """K clusters of n tokens. Some may have no member."""

    labels: Tensor  # (n,) int64: of the last assignment
    centres: Tensor  # (K, D) means of unit vectors, as they were in that assignment
    rounds: int

    def means(self, tokens: Tensor) -> Tensor:
        """(K, D) mean of the tokens (n, D) with each label; zero where there is none."""
        sums = torch.zeros(len(self.centres), tokens.shape[1], dtype=tokens.dtype, device=tokens.device)
        return sums.index_add_(0, self.labels, tokens) / self.members.clamp_min(1)[:, None]

    @property
    def members(self) -> Tensor:
        """(K,) int64: tokens with each label."""
        return torch.bincount(self.labels, minlength=len(self.centres))

    def scatter(self, units: Tensor) -> float:
        """Sum of squared Euclidean distances to the assigned centre."""
        return float((units - self.centres[self.labels]).double().square().sum())


def fit(units: Tensor, start: Tensor, rounds: int, tolerance: float) -> Fit:
    """Lloyd's rounds (at least one) on unit vectors (n, D) from the tokens `start` (K,) int64.

    A token goes to the centre of highest cosine, the lowest number where equal; a centre becomes the mean of its unit
    vectors, or stays where it has none. The end is the round in which all centres together (Frobenius norm) would move
    less than `tolerance`, and then they do not; or the last of `rounds`, after which they do. So does VQToken's code
    (arXiv 2503.16980).
    """
    centres = units[start]
    for number in range(1, max(1, rounds) + 1):
        found = Fit(_nearest(units, centres), centres, number)
        moved = torch.where(found.members[:, None] > 0, found.means(units), centres)
        if float((moved - centres).norm()) < tolerance:
            return found
        centres = moved
    return Fit(found.labels, centres, found.rounds)


def drawn(units: Tensor, count: int, chance: Generator, floor: float = 1e-6) -> Tensor:
    """(K,) int64: k-means++ by lot, in proportion to the squared distance to the nearest pick yet, plus `floor`."""
    picks = torch.randint(len(units), (1,), generator=chance)
    far = _far(units, picks)[:, 0]
    while len(picks) < count:
        picks = torch.cat([picks, torch.multinomial(far + floor, 1, generator=chance)])
        far = torch.minimum(far, _far(units, picks[-1:])[:, 0])
    return picks


def spread(units: Tensor, count: int) -> Tensor:
    """(at most K,) int64: k-means++ without chance; no token twice, and a longer start begins as a shorter one.

    First the token most like the mean. Then, with all tokens in a row and each as wide as its squared distance to the
    nearest pick, the tokens in the middle of `TRIALS` equal stretches of that row are tried, and the one is taken that
    leaves the least distance in all. Ends early when nothing is left that differs from every pick.
    """
    middles = (torch.arange(TRIALS, dtype=torch.float64, device=units.device) + 0.5) / TRIALS
    picks = [int((units @ units.mean(0)).argmax())]
    far = _far(units, torch.tensor(picks, device=units.device))[:, 0]
    while len(picks) < count:
        row = far.double().cumsum(0)
        if float(row[-1]) <= 0:
            break
        tried = torch.searchsorted(row, row[-1] * middles, right=True).clamp_max(len(units) - 1)
        left = torch.minimum(far[:, None], _far(units, tried))
        best = int(left.double().sum(0).argmin())
        picks.append(int(tried[best]))
        far = left[:, best]
    return torch.tensor(picks, device=units.device)


def _nearest(units: Tensor, centres: Tensor) -> Tensor:
    nearest: Tensor = (units @ normalize(centres, dim=1).T).argmax(1)
    return nearest


def _far(units: Tensor, picks: Tensor) -> Tensor:
    """(n, P) squared distances to some of them; twins up to rounding are one."""
    squares = units.square().sum(1)
    far = squares[:, None] + squares[picks] - 2 * (units @ units[picks].T)
    return torch.where(far > 1e-5, far, 0.0)
