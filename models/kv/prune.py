"""Which blocks leave HOT when no question is at hand. Pure functions; the same history gives the same victims.

- `recent`: the newest stay, what leaves is forgotten. With `hot_blocks: 0`, SimpleStream (arXiv 2604.02317): the
  instant window and no memory.
- `window`: the sinks and the newest stay (StreamingLLM, arXiv 2309.17453); unlike under `recent`, what leaves goes down
  to WARM and COLD, where a question about the past may find it.
- `random`: a repeatable coin.
- `knorm`, `keydiff`, `vnorm`: short keys, keys unlike the rest, long values stay (`models/kv/scorers.py`), as means
  over a block's rows, layers and heads.
- `snapkv`: what a general question attends to stays (`models/kv/proxy.py`).
- `hermes`: bands of age after HERMES (arXiv 2601.14724), below.
- `score`, `score+strata`: ours, a weighted sum of ranks; the second gives every age its share.

Published, all but the first three choose keys one by one, per head or layer; a block is whole or gone, so that its time
stays named, evidence stays whole and positions stay the same for all layers.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Policy = Literal["recent", "window", "random", "knorm", "keydiff", "vnorm", "snapkv", "hermes", "score", "score+strata"]
FORGETTING: frozenset[Policy] = frozenset({"recent"})  # nothing is kept in WARM or COLD
ASKING: frozenset[Policy] = frozenset({"snapkv", "hermes"})  # want `Facts.asked`
COMPARING: frozenset[Policy] = frozenset({"keydiff", "hermes"})  # want `Facts.typical`

# Starting weights, to be measured: novelty as in InfiniPot-V (arXiv 2506.15745), proxy attention after StreamMem (arXiv
# 2508.15717), use as in H2O (arXiv 2306.14048) without its bias for early tokens, value norm as in VaN.
WEIGHTS = {"novelty": 0.25, "mass": 0.20, "proxy": 0.20, "use": 0.15, "value": 0.10, "recency": 0.10}
RECENCY_S = 600.0
FIRST_STRATUM_S = 60.0
FIRST_SHARE = 0.25  # of HOT for the last minute; older octaves share the rest equally
_BANDS = {"recent": 0.3, "middle": 0.4, "old": 0.3}  # of what stays; the shares of layers in HERMES' code, for ages
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
    key_length: float = 0.0
    asked: float = 0.0  # best pooled share of a general question's attention
    typical: float = 0.0  # mean cosine of its keys to the mean of all unit keys at hand


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
    bands = _bands(blocks, keep) if policy == "hermes" else {}
    score = _band_scores(bands) if bands else _scores_of(policy, blocks, seed)
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
        elif policy == "hermes":
            name, free = _giving_band(bands, {b.id for b in left})
            reason = f"lowest in the {name} band"
        worst = min(free, key=lambda b: (score[b.id], b.id))
        gone.append((worst.id, score[worst.id], reason))
        left = [b for b in left if b.id != worst.id]
    return gone


def octave(age_s: float) -> int:
    """Stratum of an age: 0 up to a minute, 1 up to two, 2 up to four ..."""
    return 0 if age_s < FIRST_STRATUM_S else 1 + int(math.log2(age_s / FIRST_STRATUM_S))


def _recency(block: Facts) -> float:
    return math.exp(-block.age_s / RECENCY_S)


_PLAIN: dict[str, Callable[[Facts], float]] = {
    "recent": _recency,
    "window": _recency,
    "knorm": lambda block: -block.key_length,
    "keydiff": lambda block: -block.typical,
    "vnorm": lambda block: block.value,
    "snapkv": lambda block: block.asked,
}


def _scores_of(policy: Policy, blocks: list[Facts], seed: int) -> dict[int, float]:
    """More is kept, by block id."""
    if policy.startswith("score"):
        return scores(blocks)
    if policy == "random":
        return {b.id: Random(f"{seed}:{b.id}").random() for b in blocks}  # a repeatable coin, nothing secret
    return {b.id: _PLAIN[policy](b) for b in blocks}


def _bands(blocks: list[Facts], keep: int) -> dict[str, list[Facts]]:
    """Bands of age, each newest first. The recent band is as large as it may stay; the others share the rest.

    HERMES divides the layers: shallow ones keep what is recent, deep ones what a general question attends to and one
    summary of the rest, those between interpolate. Blocks hold all layers, so ages take the place of depths: the newest
    stay; in the middle recency gives way to attention, by age; among the old stay those most like everything at hand,
    which stand for what left (COLD merges that itself).
    """
    ordered = sorted(blocks, key=lambda b: (b.age_s, -b.id))
    recent = round(_BANDS["recent"] * keep)
    rest = ordered[recent:]
    cut = len(rest) - round(len(rest) * _BANDS["old"] / (_BANDS["old"] + _BANDS["middle"]))
    return {"recent": ordered[:recent], "middle": rest[:cut], "old": rest[cut:]}


def _giving_band(bands: dict[str, list[Facts]], left: set[int]) -> tuple[str, list[Facts]]:
    """The band that holds most for its share among those that have a block to give, and those blocks.

    Ties to the older; the recent band gives only where pins leave nothing else.
    """
    free = {name: [b for b in band if b.id in left and not b.pinned] for name, band in bands.items()}
    giving = [name for name in ("old", "middle") if free[name]]
    if not giving:
        return "recent", free["recent"]
    name = max(giving, key=lambda name: sum(b.id in left for b in bands[name]) / _BANDS[name])
    return name, free[name]


def _band_scores(bands: dict[str, list[Facts]]) -> dict[int, float]:
    """More is kept, by block id, comparable within a band."""
    middle = bands["middle"]
    older = [i / max(1, len(middle) - 1) for i in range(len(middle))]  # 0 for the newest, 1 for the oldest
    seen = zip(middle, older, _ranks([b.asked for b in middle]), strict=True)
    return (
        {b.id: _recency(b) for b in bands["recent"]}
        | {b.id: (1 - place) * (1 - place) + place * asked for b, place, asked in seen}  # recency rank: 1 - place
        | {b.id: b.typical for b in bands["old"]}
    )


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
