"""Which blocks leave HOT when no question is at hand. Pure functions; the same history gives the same victims."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from random import Random
from typing import Literal

Policy = Literal["window", "random", "score", "score+strata"]

# Starting weights, to be measured: novelty as in InfiniPot-V (arXiv 2506.15745), proxy attention after StreamMem (arXiv
# 2508.15717), use as in H2O (arXiv 2306.14048) without its bias for early tokens, value norm as in VaN.
WEIGHTS = {"novelty": 0.25, "mass": 0.20, "proxy": 0.20, "use": 0.15, "value": 0.10, "recency": 0.10}
RECENCY_S = 600.0
FIRST_STRATUM_S = 60.0
FIRST_SHARE = 0.25  # of HOT for the last minute; older octaves share the rest equally
HYSTERESIS = 0.875  # prune to this much of the bound, so that it happens once in several commits


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rank score looks at, for one block."""

    id: int
    age_s: float
    novelty: float  # 1 - max cosine of its mean raw key to any later block
    mass: float
    proxy: float
    use: float
    value: float
    pinned: bool = False


def scores(blocks: list[Facts]) -> dict[int, float]:
    """Weighted sum of rank-normalised terms, 0..1 each, by block id."""
    total = dict.fromkeys((b.id for b in blocks), 0.0)
    terms = {
        "novelty": [b.novelty for b in blocks],
        "mass": [b.mass for b in blocks],
        "proxy": [b.proxy for b in blocks],
        "use": [b.use for b in blocks],
        "value": [b.value for b in blocks],
        "recency": [math.exp(-b.age_s / RECENCY_S) for b in blocks],
    }
    for name, values in terms.items():
        for block, rank in zip(blocks, _ranks(values), strict=True):
            total[block.id] += WEIGHTS[name] * rank
    return total


def victims(policy: Policy, blocks: list[Facts], keep: int, seed: int) -> list[tuple[int, float, str]]:
    """Blocks that leave so that `keep` stay (pins always stay): (id, score, reason), in order of leaving."""
    score = scores(blocks) if policy.startswith("score") else {b.id: _plain(policy, b, seed) for b in blocks}
    left = list(blocks)
    gone: list[tuple[int, float, str]] = []
    while len(left) > keep:
        free = [b for b in left if not b.pinned]
        if not free:
            break
        reason = f"lowest under {policy}"
        if policy == "score+strata":
            stratum = _most_overfull(left, free, keep)
            free = [b for b in free if octave(b.age_s) == stratum]
            reason = f"lowest score among blocks {_stratum_name(stratum)} old"
        worst = min(free, key=lambda b: (score[b.id], b.id))
        gone.append((worst.id, score[worst.id], reason))
        left = [b for b in left if b.id != worst.id]
    return gone


def octave(age_s: float) -> int:
    """Stratum of an age: 0 up to a minute, 1 up to two, 2 up to four ..."""
    return 0 if age_s < FIRST_STRATUM_S else 1 + int(math.log2(age_s / FIRST_STRATUM_S))


def _plain(policy: Policy, block: Facts, seed: int) -> float:
    if policy == "window":
        return math.exp(-block.age_s / RECENCY_S)
    return Random(f"{seed}:{block.id}").random()  # a repeatable coin, nothing secret


def _most_overfull(left: list[Facts], free: list[Facts], keep: int) -> int:
    """The stratum with the most blocks above its share, among those that have a block to give; ties to the older."""
    held: dict[int, int] = {}
    for block in left:
        held[octave(block.age_s)] = held.get(octave(block.age_s), 0) + 1
    others = max(1, len(held) - (0 in held))
    rest = 1.0 - FIRST_SHARE if 0 in held else 1.0
    share = {s: keep * (FIRST_SHARE if s == 0 else rest / others) for s in held}
    return max({octave(b.age_s) for b in free}, key=lambda s: (held[s] - share[s], s))


def _stratum_name(stratum: int) -> str:
    if stratum == 0:
        return "up to 1 min"
    return f"{2 ** (stratum - 1)} to {2**stratum} min"


def _ranks(values: list[float]) -> list[float]:
    """Ranks scaled to 0..1, ties sharing their mean rank."""
    n = len(values)
    if n < 2:
        return [0.5] * n
    order = sorted(values)
    return [(bisect_left(order, value) + bisect_right(order, value) - 1) / 2 / (n - 1) for value in values]
