"""All that a measurement says, as tables and as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.watch import goals
from bench.watch.plan import APART, SPLITS, Plan
from bench.watch.scoring import Answered, is_right
from bench.watch.standing import TWICE, Tally, sure, tally, together
from bench.watch.stress import VARIANTS as STRESSES
from bench.watch.systems import LAST_4, LONGWATCH, POLLED, SYSTEMS
from bench.watch.tables import Row, Table, ages, as_table, by, by_task, each, forward, row
from bench.watch.variants import VARIANTS
from bench.watch.watching import Outcome

MAIN = ("short", "day")
NOTE = (
    "Last 4, last frame: the same model, shown no more than that. No picture: shown nothing. Blind: the best rule per "
    "kind of question, chosen with hindsight, that needs no picture. Oracle: the same model and memory, shown the "
    "evidence alone; where nothing ever was there, all that was seen is the evidence, and the oracle is the memory."
)
NOTE_STANDING = (
    "Asked once a second; an alert is a yes after a no, right within 2 s. Agreeing: a change counts once repeated."
)


@dataclass(frozen=True, slots=True)
class Report:
    """Ready to be written down."""

    title: str
    tables: list[Table]
    curves: dict[str, Row]  # the past by age of evidence
    numbers: dict[str, Any]  # for programs


def report(plan: Plan, model: str, outcomes: Sequence[Outcome]) -> Report:
    """Everything from the outcomes alone."""
    answered = [one for outcome in outcomes if outcome.sort in MAIN for one in outcome.answered]
    rows, curves = by_task(answered, SYSTEMS), ages([o for o in answered if o.mode == "past" and not o.task], SYSTEMS)
    rows += _by_length(answered)
    tallies, stress = standing(outcomes), _stress(outcomes)
    reached = goals.judge(rows, curves, tallies, [o.kept for o in outcomes if o.sort in MAIN])
    costs, variants = _costs(outcomes), _ablations(outcomes)
    title = (
        f"bench watch: {model}, {plan.split} seeds from {SPLITS[plan.split][APART['short']]}, {plan.streams} streams "
        f"of {plan.seconds:g} s, {plan.days} of {plan.day_s / 3600:g} h"
    )
    tables = [
        as_table("What is, was, and so far", rows, SYSTEMS, f"{NOTE} {_density(answered)}"),
        _standing_table(tallies),
        as_table("Under stress", stress, SYSTEMS, _at_once(outcomes)),
        costs,
        goals.table(reached),
    ]
    tables += [variants] if variants.rows else []
    numbers = {
        "model": model,
        "plan": asdict(plan),
        "rows": {one.name: asdict(one) for one in rows},
        "ages": {name: asdict(one) for name, one in curves.items()},
        "standing": {name: asdict(one) | {"f1": one.f1} for name, one in tallies.items()},
        "stress": {one.name: asdict(one) for one in stress},
        "goals": [asdict(one) for one in reached],
        "costs": {one[0]: one[1:] for one in costs.rows},
        "ablations": {one[0]: dict(zip(variants.heads[1:], one[1:], strict=True)) for one in variants.rows},
        "kept": {outcome.unit: asdict(outcome.kept) for outcome in outcomes},
    }
    return Report(title, [one for one in tables if one.rows], curves, numbers)


def standing(outcomes: Sequence[Outcome]) -> dict[str, Tally]:
    """What became of all standing instructions, by system, and by system looking twice."""
    found: dict[str, list[Tally]] = {name: [] for system in POLLED for name in (system, system + TWICE)}
    for outcome in outcomes:
        for group, visits in outcome.standing.items():
            polls = sorted((o for o in outcome.answered if o.group == group), key=lambda one: one.now_s)
            for system in POLLED:
                yes = [one.said[system].strip().lower() == "yes" for one in polls]
                times = [one.now_s for one in polls]
                found[system].append(tally(times, yes, visits))
                found[system + TWICE].append(tally(times, sure(yes), visits))
    return {system: together(tallies) for system, tallies in found.items() if tallies}


def _by_length(answered: Sequence[Answered]) -> list[Row]:
    past = [one for one in answered if one.mode == "past" and not one.task]
    rows = [row(f"past, {sort} streams", each(mine), SYSTEMS) for sort, mine in by(lambda o: o.sort, past).items()]
    return [one for one in rows if one is not None]


def _standing_table(tallies: dict[str, Tally]) -> Table:
    heads = ["standing instruction", "appearances", "F1", "mean delay", "false alarms an hour", "late", "duplicates"]
    body = []
    for system, one in tallies.items():
        delay = f"{np.mean(one.delays_s):.1f} s" if one.delays_s else ""
        alarms = f"{one.false_alarms / max(one.watched_s, 1) * 3600:.1f}"
        body.append([system, str(one.appearances), f"{one.f1:.2f}", delay, alarms, str(one.late), str(one.duplicates)])
    return Table("Say so when …", heads, body, NOTE_STANDING)


def _stress(outcomes: Sequence[Outcome]) -> list[Row]:
    stressed = [one for outcome in outcomes if outcome.sort == "stress" for one in outcome.answered]
    main = [one for outcome in outcomes if outcome.sort in MAIN for one in outcome.answered if not one.task]
    glimpses = [one for outcome in outcomes if outcome.sort == "glimpse" for one in outcome.answered]
    rows: list[Row | None] = []
    for mode in ("present", "past"):
        found = by(lambda one: one.variant, (one for one in stressed if one.mode == mode))
        rows += [row(f"{mode}: {name}", each(found.get(name, ())), SYSTEMS) for name in STRESSES]
        hidden = [one for one in main if one.occluded and one.mode == mode]
        rows.append(row(f"{mode}: half hidden before", each(hidden), SYSTEMS))
    rows.append(row("two frames in a long still stretch", each(glimpses), SYSTEMS))
    return [one for one in rows if one is not None]


def _at_once(outcomes: Sequence[Outcome]) -> str:
    asked, same = (sum(outcome.at_once[i] for outcome in outcomes) for i in (0, 1))
    deep = [one for outcome in outcomes if outcome.sort == "stress" for one in outcome.answered]
    unsure = by(lambda one: one.variant, (one for one in deep if one.out_of_depth))
    shares = [f"{name} {len(mine)}" for name, mine in unsure.items()]
    return (
        "The same stories and questions under each, but for rain (in the open only) and the turning camera. "
        f"Up to eight questions at one instant: {same} of {asked} answers are what each question gets alone. The agent "
        f"would have said that it is out of its depth in {sum(map(len, unsure.values()))} of {len(deep)} answers"
        f"{' (' + ', '.join(shares) + ')' if shares else ''}."
    )


def _costs(outcomes: Sequence[Outcome]) -> Table:
    heads, columns = ["cost"], list[list[str]]()
    for sort in MAIN:
        mine = [outcome for outcome in outcomes if outcome.sort == sort]
        if mine:
            heads.append(f"{sort} streams")
            columns.append(_cost(mine))
    names = [
        "CPU time per stream",
        "raw tokens a minute",
        "let pass by the gate",
        "written to memory a minute",
        "of raw",
    ]
    names += [
        "at hand at the end, of raw per stream-hour",
        "in all tiers, of raw: visual + words of time stamps",
        "most bytes held",
    ]
    names += [f"first word, {system}, p50 / p95" for system in (LONGWATCH, LAST_4)]
    note = "Raw: every token of every frame at full rate over the media time, quiet hours included."
    rows = [[name, *cells] for name, *cells in zip(names, *columns, strict=True)] if columns else []
    return Table("What it costs", heads, rows, note)


def _cost(outcomes: Sequence[Outcome]) -> list[str]:
    kept = [outcome.kept for outcome in outcomes]
    minutes, raw = sum(k.media_s for k in kept) / 60, sum(k.raw_tokens for k in kept)
    cells = [
        f"{np.mean([outcome.cpu_s for outcome in outcomes]):.0f} s",
        f"{raw / minutes:.0f}",
        f"{100 * sum(k.admitted for k in kept) / sum(k.frames for k in kept):.0f} % of frames",
        f"{sum(k.committed for k in kept) / minutes:.1f}",
        f"{100 * sum(k.committed for k in kept) / raw:.2f} %",
        f"{100 * sum(k.in_reach for k in kept) / raw:.3f} %",
        f"{100 * goals.held_share(kept):.3f} % + {100 * sum(k.words for k in kept) / raw:.3f} %",
        f"{max(k.most_bytes for k in kept) / 2**20:.1f} MiB",
    ]
    for system in (LONGWATCH, LAST_4):
        times = [(o.first_ms or {})[system] for outcome in outcomes for o in outcome.answered if system in o.said]
        cells.append(f"{np.percentile(times, 50):.0f} / {np.percentile(times, 95):.0f} ms" if times else "")
    return cells


def _density(answered: Sequence[Answered]) -> str:
    parts = [f"{system} {_tok_dense(answered, system):.3f}" for system in (LONGWATCH, LAST_4) if answered]
    return f"TokDense (accuracy in percent per token that the answer could attend to): {', '.join(parts)}."


def _tok_dense(answered: Sequence[Answered], system: str) -> float:
    plain = [one for one in answered if not one.task]
    accuracy = 100 * sum(is_right(one, system) for one in plain) / max(len(plain), 1)
    return accuracy / float(np.mean([(one.reach or {})[system] for one in plain] or [1]))


def _ablations(outcomes: Sequence[Outcome]) -> Table:
    answered = [one for outcome in outcomes if outcome.sort.startswith("ablation") for one in outcome.answered]
    heads = ["variant", "present", "past", "never happened: right", "forward", "tokens in reach", "TokDense"]
    body = []
    for name in VARIANTS if answered else ():
        plain = [one for one in answered if not one.task]
        rows = {one.name: one for one in by_task(answered, [name])}
        cells = [
            rows[key].shares[name].text() if key in rows else ""
            for key in ("all present", "all past", "past: never happened")
        ]
        ahead, reach = forward(answered, name), np.mean([(one.reach or {})[name] for one in plain])
        cells += ["" if ahead is None else f"{100 * ahead:.0f} %", f"{reach:.0f}", f"{_tok_dense(answered, name):.3f}"]
        body.append([name, *cells])
    count = sum(not one.task for one in answered)
    return Table("What each part is worth", heads, body, f"{count} questions, the same for every variant.")
