"""Right and wrong, guessing, alerts, goals: the arithmetic of the benchmark on cases made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.watch import goals, lag_plot, scoring, standing, tables
from bench.watch.scoring import Answered
from bench.watch.standing import Visit
from bench.watch.systems import LAST_4, LONGWATCH, ORACLE, SYSTEMS
from bench.watch.watching import Kept
from stream.sources.simulated.history import History, Run, Sample, Track


def answered(answer: str, said: str, **more: object) -> Answered:
    one = Answered("seen", "past", "Was there a red car?", answer, dict.fromkeys(SYSTEMS, said), 100.0, 0.0, age_s=5.0)
    return replace(one, **more)  # type: ignore[arg-type]  # fields by name


def track(kind: str, colour: str, shown: dict[float, float]) -> Track:
    samples = tuple(Sample(t, 0.5, 0.5, 0.0, share) for t, share in shown.items())
    return Track(kind, colour, samples)  # type: ignore[arg-type]  # names of the simulator


def test_visits_last_while_anything_shows() -> None:
    shown = {2.0: 0.3, 2.5: 1.0, 3.0: 1.0, 3.5: 0.2, 8.0: 1.0, 20.0: 1.0, 20.5: 1.0}
    run = Run(0.0, 30.0, 0.5, (track("car", "red", shown), track("dog", "red", {1.0: 1.0, 1.5: 1.0})))
    found = standing.visits(History((run,)), "car", "red")
    assert found == [Visit(2.5, 2.0, 3.5), Visit(20.0, 20.0, 20.5)]  # at 8 s it was there for one look only


def test_alerts_are_tallied() -> None:
    visits = [Visit(10.0, 9.0, 14.0), Visit(30.0, 30.0, 40.0), Visit(60.0, 60.0, 62.0)]
    yes = {0, 1, 11, 12, 14, 35, 36, 50}  # two seconds of a false alarm, a hit, a duplicate, late, a false alarm
    times = [float(t) for t in range(101)]
    one = standing.tally(times, [t in yes for t in range(101)], visits)
    assert (one.appearances, one.hits, one.duplicates, one.late, one.false_alarms) == (3, 1, 1, 1, 2)
    assert one.delays_s == (1.0,) and one.watched_s == 100.0
    assert one.f1 == pytest.approx(2 * 1 / (5 + 3))
    both = standing.together([one, one])
    assert both.f1 == pytest.approx(one.f1) and both.false_alarms == 4 and both.watched_s == 200.0
    perfect = standing.tally(times, [t in {10, 11, 31, 60} for t in range(101)], visits)
    assert perfect.f1 == 1.0 and perfect.delays_s == (0.0, 1.0, 0.0)
    assert standing.tally(times, [False] * 101, []).f1 == 1.0
    assert standing.tally(times, [False] * 101, visits).f1 == 0.0


def test_a_change_of_answer_is_said_once_two_looks_agree() -> None:
    said = [True, False, True, True, False, True, False, False, True]
    assert standing.sure(said) == [False, False, False, True, True, True, True, False, False]
    assert standing.sure([True, True, True]) == [False, True, True] and standing.sure([]) == []
    visit = Visit(10.0, 9.0, 14.0)
    yes = [t in {3, 10, 11, 13, 14} for t in range(30)]  # a flicker, and a gap while it is there
    times = [float(t) for t in range(30)]
    raw, twice = standing.tally(times, yes, [visit]), standing.tally(times, standing.sure(yes), [visit])
    assert (raw.hits, raw.false_alarms, raw.duplicates) == (1, 1, 1)
    assert (twice.hits, twice.false_alarms, twice.duplicates) == (1, 0, 0) and twice.delays_s == (1.0,)


def test_right_is_exact_but_for_case_and_space() -> None:
    assert scoring.is_right(answered("not seen", " Not  seen"), LONGWATCH)
    for wrong in ("not seen.", "seen", "", "a not seen"):
        assert not scoring.is_right(answered("not seen", wrong), LONGWATCH)


def test_times_are_right_within_ten_seconds_also_over_midnight() -> None:
    late = {"time_s": 86395.0, "wall_s": 86400.0 * 19000}
    for said, right in {
        "23:59:55": True,
        "00:00:05": True,
        "00:00:06": False,
        "23:59:45": True,
        "23:59:44": False,
        "at 23:59:55": False,
        "23:59": False,
        "not seen": False,
        "<|then|>": False,
    }.items():
        assert scoring.is_right(answered("<|then|>", said, **late), LONGWATCH) == right, said


def test_intervals_are_wilsons() -> None:
    assert scoring.wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert scoring.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert scoring.wilson(20, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)
    assert scoring.wilson(0, 0) == (0.0, 1.0)


def test_ages_are_binned_by_upper_bounds() -> None:
    found = [scoring.age_name(age) for age in (0, 10, 10.5, 60, 61, 600, 3600, 3601, 21601, 86400, 90000)]
    assert found == ["10 s", "10 s", *["1 min"] * 2, *["10 min"] * 2, "1 h", "6 h", *["24 h"] * 3]


def test_blind_guessing_has_the_best_rule_per_kind() -> None:
    cases = [answered(a, "") for a in ("yes", "yes", "no")]
    cases += [answered(a, "", kind="order", text="Was it the red car or the blue dog?") for a in ("the red car", "yes")]
    cases.append(answered("the red dog", "", kind="order", text="Was it the red dog or the blue dog?"))
    assert scoring.blind(tables.each(cases)) == 4  # yes twice; the first that is named twice
    times = [answered("<|then|>", "", kind="when", time_s=100.0 - back) for back in (30.0, 35.0, 80.0)]
    assert scoring.blind(tables.each(times)) == 2  # "half a minute ago"
    assert scoring.blind([[answered("red", ""), answered("blue", "")]]) == 0  # no rule is right on both
    assert scoring.blind([[answered("red", ""), answered("red", "")]]) == 1


def test_false_memories_are_answers_about_nothing() -> None:
    assert scoring.is_memory_of_nothing(answered("no", "yes"))
    assert scoring.is_memory_of_nothing(answered("not seen", "red"))
    assert not scoring.is_memory_of_nothing(answered("yes", "yes"))
    assert not scoring.is_memory_of_nothing(answered("no", "yes", mode="present"))
    rows = {row.name: row for row in tables.by_task([answered("no", "yes"), answered("no", "no")], SYSTEMS)}
    (goal,) = [g for g in goals.judge(list(rows.values()), {}, {}, []) if g.name.startswith("false")]
    assert goal.met is False and goal.reached.startswith("50 %")


def test_running_now_counts_both_states_alike() -> None:
    cases = [answered("yes", "yes", task="running now: yes", mode="forward")]
    cases += [answered("no", said, task="running now: no", mode="forward") for said in ("yes", "yes", "no", "yes")]
    assert scoring.balanced(cases, LONGWATCH) == pytest.approx((1.0 + 0.25) / 2)
    assert scoring.balanced(cases[1:], LONGWATCH) is None
    assert tables.forward(cases, LONGWATCH) == pytest.approx(0.625)


def test_thrice_asked_is_right_only_if_thrice_right() -> None:
    def three(group: str, *said: str) -> list[Answered]:
        return [answered(a, s, task="drift", group=group) for a, s in zip(("red", "blue", "red"), said, strict=True)]

    cases = three("a", "red", "blue", "red") + three("b", "red", "red", "red")
    row = tables.row("drift", tables.grouped(cases), SYSTEMS)
    assert row is not None and row.count == 2
    assert row.shares[LONGWATCH].right == 0.5 and row.blind == 0.0


def test_goals_are_met_missed_or_not_measured() -> None:
    said = {LONGWATCH: "yes", LAST_4: "no", ORACLE: "yes"}
    good = replace(answered("yes", "no"), said=dict.fromkeys(SYSTEMS, "no") | said)
    row = tables.row("all present", [[good]], SYSTEMS)
    assert row is not None
    kept = Kept(
        media_s=7200.0,
        frames=10,
        admitted=10,
        cells=25,
        raw_tokens=360_000.0,
        committed=500,
        held=452,
        words=200,
        in_reach=100,
        most_bytes=0,
    )
    found = {g.name: g for g in goals.judge([row], tables.ages([good], SYSTEMS), {}, [kept])}
    met = {name: g.met for name, g in found.items()}
    assert met["past, 10 s: at least 90 % of oracle evidence"] is True
    assert met["past, 10 s: at least 25 points over the last 4 frames"] is True
    assert met["past, 24 h: at least 90 % of oracle evidence"] is None
    assert met["kept of raw visual tokens per stream-hour: at most 0.07 %"] is True
    more = goals.judge([], {}, {}, [replace(kept, words=199)])
    assert more[-1].met is False
    assert goals.judge([], {}, {}, [replace(kept, media_s=180.0)])[-1].met is None
    words = goals.table(list(found.values())).lines()
    assert any("not measured" in line for line in words) and any("| met |" in line for line in words)


def test_the_plot_draws_what_there_is() -> None:
    row = tables.row("past", [[answered("yes", "yes")]], SYSTEMS)
    assert row is not None
    empty, drawn = lag_plot.draw({}, "t"), lag_plot.draw({"10 s": row, "1 h": row}, "t")
    blue = lag_plot.LINES[LONGWATCH][0]
    assert blue not in {colour for _, colour in empty.getcolors(1 << 20) or []}
    assert blue in {colour for _, colour in drawn.getcolors(1 << 20) or []}
