"""Shares of right answers with their intervals, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.watch.scoring import AGE_NAMES, Answered, age_name, balanced, blind, is_memory_of_nothing, is_right, wilson

Case = Sequence[Answered]  # one question, or several that are judged together


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    right: float
    low: float
    high: float

    def text(self) -> str:
        """`43 % (38-48)`."""
        return f"{100 * self.right:.0f} % ({100 * self.low:.0f}–{100 * self.high:.0f})"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of question."""

    name: str
    count: int
    shares: dict[str, Share]  # by system
    blind: float | None


@dataclass(frozen=True, slots=True)
class Table:
    """Words for people; `rows` are of as many cells as `heads`."""

    name: str
    heads: list[str]
    rows: list[list[str]]
    note: str = ""

    def lines(self) -> list[str]:
        """As Markdown."""
        body = [self.heads, ["---"] * len(self.heads), *self.rows]
        return [
            f"**{self.name}**",
            "",
            *("| " + " | ".join(row) + " |" for row in body),
            *([self.note] * bool(self.note)),
            "",
        ]


def row(name: str, cases: Sequence[Case], systems: Iterable[str]) -> Row | None:
    """How many cases each system got right; None where there are no cases."""
    if not cases:
        return None
    shares = {}
    for system in systems:
        if all(system in one.said for case in cases for one in case):
            right = sum(all(is_right(one, system) for one in case) for case in cases)
            shares[system] = Share(right / len(cases), *wilson(right, len(cases)))
    return Row(name, len(cases), shares, blind(cases) / len(cases))


def balanced_row(name: str, cases: Sequence[Answered], systems: Iterable[str]) -> Row | None:
    """As `row`, both states counting alike however often each was asked about; the interval is that of all."""
    shares = {}
    for system in systems:
        right = balanced(cases, system)
        if right is not None:
            shares[system] = Share(right, *wilson(right * len(cases), len(cases)))
    return Row(name, len(cases), shares, 0.5) if shares else None


def each(cases: Iterable[Answered]) -> list[Case]:
    """Every question by itself."""
    return [[one] for one in cases]


def grouped(cases: Iterable[Answered]) -> list[Case]:
    """Questions that are judged together, by their group."""
    found: dict[str, list[Answered]] = {}
    for one in cases:
        found.setdefault(one.group, []).append(one)
    return list(found.values())


def by(key: Callable[[Answered], str | None], cases: Iterable[Answered]) -> dict[str, list[Answered]]:
    """Cases by a name, in the order of the names; without those that have none."""
    found: dict[str, list[Answered]] = {}
    for one in cases:
        if (name := key(one)) is not None:
            found.setdefault(name, []).append(one)
    return dict(sorted(found.items()))


def ages(past: Iterable[Answered], systems: Iterable[str]) -> dict[str, Row]:
    """The past by the age of its evidence, what never happened left out; ages without a question are left out too."""
    found = by(lambda one: None if one.age_s is None else age_name(one.age_s), past)
    rows = {name: row(f"past, evidence up to {name} old", each(found.get(name, ())), systems) for name in AGE_NAMES}
    return {name: one for name, one in rows.items() if one is not None}


def by_task(answered: Sequence[Answered], systems: Sequence[str]) -> list[Row]:
    """All rows about what is, was and is to come."""
    plain = [one for one in answered if not one.task]
    rows: list[Row | None] = []
    for mode in ("present", "past"):
        mine = [one for one in plain if one.mode == mode]
        rows.append(row(f"all {mode}", each(mine), systems))
        rows += [row(f"{mode}: {kind}", each(found), systems) for kind, found in by(lambda o: o.kind, mine).items()]
    past = [one for one in plain if one.mode == "past"]
    tasks = by(lambda one: one.task or None, answered)
    rows.append(row("past: drift, thrice right", grouped(tasks.get("drift", ())), systems))
    rows.append(row("past: never happened", each(o for o in past if is_memory_of_nothing(o)), systems))
    rows += ages(past, systems).values()
    rows += _forward(answered, systems)
    return [one for one in rows if one is not None]


def _forward(answered: Sequence[Answered], systems: Sequence[str]) -> list[Row | None]:
    tasks = by(lambda one: one.task or None, answered)
    now = [one for one in answered if one.task.startswith("running now")]
    return [
        row("forward: count so far", each(tasks.get("count so far", ())), systems),
        balanced_row("forward: running now, balanced", now, systems),
        row("forward: in time, not before and right after", grouped(tasks.get("in time", ())), systems),
    ]


def forward(answered: Sequence[Answered], system: str) -> float | None:
    """Mean of the forward tasks there are, but for standing instructions; None where there is none."""
    rows = [one for one in _forward(answered, [system]) if one is not None and system in one.shares]
    return sum(one.shares[system].right for one in rows) / len(rows) if rows else None


def as_table(name: str, rows: Sequence[Row], systems: Sequence[str], note: str = "") -> Table:
    """Rows for people; the interval is given for the first system."""
    heads = ["questions", "n", *(f"{s}, 95 %" if i == 0 else s for i, s in enumerate(systems)), "blind"]
    body = []
    for one in rows:
        cells = [one.name, str(one.count)]
        for i, system in enumerate(systems):
            share = one.shares.get(system)
            cells.append("" if share is None else share.text() if i == 0 else f"{100 * share.right:.0f} %")
        body.append([*cells, "" if one.blind is None else f"{100 * one.blind:.0f} %"])
    return Table(name, heads, body, note)
