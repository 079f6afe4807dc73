"""The goals of the benchmark, each with what was reached: met, missed, or not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.watch.scoring import AGE_NAMES
from bench.watch.standing import TWICE, Tally
from bench.watch.systems import LAST_4, LONGWATCH, ORACLE
from bench.watch.tables import Row, Table
from bench.watch.watching import Kept

OF_ORACLE = 0.90
OVER_LAST_4 = 0.25
MOST_FALSE = 0.05
LEAST_F1 = 0.90
MOST_KEPT = 0.0007  # of raw visual tokens, per stream-hour


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the goals."""

    name: str
    reached: str
    met: bool | None  # None: not measured


def judge(rows: Sequence[Row], ages: dict[str, Row], tallies: dict[str, Tally], kept: Sequence[Kept]) -> list[Goal]:
    """Every goal, in the order in which they were set."""
    found = {one.name: one for one in rows}
    return [
        _present(found.get("all present")),
        *(goal for name in AGE_NAMES for goal in _past(name, ages.get(name))),
        _false(found.get("past: never happened")),
        _standing(tallies.get(LONGWATCH + TWICE)),
        _kept(kept),
    ]


def _present(one: Row | None) -> Goal:
    name = "present: no worse than the last 4 frames"
    if one is None:
        return Goal(name, "", None)
    ours, theirs = one.shares[LONGWATCH].right, one.shares[LAST_4].right
    return Goal(name, f"{100 * ours:.1f} % against {100 * theirs:.1f} %, n = {one.count}", ours >= theirs)


def _past(age: str, one: Row | None) -> list[Goal]:
    near = f"past, {age}: at least {100 * OF_ORACLE:.0f} % of oracle evidence"
    over = f"past, {age}: at least {100 * OVER_LAST_4:.0f} points over the last 4 frames"
    if one is None:
        return [Goal(near, "", None), Goal(over, "", None)]
    ours, floor, best = (one.shares[system].right for system in (LONGWATCH, LAST_4, ORACLE))
    of_best = f"{100 * ours / best if best else 0:.0f} % of it ({100 * ours:.0f} % of {100 * best:.0f} %)"
    if best <= (one.blind or 0.0):  # then it says nothing of memory, met or not
        of_best += "; the oracle is no better than blind"
    return [
        Goal(near, of_best, ours >= OF_ORACLE * best),
        Goal(over, f"{100 * (ours - floor):+.0f} points, n = {one.count}", ours - floor >= OVER_LAST_4),
    ]


def _false(one: Row | None) -> Goal:
    name = f"false memories: at most {100 * MOST_FALSE:.0f} %"
    if one is None:
        return Goal(name, "", None)
    share = one.shares[LONGWATCH]
    low, high = 100 * (1 - share.high), 100 * (1 - share.low)
    return Goal(
        name, f"{100 * (1 - share.right):.0f} % ({low:.0f}–{high:.0f}), n = {one.count}", 1 - share.right <= MOST_FALSE
    )


def _standing(one: Tally | None) -> Goal:
    name = f"standing instructions{TWICE}: F1 of {LEAST_F1:.1f} or more"
    return (
        Goal(name, "", None)
        if one is None
        else Goal(name, f"{one.f1:.3f}, {one.appearances} appearances", one.f1 >= LEAST_F1)
    )


def _kept(kept: Sequence[Kept]) -> Goal:
    name = f"kept of raw visual tokens per stream-hour: at most {100 * MOST_KEPT:.2f} %"
    long = [k for k in kept if k.media_s >= 3600]  # the first minutes of a stream cannot be thinned yet
    if not long:
        return Goal(name, "", None)
    visual, all_tokens = held_share(long), held_share(long, words=True)
    reached = (
        f"{100 * visual:.3f} % in all tiers, {100 * all_tokens:.3f} % with the words of their time stamps "
        f"(streams of {long[0].media_s / 3600:.0f} h)"
    )
    return Goal(name, reached, visual <= MOST_KEPT)


def held_share(kept: Sequence[Kept], *, words: bool = False) -> float:
    """Visual tokens in all tiers at the end, as a share of all raw ones; `words`: with those of time stamps."""
    held = sum(k.held - (0 if words else k.words) for k in kept)
    return held / max(sum(k.raw_tokens for k in kept), 1.0)


def table(reached: Sequence[Goal]) -> Table:
    """Goals for people."""
    words = {True: "met", False: "**missed**", None: "not measured"}
    return Table("Goals", ["goal", "reached", ""], [[one.name, one.reached, words[one.met]] for one in reached])
