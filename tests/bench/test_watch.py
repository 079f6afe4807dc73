"""The benchmark of answers: small streams from plan to page, and that its arithmetic knows right from wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench._results import OtherPlan
from bench.watch import asks, command, films, scoring, variants
from bench.watch import plan as plans
from bench.watch.asks import Ask
from bench.watch.plan import Plan
from bench.watch.programme import Programme
from bench.watch.report import report
from bench.watch.resume import Results
from bench.watch.scoring import Answered
from bench.watch.standing import Visit
from bench.watch.systems import LONGWATCH, SYSTEMS, Heard, Look, Panel, Variants, evidence, recent
from bench.watch.watching import Kept, Outcome, answered_by, watch
from models.checkpoint import Checkpoint
from models.rows import Rows
from models.vision.torch_tower import TorchVision
from stream.cli.console import Trouble
from stream.flow import Tokens
from stream.sources.simulated.history import History
from stream.sources.simulated.quiz import Item
from stream.sources.simulated.truth import visible

TINY = Plan(streams=1, seconds=40, moments=2, questions=3, occasions=1, standing=0, days=0, stress=0, glimpses=0)


# The whole way.


def test_the_small_plan_from_first_frame_to_page(tmp_path: Path) -> None:
    said = list[str]()
    argv = ["--small", "--out", str(tmp_path)]
    assert command.main(argv, said.append) == 0
    numbers = json.loads((tmp_path / "bench-watch.json").read_text())
    lines = (tmp_path / "bench-watch.jsonl").read_text().splitlines()
    units = [json.loads(line)["unit"] for line in lines[1:]]
    assert units == [unit.name for unit in plans.units(plans.SMALL)]
    assert {"all present", "all past"} <= set(numbers["rows"])
    for row in numbers["rows"].values():
        assert row["count"] > 0
        assert set(row["shares"]) == set(SYSTEMS)
        assert all(0 <= s["low"] <= s["right"] <= s["high"] <= 1 for s in row["shares"].values())
    systems = {"longwatch", "last 4", "last frame"}
    assert numbers["standing"].keys() == systems | {f"{name}, two looks agreeing" for name in systems}
    assert len(numbers["goals"]) == 4 + 2 * len(scoring.AGE_NAMES)
    kept = numbers["kept"][units[1]]
    assert 0 < kept["words"] < kept["held"] <= kept["committed"] < kept["raw_tokens"]
    asked, same = (sum(json.loads(line)["at_once"][i] for line in lines[1:]) for i in (0, 1))
    assert asked == same > 0, "questions in company were answered otherwise than alone"
    page = (tmp_path / "bench-watch.html").read_text()
    assert "data:image/png;base64," in page and "src=http" not in page and page.count("<table>") >= 4
    assert Image.open(tmp_path / "bench-watch.png").size == (1720, 920)
    report = [line for line in said if line.startswith("|")]

    again = list[str]()
    assert command.main(argv, again.append) == 0
    assert (tmp_path / "bench-watch.jsonl").read_text().splitlines() == lines, "a known stream was watched again"
    assert [line for line in again if line.startswith("|")] == report
    with pytest.raises(Trouble, match=r"days 1, now 2.*give another --out"):
        command.main([*argv, "--days", "2"], again.append)


def test_streams_watched_by_two_processes_are_answered_as_by_one(tmp_path: Path) -> None:
    none = [word for name in ("standing", "days", "stress", "glimpses", "occasions") for word in (f"--{name}", "0")]
    argv = ["--streams", "3", "--seconds", "30", "--moments", "1", "--questions", "3", *none]
    found = list[dict[str, list[dict[str, str]]]]()
    for workers in ("1", "2"):
        said, out = list[str](), tmp_path / workers
        assert command.main([*argv, "--workers", workers, "--out", str(out)], said.append) == 0
        lines = [json.loads(line) for line in (out / "bench-watch.jsonl").read_text().splitlines()[1:]]
        found.append({one["unit"]: [answer["said"] for answer in one["answered"]] for one in lines})
        units = [line.split(": ")[1].split(",")[0] for line in said if "questions, " in line]
        assert units == [one["unit"] for one in lines], "each stream is named when it is done"
    assert found[0] == found[1] and len(found[0]) == 3


def test_every_variant_is_asked_the_same(checkpoint: Checkpoint) -> None:
    show, unit = first_show(TINY)
    early = sorted(show.asks, key=lambda a: a.time_s)[:2]
    film = replace(show.film, shots=show.film.shots[:40])
    panel = Variants(checkpoint, film.wall_s, variants.VARIANTS)
    outcome = watch(unit, film, early, {}, panel, TorchVision(checkpoint))
    assert len(outcome.answered) == 2
    assert all(set(one.said) == set(variants.VARIANTS) for one in outcome.answered)
    admitted = {name: seat.memory.holdings().frames_seen for name, seat in panel.seats.items()}
    assert admitted.pop("gate off") == 40 > outcome.kept.admitted
    assert set(admitted.values()) == {outcome.kept.admitted}


# Causality.


class Logging(Panel):
    """A panel that notes in which order it saw and was asked."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint, 0.0)
        self.newest_s = -1.0
        self.asked: list[tuple[float, float]] = []

    def see(self, time_s: float, tokens: Tokens | None, *, admitted: bool) -> None:
        self.newest_s = time_s
        super().see(time_s, tokens, admitted=admitted)

    def ask(self, item: Item, now_s: float, systems: tuple[str, ...]) -> dict[str, Heard]:  # type: ignore[override]
        self.asked.append((now_s, self.newest_s))
        return super().ask(item, now_s, systems)


def test_a_question_is_put_when_its_frame_was_the_newest(checkpoint: Checkpoint) -> None:
    show, unit = first_show(TINY)
    panel = Logging(checkpoint)
    outcome = watch(unit, show.film, show.asks, {}, panel, TorchVision(checkpoint))
    assert len(outcome.answered) == len(show.asks) == len(panel.asked) > 3
    assert all(now == newest for now, newest in panel.asked)


def test_an_answer_does_not_depend_on_what_comes_later(checkpoint: Checkpoint) -> None:
    show, unit = first_show(TINY)
    until = sorted(a.time_s for a in show.asks)[len(show.asks) // 2]
    early = [a for a in show.asks if a.time_s <= until]
    cut = replace(show.film, shots=tuple(s for s in show.film.shots if s.time_s <= until))
    whole = watch(unit, show.film, early, {}, Panel(checkpoint, show.film.wall_s), TorchVision(checkpoint))
    short = watch(unit, cut, early, {}, Panel(checkpoint, show.film.wall_s), TorchVision(checkpoint))
    assert [one.said for one in whole.answered] == [one.said for one in short.answered]


def test_truth_at_a_moment_knows_nothing_later() -> None:
    """Every planned answer is what a history that ends there says; but for where things will leave."""
    show, _ = first_show(replace(TINY, seconds=120.0, moments=4))
    checked = 0
    for a in show.asks:
        if a.item.kind == "leaving" or (a.task == "in time" and not a.item.there):
            continue
        shot = next(s for s in show.film.shots if s.time_s == a.time_s)
        start = shot.at_s - shot.time_s
        fresh = History.from_script(shot.script, start, shot.at_s, show.film.fps).moved(-start)
        found: set[tuple[str, str]] = set()
        for seed in range(40):  # near misses and the single last of a kind are drawn by lot
            for c in asks.candidates(a.item.kind, fresh, np.random.default_rng(seed), show.film.wall_s):
                found |= {(asks.as_item(a.item.kind, c, phrase).text, c.answer) for phrase in range(asks.PHRASING)}
        if a.item.there and a.item.span is None:  # minutes and what was not there are drawn by lot
            assert (a.item.text, a.item.answer) in found
            checked += 1
    assert checked > 10


def first_show(plan: Plan):
    unit = next(iter(plans.units(plan)))
    return Programme(plan).show(unit), unit


def test_a_plan_asks_the_same_again() -> None:
    plan = replace(TINY, streams=2, standing=2, days=1, day_s=4000.0, day_moments=2, glimpses=1, stress=1)
    first, second = Programme(plan), Programme(plan)
    asked = [first.show(unit).asks for unit in plans.units(plan)]
    assert asked == [second.show(unit).asks for unit in plans.units(plan)]
    assert all(asked)


def test_splits_never_meet() -> None:
    plan = replace(TINY, streams=3, days=2, stress=1, glimpses=1, ablation_streams=1, ablation_days=1)
    seeds = {split: {u.seed for u in plans.units(replace(plan, split=split))} for split in plans.SPLITS}
    assert not seeds["test"] & seeds["train"] and not seeds["test"] & seeds["validation"]
    for split, found in seeds.items():
        assert all(seed in plans.SPLITS[split] for seed in found)
    short = [u.seed for u in plans.units(plan)]
    assert len({u.name for u in plans.units(plan)}) == len(short)


# Films.


def test_a_day_leaps_through_empty_hours() -> None:
    film = films.day(plans.SPLITS["test"][100_000], 3 * 3600.0, 2.0)
    times = [shot.time_s for shot in film.shots]
    assert times == sorted(times) and times[-1] > 2 * 3600
    for shot in film.shots:
        busy = [run for run in film.truth.runs if run.start_s <= shot.time_s <= run.last_s]
        assert bool(busy) != isinstance(shot.script, films.Quiet)
        assert shot.at_s == shot.time_s
    quiet = [shot for shot in film.shots if isinstance(shot.script, films.Quiet)]
    assert len(quiet) > 5 and all(not visible(shot.script, shot.at_s, least=0) for shot in quiet)
    assert sum(bool(run.tracks) for run in film.truth.runs) > len(film.truth.runs) / 2
    assert len(film.shots) < times[-1] / 3, "media time did not leap"


def test_a_glimpse_is_two_frames_of_something() -> None:
    film = films.glimpse(plans.SPLITS["test"][300_000], 2.0)
    first = film.picture(0)
    other = [i for i in range(len(film.shots)) if not np.array_equal(film.picture(i), first)]
    assert len(other) == 2 and other[1] == other[0] + 1
    ((track,),) = (run.tracks for run in film.truth.runs)
    assert [sample.t for sample in track.samples] == [film.shots[i].time_s for i in other]


def test_stress_tells_the_same_story_and_asks_the_same() -> None:
    plan = replace(TINY, streams=0, stress=1, stress_seconds=60.0)
    programme = Programme(plan)
    shows = {unit.variant: programme.show(unit) for unit in plans.units(plan)}
    plain = [(a.time_s, a.item.text, a.item.answer) for a in shows["fair weather"].asks]
    assert len(plain) > 10
    for variant in ("night", "noise", "camera shake", "compression", "unseen style"):
        assert [(a.time_s, a.item.text, a.item.answer) for a in shows[variant].asks] == plain
        assert not np.array_equal(shows[variant].film.picture(20), shows["fair weather"].film.picture(20))


# Forward.


def test_in_time_asks_before_anything_showed_and_after() -> None:
    film = films.draw_short(plans.SPLITS["test"][0], 120.0, 2.0)
    times = [float(t) for t in range(10, 121, 10)]
    found = list(asks.in_time(film, times, np.random.default_rng(0), most=20))
    assert len(found) >= 4
    for before, after in zip(found[::2], found[1::2], strict=True):
        assert before.group == after.group and before.item.text == after.item.text
        assert before.time_s < after.time_s and before.item.answer in {"no", "not seen"} != {after.item.answer}
        ((kind, colour),) = after.item.named
        early = [k for run in film.truth.until(before.time_s).runs for k in run.tracks if k.kind == kind and k.trace]
        assert not [k for k in early if colour in {None, k.colour}]


def test_drift_changes_its_answer_each_time() -> None:
    film = films.day(plans.SPLITS["test"][100_000], 4 * 3600.0, 2.0)
    found = list(asks.drift(film, [run.last_s for run in film.truth.runs], np.random.default_rng(0), most=9))
    groups: dict[str, list[Ask]] = {}
    for a in found:
        groups.setdefault(a.group, []).append(a)
    assert groups
    for three in groups.values():
        assert len(three) == 3 and len({a.item.text for a in three}) == 1
        assert three[0].item.answer != three[1].item.answer != three[2].item.answer


def test_the_truth_gets_full_marks() -> None:
    """All rows are full and each goal is met, but for the margin over floors that say the truth as well."""
    plan = replace(TINY, streams=3, seconds=150.0, standing=3, days=1, day_s=5 * 3600.0, day_moments=4, glimpses=1)
    programme, outcomes = Programme(plan), []
    for unit in plans.units(plan):
        show = programme.show(unit)
        found = [
            answered_by(unit, show.film, a, {name: Heard(true_words(a, show.film.wall_s), 1.0, 9) for name in SYSTEMS})
            for a in show.asks
        ]
        kept = Kept(show.film.seconds, 10, 9, 25, 1e6, 500, 400, 150, 100, 1)
        outcomes.append(Outcome(unit.name, unit.sort, 1.0, 1.0, found, kept, show.standing))
    numbers = report(plan, "truth", outcomes).numbers
    assert {"past: drift, thrice right", "forward: running now, balanced", "past: when"} <= set(numbers["rows"])
    for rows in (numbers["rows"], numbers["stress"]):
        assert all(share["right"] == 1.0 for row in rows.values() for share in row["shares"].values())
    assert numbers["standing"][LONGWATCH]["appearances"] and numbers["standing"][LONGWATCH]["f1"] == 1.0
    blind = [row["blind"] for name, row in numbers["rows"].items() if name in {"all past", "all present"}]
    assert max(blind) < 0.75, "guessing pays"
    missed = [goal["name"] for goal in numbers["goals"] if goal["met"] is False and "points over" not in goal["name"]]
    assert not missed


def true_words(a: Ask, wall_s: float) -> str:
    if a.item.time_s is None:
        return a.item.answer
    return datetime.fromtimestamp(wall_s + a.item.time_s, UTC).strftime("%H:%M:%S")


# Evidence, variants, results.


def look(time_s: float, *, told: bool = True) -> Look:
    embeds = torch.zeros(1, 4)
    tokens = Tokens(embeds, torch.zeros(1, 3, dtype=torch.int32), torch.ones(1), (1, 1), (time_s, time_s))
    return Look(time_s, tokens if told else None)


def test_the_oracle_sees_the_evidence_and_what_still_stood_there() -> None:
    looks = [look(0), look(1), look(2, told=False), look(3, told=False), look(4), look(5)]
    assert [one.time_s for one in evidence(looks, 2, 4)] == [1, 2, 3, 4]
    assert [one.time_s for one in evidence(looks, 4, 9)] == [4, 5]
    assert evidence(looks, 6, 9) == []


def test_the_floors_see_the_last_pictures() -> None:
    looks = [look(0), look(1), look(2, told=False), look(3), look(4, told=False), look(5, told=False)]
    assert [one.time_s for one in recent(looks, 1)] == [3, 5]
    assert [one.time_s for one in recent(looks, 2)] == [1, 3, 5]
    assert [one.time_s for one in recent(looks[:2], 7)] == [0, 1]


def test_variants_change_what_they_say(checkpoint: Checkpoint) -> None:
    trained = checkpoint.cross_dynamics
    before = {name: t.clone() for name, t in trained.state_dict().items()}
    embeds, motion, mass = torch.randn(5, checkpoint.dim), torch.randn(5, 26), torch.ones(5)
    rows = Rows(embeds, mass, motion, torch.ones(5, 1), torch.arange(5), (1, 1), (0.0, 1.0), 1, 5.0)
    with torch.no_grad():
        assert torch.equal(variants.without_map(trained)(rows), embeds)
        fresh, again = variants.untrained(trained), variants.untrained(trained)
        assert torch.equal(fresh(rows), again(rows)) and not torch.allclose(fresh(rows), trained(rows))
        assert torch.equal(fresh.gate, trained.gate)
        assert not torch.allclose(variants.shuffled(trained)(rows), trained(rows))
        alike = replace(rows, motion=motion[:1].expand(5, 26))  # nothing to be shuffled
        assert torch.allclose(variants.shuffled(trained)(alike), trained(alike))
    assert all(torch.equal(t, before[name]) for name, t in trained.state_dict().items())


def test_codes_by_lot_keep_mass_and_number() -> None:
    base = variants.RandomBase(64, 8, 16, 0.05)
    tokens = torch.randn(50, 16)
    assigned = base.assign(tokens, torch.ones(50))
    assert int(assigned.slots.max()) < 8 and assigned.opened == int(base.alive.sum()) <= 8
    assert float(base.weights.sum()) == pytest.approx(50.0)
    other = variants.RandomBase(64, 8, 16, 0.05).assign(tokens, torch.ones(50))
    assert torch.equal(assigned.slots, other.slots)


def test_results_survive_a_kill_and_refuse_another_plan(tmp_path: Path) -> None:
    path, what = tmp_path / "r.jsonl", {"plan": {"streams": 2}, "model": {"model": "m"}}
    outcome = Outcome(
        "short 1",
        "short",
        1.0,
        0.9,
        [Answered("seen", "past", "Was there?", "yes", {LONGWATCH: "no"}, 100.0, 0.0, task="drift", group="g")],
        Kept(1.0, 1, 1, 25, 50.0, 5, 5, 2, 5, 9),
        {"g": [Visit(1.0, 0.5, 2.0)]},
        (8, 8),
    )
    Results(path, what).add(outcome)
    with path.open("a") as file:
        file.write('{"unit": "short 2", "answ')  # killed while it wrote
    found = Results(path, what)
    assert found.outcomes == {"short 1": outcome}
    found.add(replace(outcome, unit="short 2"))
    assert list(Results(path, what).outcomes) == ["short 1", "short 2"]
    with pytest.raises(OtherPlan, match="streams 2, now 3"):
        Results(path, {"plan": {"streams": 3}, "model": {"model": "m"}})
