"""Several standing instructions in one stream: different ones, the first as if it were the only one."""

from __future__ import annotations

from dataclasses import replace

from bench.watch.plan import FULL, Plan, units
from bench.watch.programme import Programme, Show

SHORTS = replace(FULL, streams=6, standing=6, days=0, stress=0, glimpses=0)


def shows(plan: Plan) -> list[Show]:
    programme = Programme(plan)
    return [programme.show(unit) for unit in units(plan)]


def said(show: Show) -> dict[str, str]:
    """What each instruction is about, by its group."""
    return {one.group: one.item.text for one in show.asks if one.task == "standing"}


def test_more_instructions_change_nothing_else_that_is_asked() -> None:
    for many, one, none in zip(*(shows(replace(SHORTS, instructions=n)) for n in (3, 1, 0)), strict=True):
        assert [a for a in many.asks if a.task != "standing"] == none.asks and not none.standing
        assert one.standing.items() <= many.standing.items() and said(one).items() <= said(many).items()
        assert [a for a in many.asks if a.group in said(one)] == [a for a in one.asks if a.group in said(one)]


def test_they_differ_and_each_has_its_own_visits() -> None:
    found = shows(SHORTS)
    for show in found:
        texts = said(show)
        assert len(set(texts.values())) == len(texts) == len(show.standing) <= 3
        assert {key.rsplit(": ", 1)[1] for key in show.standing} == set(texts)
        for key, visits in show.standing.items():
            yes = [a.time_s for a in show.asks if a.group == key.rsplit(": ", 1)[1] and a.item.answer == "yes"]
            assert all(any(v.clear_s <= t <= v.until_s for v in visits) for t in yes)
            assert not visits or min(yes) <= min(v.clear_s for v in visits) + 1
    assert sum(len(show.standing) for show in found) >= 15
    assert any(visits for show in found for visits in show.standing.values())
