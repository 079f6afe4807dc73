"""The tables: right answers by method and budget, what stands beside reducers, and what each costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.methods.budgeted import FEWEST
from bench.methods.figures import Summary
from bench.watch.tables import Table
from models.reducers.registry import OURS

COSTS = {  # heading: figure, digits, unit
    "tokens a minute": ("tokens_per_minute", 0, 1.0),
    "kept of raw, %": ("kept_of_raw", 2, 0.01),
    "at hand, MB": ("bytes", 2, 1e6),
    "in reserve, MB": ("reserve", 2, 1e6),
    "tower, ms a frame": ("encoder_ms", 1, 1.0),
    "reducer, ms a frame": ("reducer_ms", 2, 1.0),
    "all but the tower, ms a frame": ("memory_ms", 1, 1.0),
    "first word, ms": ("first_ms", 0, 1.0),
    "a word, ms": ("word_ms", 1, 1.0),
    "in reach": ("reach", 0, 1.0),
    "tower, MFLOP a frame": ("tower_flops", 0, 1e6),
    "reducer, MFLOP a frame": ("reducer_flops", 2, 1e6),
    "prefill, MFLOP a frame": ("read_flops", 1, 1e6),
    "question, GFLOP": ("ask_flops", 2, 1e9),
    "word, MFLOP": ("word_flops", 1, 1e6),
}
WHAT = (
    "Every method sees the same frames, encoded once, and is asked the same questions of the same model. A segment of "
    "n tokens may become share x n rows, one at least; all of a stream stays at hand, so that the share alone is "
    "compared. The last {instant} frames are shown whole beside them, for all alike. In brackets the 95 % interval "
    "(Wilson), after ± the standard deviation over streams."
)
COST_NOTE = (
    "Times are those of one thread's CPU, or by the clock on an accelerator; ± the standard deviation over streams. "
    "*All but the tower* holds token base, map, reducer, fusing and prefill. FLOPs of tower and language model follow "
    "from their shapes; those of a reducer are its matrix products. What reads less than is in reach has none here."
)


def percent(share: float) -> str:
    """`0.07 %`."""
    return f"{100 * share:g} %"


def accuracy(mode: str, found: Sequence[Summary], instant: int) -> Table:
    """Right answers of one mode: a row per reducer, a column per budget."""
    shares = sorted({one.share for one in found if one.group in {"reducer", "whole"}}, reverse=True)
    methods = list(dict.fromkeys(one.method for one in found if one.group in {"reducer", "whole", "floor"}))
    body = []
    for method in methods:
        its = {one.share: one for one in found if one.method == method}
        floor = next((one for one in its.values() if one.group == "floor"), None)
        name = f"**{method}**" if method == OURS else method
        body.append([name, *(_right(floor or its.get(share), mode) for share in shares)])
    count = max((one.count.get(mode, 0) for one in found), default=0)
    note = f"{count} questions. {WHAT.format(instant=instant)} {_stretched(found)}"
    return Table(f"{mode.capitalize()}: right answers by budget", ["method", *map(percent, shares)], body, note.strip())


def _right(one: Summary | None, mode: str) -> str:
    if one is None or mode not in one.right:
        return ""
    spread = one.spread[mode].spread
    return one.right[mode].text() + ("" if spread is None else f" ± {100 * spread:.0f}")


def _stretched(found: Iterable[Summary]) -> str:
    longer = sorted({(one.share, one.segment_s) for one in found if one.group == "reducer"}, reverse=True)
    usual = longer[0][1] if longer else 0.0
    parts = [f"at {percent(share)} they last {length:.0f} s" for share, length in longer if length > usual]
    if not parts:
        return ""
    return f"Segments last {usual:g} s; where that gives fewer than {FEWEST} rows they are longer: {', '.join(parts)}."


def others(found: Sequence[Summary]) -> Table:
    """What is no reducer, at one budget, beside ours alone."""
    mine = [one for one in found if one.group not in {"reducer", "whole", "floor"}]
    share = mine[0].share if mine else 0.0
    plain = [one for one in found if one.method == OURS and one.share == share]
    costly = ("kept of raw, %", "at hand, MB", "in reserve, MB", "tower, ms a frame", "first word, ms", "a word, ms")
    heads = ["", "present", "past", *costly]
    body = [
        [
            f"**{OURS}** alone" if one in plain else one.method,
            _right(one, "present"),
            _right(one, "past"),
            *(_cell(one, head) for head in heads[3:]),
        ]
        for one in (*plain, *mine)
    ]
    note = (
        "All with our reducer. Rules of forgetting (policy) have room for a third of a stream's blocks, and no recall; "
        "with reserve there is as little room, but what is not at hand is recalled. The gate and an adaptive length "
        "keep what they need, up to the share."
    )
    return Table(f"Before, beside and after a reducer, at {percent(share)}", heads, body if mine else [], note)


def costs(found: Sequence[Summary], name: str = "What each costs") -> Table:
    """All figures of settings."""
    body = [[one.method, percent(one.share), *(_cell(one, head) for head in COSTS)] for one in found]
    return Table(name, ["method", "share", *COSTS], body, COST_NOTE)


def _cell(one: Summary, head: str) -> str:
    name, digits, unit = COSTS[head]
    return one.figures[name].text(digits, unit) if name in one.figures else ""


def tables(found: Sequence[Summary], instant: int) -> list[Table]:
    """Everything."""
    made = [accuracy("past", found, instant), accuracy("present", found, instant), others(found), costs(found)]
    return [one for one in made if one.rows]


def for_the_page(found: Sequence[Summary], instant: int, share: float) -> list[Table]:
    """As `tables`, with costs at one budget only, beside the bounds."""
    some = [one for one in found if one.share == share or one.group in {"floor", "whole"}]
    *rest, _ = tables(found, instant)
    return [*rest, costs(some, f"What each costs, at {percent(share)}")]
