"""All methods at equal budgets: the whole way, what a budget is, and that its arithmetic is right."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench._results import OtherPlan
from bench.methods import command
from bench.methods import plan as plans
from bench.methods.budgeted import FEWEST, Budgeted, stretched
from bench.methods.figures import FIGURES, Figure, over, summary
from bench.methods.flops import costs_of, tower_merging
from bench.methods.page import BEGIN, END, with_block
from bench.methods.plan import EVERY_TOKEN, LAST_4, NO_PICTURE, Plan, Setting, Sight
from bench.methods.results import Results
from bench.methods.tape import Tape, asked, record
from bench.methods.trial import Bench, Reply, Trial, as_trial
from models.backbone import Backbone
from models.checkpoint import Checkpoint
from models.kv.prune import Policy
from models.memory import MemoryConfig
from models.perception import PerceptionConfig
from models.reducers.registry import OURS, REDUCERS, SALIENT
from models.vision.torch_tower import see
from stream.cli.console import Trouble
from stream.config.schema import ModelConfig
from stream.flow import Tokens

TINY = Plan(streams=1, seconds=12.0, moments=1, questions=2)
PAGE = f"# Methods\n\nbefore\n\n{BEGIN}\n\nas it was\n\n{END}\n\nafter\n"


@pytest.fixture(scope="module")
def tape(checkpoint: Checkpoint) -> Tape:
    return record(*asked(TINY)[0], checkpoint, time.process_time)


# The whole way.


def test_the_small_plan_from_first_frame_to_page(tmp_path: Path) -> None:
    said, page = list[str](), tmp_path / "methods.md"
    page.write_text(PAGE, "utf-8")
    argv = ["--small", "--out", str(tmp_path), "--write", str(page)]
    assert command.main(argv, said.append) == 0
    numbers = json.loads((tmp_path / "bench-methods.json").read_text())
    lines = (tmp_path / "bench-methods.jsonl").read_text().splitlines()
    found = {(one["method"], one["share"]): one for one in numbers["settings"]}
    assert {(name, share) for name in REDUCERS for share in plans.SMALL_SHARES} < set(found)
    assert {(EVERY_TOKEN, 1.0), (LAST_4, 0.0), (NO_PICTURE, 0.0)} < set(found)
    assert len(found) == len(lines) - 1
    raw = (plans.SMALL.seconds * plans.SMALL.fps + 1) * 36
    for (method, share), one in found.items():
        assert all(s["low"] <= s["right"] <= s["high"] for s in one["right"].values()), method
        assert one["count"] == numbers["settings"][0]["count"], "not all were asked the same"
        kept = one["figures"]["kept_of_raw"]["mean"]
        row_each = one["segments"] / raw  # segments have a row at least, and halves of rows are rounded
        assert kept <= max(share + row_each / 2, row_each), (method, share)
    assert found[EVERY_TOKEN, 1.0]["figures"]["kept_of_raw"]["mean"] == 1
    assert Image.open(tmp_path / "bench-methods.png").size == (2360, 1040)
    written = page.read_text("utf-8")
    assert written.startswith("# Methods\n\nbefore\n") and written.endswith(f"{END}\n\nafter\n")
    assert "as it was" not in written and all(f"| {name} |" in written for name in REDUCERS if name != OURS)
    report = [line for line in said if line.startswith("|")]

    again = list[str]()
    assert command.main(argv, again.append) == 0
    assert (tmp_path / "bench-methods.jsonl").read_text().splitlines() == lines, "what is known was done again"
    assert [line for line in again if line.startswith("|")] == report
    with pytest.raises(Trouble, match=r"streams.*give another --out"):
        command.main([*argv, "--streams", "2"], again.append)


def test_methods_and_budgets_can_be_added_later(tmp_path: Path) -> None:
    sizes = ["--streams", "1", "--seconds", "12", "--moments", "1", "--questions", "2", "--reducers-only"]
    argv = [*sizes, "--out", str(tmp_path), "--budgets", "10", "--reducers"]
    assert command.main([*argv, "uniform"], lambda _: None) == 0
    first = (tmp_path / "bench-methods.jsonl").read_text()
    assert command.main([*argv, "uniform", "random"], lambda _: None) == 0
    both = (tmp_path / "bench-methods.jsonl").read_text()
    assert both.startswith(first)
    assert [json.loads(line)["method"] for line in both[len(first) :].splitlines()] == ["random"]


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--reducers", "magic"], "no reducer 'magic'"),
        (["--budgets", "0"], "above 0"),
        (["--budgets", "120"], "at most 100 %, not 120 %"),
        (["--write", "nowhere.md"], "nowhere.md cannot be written"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(argv: list[str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(Trouble, match=sentence):
        command.main([*argv, "--out", str(tmp_path)], lambda _: None)
    assert not list(tmp_path.iterdir())


# What is compared.


def test_every_word_that_a_configuration_may_give_is_measured() -> None:
    found = plans.settings(plans.all_reducers(), plans.SHARES, plans.EXTRA_SHARE)
    assert len({one.name for one in found}) == len(found)
    assert {one.method for one in found if one.group == "reducer"} == set(REDUCERS)
    assert plans.all_reducers()[0] == OURS
    policies = {str(one.config["policy"]) for one in found if one.group == "policy"}
    assert policies == set(Policy.__args__)  # type: ignore[attr-defined]
    assert {one.method for one in found if one.sight.salient} == SALIENT & set(REDUCERS)
    assert {one.tower for one in found} >= {"none", *plans.words("tower_merge", ModelConfig)}
    for group in ("inner", "decode"):
        mine = {str(one.config[group]) for one in found if one.group == group}
        assert mine == set(plans.words(group)) - {getattr(MemoryConfig(), group, None)}


def test_a_budget_too_small_for_a_segment_gets_longer_segments() -> None:
    usual = PerceptionConfig()
    assert stretched(usual, 0.10, 36, 2.0) == replace(usual, fused_tokens=58)
    assert stretched(usual, 1.0, 36, 2.0).fused_tokens == 16 * 36
    tiny = stretched(usual, 0.0007, 36, 2.0)
    assert tiny.fused_tokens == FEWEST
    assert FEWEST <= 0.0007 * tiny.segment_frames * 36 < FEWEST + 0.1
    assert tiny.map_frames >= tiny.segment_frames and tiny.segment_s == tiny.segment_frames / 2


def test_a_segment_that_closes_early_gets_no_more_than_its_share() -> None:
    grid, dim = (2, 2), 8
    config = stretched(PerceptionConfig(reducer="uniform"), 0.5, 4, 2.0)
    seen = Budgeted(config, dim, grid, 0.5, time.process_time)
    torch.manual_seed(0)
    one, other = torch.randn(4, dim), torch.randn(4, dim)
    pictures = [one, one, one, other, other, other, other, other]  # a cut after three frames
    closed = [rows for i, p in enumerate(pictures) if (rows := seen.see(_frame(p, grid, i / 2))) is not None]
    assert [len(rows.mass) for rows in closed] == [6]
    assert seen.rows_given() == 6 + 10
    assert (seen.closed_segments, seen.closed_frames, seen.open_frames) == (1, 3, 5)


def _frame(embeds: torch.Tensor, grid: tuple[int, int], time_s: float) -> Tokens:
    places = torch.tensor([(0, y, x) for y in range(grid[0]) for x in range(grid[1])], dtype=torch.int32)
    return Tokens(embeds, places, torch.ones(len(embeds)), grid, (time_s, time_s))


def test_a_trial_says_what_was_kept_and_asked(checkpoint: Checkpoint, tape: Tape) -> None:
    bench = Bench(checkpoint, time.process_time)
    found = {
        one.method: bench.run(one, tape)
        for one in (
            Setting(NO_PICTURE, "floor", 0.0),
            Setting(LAST_4, "floor", 0.0),
            Setting(EVERY_TOKEN, "whole", 1.0, {"reducer": "uniform"}),
            Setting("ours", "reducer", 0.1, {"reducer": OURS}),
            Setting("gated", "gate", 0.1, {"reducer": OURS}, gated=True),
            Setting("crowded", "policy", 0.1, {"policy": "window", "recall": False}, crowded=1 / 3),
            Setting("adaptive", "length", 0.1, {"length": "adaptive"}),
        )
    }
    texts = {tuple(reply.text for reply in one.replies) for one in found.values()}
    assert texts == {tuple(a.item.text for a in tape.asks)}
    raw = len(tape.tokens) * 36
    assert found[EVERY_TOKEN].rows == found[EVERY_TOKEN].raw == raw
    assert abs(found["ours"].rows - 0.1 * raw) <= found["ours"].segments
    assert found["gated"].rows < found["ours"].rows and found["gated"].tower_flops < found["ours"].tower_flops
    assert 0 < found["adaptive"].rows <= found["ours"].rows
    assert found["crowded"].rows == found["ours"].rows
    assert found[NO_PICTURE].rows == found[LAST_4].rows == 0
    reach = [found[name].replies[-1].reach for name in (NO_PICTURE, LAST_4, "ours", EVERY_TOKEN)]
    assert reach == sorted(reach) and reach[1] - reach[0] >= 4 * 36
    assert found[EVERY_TOKEN].replies[-1].reach > raw - 2 * 4 * 36
    assert found["ours"].bytes < found[EVERY_TOKEN].bytes
    assert as_trial(json.loads(json.dumps(_plain(found["ours"])))) == found["ours"]


def _plain(trial: Trial) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(trial)


def test_a_tower_that_tells_shows_the_same_tokens(checkpoint: Checkpoint, tape: Tape) -> None:
    telling = record(*asked(TINY)[0], checkpoint, time.process_time, Sight("none", True))
    assert tape.tokens[5].saliency is None
    assert telling.tokens[5].saliency is not None and telling.tokens[5].saliency.shape == (36,)
    assert torch.allclose(telling.tokens[5].embeds, tape.tokens[5].embeds, atol=1e-4)
    merging = record(*asked(TINY)[0], checkpoint, time.process_time, Sight("tome"))
    assert not torch.allclose(merging.tokens[5].embeds, tape.tokens[5].embeds, atol=1e-2)


# Figures.


def test_operations_are_those_that_torch_counts(checkpoint: Checkpoint) -> None:
    costs = costs_of(checkpoint)
    # the fused attention of the CPU is not counted by torch, its plain form is
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as tower:
        see(checkpoint.model, torch.zeros(1, 3, 144, 144))
    assert tower.get_total_flops() == pytest.approx(costs.tower, rel=0.02)
    assert tower_merging(checkpoint, [0, 0, 0, 0]) == costs.tower
    vision = checkpoint.model.config.vision_config
    attention = 8 * vision.hidden_size**2  # of a patch: query, key, value and output
    mlp = 4 * vision.hidden_size * vision.intermediate_size
    once = 40 * mlp + 3 * 40 * (attention + mlp) + 3 * 4 * (144**2 - 104**2) * vision.hidden_size
    assert tower_merging(checkpoint, [40, 0, 0, 0]) == costs.tower - once
    backbone = Backbone(checkpoint)
    tail, rows = backbone.tail(240), torch.randn(200, backbone.dim)
    backbone.read(rows, tail, range(200))
    with FlopCounterMode(display=False) as word:
        hidden, _ = backbone.read(rows[:1], tail, [200])
        backbone.logits(hidden)
    assert word.get_total_flops() == pytest.approx(costs.word(200), rel=0.02)
    assert costs.prefill(3, 10) == pytest.approx(sum(costs.prefill(1, 10 + i) for i in range(3)))


def test_figures_have_their_spread_over_streams() -> None:
    assert over([]) is None and over([2.0]) == Figure(2.0)
    assert over([1.0, 3.0]) == Figure(2.0, 2**0.5)
    assert Figure(1234.5, 67.8).text(0) == "1 234 ± 68" and Figure(0.5).text(1, 0.01) == "50.0"
    one, other = _trial("a", [True, True, False, True]), _trial("b", [False, False])
    found = summary([one, other])
    assert found.right["all"].right == 0.5 and found.count == {"past": 6, "all": 6}
    assert found.spread["past"].mean == 0.375
    assert found.spread["past"].spread == pytest.approx(0.75 / 2**0.5)
    assert set(found.figures) == set(FIGURES)


def _trial(unit: str, right: list[bool]) -> Trial:
    replies = [Reply("seen", "past", "?", "yes", "yes", one, 100, 30.0, 6.0, 1e9, 1e7) for one in right]
    return Trial(
        unit, "m", "reducer", 0.1, 60.0, 1000, 100, 3, 8.0, 120, 999, 0, 13.0, 1.0, 2.0, 1.0, 1.0, 1.0, replies
    )


def test_results_are_whole_lines_of_one_plan(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    results = Results(file, {"plan": 1})
    results.add(_trial("a", [True]))
    file.write_text(file.read_text() + '{"unit": "b", "meth')  # ended while it wrote
    assert Results(file, {"plan": 1}).trials == results.trials
    assert len(file.read_text().splitlines()) == 2
    with pytest.raises(OtherPlan, match="plan 1, now 2"):
        Results(file, {"plan": 2})


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}", PAGE + BEGIN, PAGE + END])
def test_a_page_without_its_two_comments_is_left_alone(text: str) -> None:
    with pytest.raises(ValueError, match="it must have the line"):
        with_block(text, ["new"])


def test_the_page_of_methods_has_its_place_and_names_every_method() -> None:
    page = (Path(command.__file__).parents[2] / "docs" / "methods.md").read_text("utf-8")
    assert with_block(page, ["new"]).count("new") >= 1
    for name in (
        *REDUCERS,
        *plans.words("policy"),
        *plans.words("inner"),
        *plans.words("decode"),
        *plans.words("tower_merge", ModelConfig),
    ):
        assert f"`{name}`" in page, f"docs/methods.md does not say what {name} is"
