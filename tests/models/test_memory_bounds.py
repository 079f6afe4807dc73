"""Nothing grows and nothing is lost from the books: byte cap, conservation, tiers, pins, static nights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from models.answerer import TextAnswerer
from models.kv import prune
from models.kv.budget import MemoryConfig, parse_bytes
from models.kv.fork import View
from models.kv.tiers import Tiers
from models.memory import Crowded
from stream.flow import Piece
from tests.models.exact import check
from tests.models.scripted import ask, frame, memory

SMALL: dict[str, Any] = {
    "budget": "1536KiB",
    "hot_blocks": 4,
    "warm_fraction": 0.05,
    "cold_fraction": 0.02,
    "max_forks": 3,
    "recall_blocks": 2,
}


class Life(RuleBasedStateMachine):
    """Any order of frames, pauses, questions, answers, pins and forgetting."""

    @initialize(
        policy=st.sampled_from(get_args(prune.Policy)),
        where=st.sampled_from(["lazy_rebase", "contiguous"]),
        bits=st.sampled_from([16, 8, 6]),
    )
    def start(self, policy: str, where: str, bits: int) -> None:
        self.mem = memory(policy=policy, positions=where, warm_bits=bits, static=frozenset({3, 9, 10}), **SMALL)
        self.mem._hot.positions.highest = 220
        self.index = 0
        self.forks: list[tuple[View, Iterator[Piece]]] = []

    @rule(count=st.integers(1, 12))
    def frames(self, count: int) -> None:
        for _ in range(count):
            self.mem.append(frame(self.index))
            self.index += 1
            check(self.mem)

    @rule(seconds=st.integers(1, 4000))
    def pause(self, seconds: int) -> None:
        self.index += seconds
        self.mem.hold(float(self.index - 1))

    @rule(
        text=st.sampled_from(["what is there?", "what was there before?", "what happened 1 minute ago?"]),
        spanned=st.booleans(),
    )
    def fork(self, text: str, spanned: bool) -> None:
        span = (max(0.0, self.mem.seen_s - 30), self.mem.seen_s - 5) if spanned and self.mem.seen_s > 40 else None
        try:
            view = self.mem.fork(ask(text, span_s=span, max_tokens=3))
        except Crowded:
            return
        self.forks.append((view, TextAnswerer(self.mem.backbone).answer(view)))

    @precondition(lambda self: self.forks)
    @rule(which=st.integers(0, 7), whole=st.booleans())
    def answer(self, which: int, whole: bool) -> None:
        view, words = self.forks[which % len(self.forks)]
        with suppress(RuntimeError):  # sent off because memory moved on: allowed, and then it holds nothing any more
            for _ in words:
                if not whole:
                    return
        assert view.closed and not view.reserved
        self.forks.remove((view, words))
        self.mem.used(view)

    @precondition(lambda self: self.mem._hot.blocks)
    @rule(which=st.integers(0, 7), pinned=st.booleans())
    def pin(self, which: int, pinned: bool) -> None:
        ids = list(self.mem._hot.blocks)
        with suppress(ValueError):  # enough are pinned already
            self.mem.pin(ids[which % len(ids)], pinned=pinned)
        assert sum(e.pinned for e in self.mem.ledger.entries.values()) <= self.mem._hot.bound // 2

    @rule(really=st.integers(0, 9))
    def clear(self, really: int) -> None:
        if not really:
            self.mem.clear()

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "mem"):
            check(self.mem)


Life.TestCase.settings = settings(
    max_examples=8, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLife = Life.TestCase


def test_a_long_life_is_flat_and_covers_older_times_more_coarsely() -> None:
    mem = memory(**SMALL)
    sizes = []
    for index in range(300):
        mem.append(frame(index))
        if index % 50 == 49:
            check(mem)
            sizes.append(sum(mem.bytes_by_part().values()))
    assert sizes[-1] <= max(sizes[4:8]) * 1.02
    states = mem.ledger.tokens_by_state()
    assert states["warm"] and states["cold"] and states["merged"]
    cold = sorted((mem.ledger.entries[i] for i in mem._hot.tiers.cold), key=lambda e: e.from_s)
    assert min(e.from_s for e in mem.ledger.entries.values()) == 0.0, "the first minute is thinned, never forgotten"
    lengths = [e.until_s - e.from_s for e in cold]
    assert lengths[0] > lengths[-1]
    assert all(e.merges for e in cold[:2])


def test_without_bounds_the_cap_would_be_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    mem = memory(**SMALL)
    monkeypatch.setattr(Tiers, "fit", lambda *_: None)
    for index in range(420):
        mem.append(frame(index))
    with pytest.raises(AssertionError):
        check(mem)


def test_a_static_night_adds_no_token() -> None:
    mem = memory(static=frozenset(range(2, 100)))
    for index in range(60):
        mem.append(frame(index))
    held = mem.holdings()
    assert [r.id for r in held.blocks if r.state == "hot"] == [0, 1]
    assert held.blocks[1].span_s == (2.0, 57.0)
    assert held.blocks[1].patches == 4 * 56
    check(mem)


def test_pins_stay_and_sinks_stay() -> None:
    mem = memory(hot_blocks=4, policy="window")
    for index in range(6):
        mem.append(frame(index))
    mem.pin(0)
    for index in range(6, 80):
        mem.append(frame(index))
    assert 0 in mem._hot.blocks
    assert mem._hot.in_view()[0] is mem._sinks
    mem.pin(0, pinned=False)
    for index in range(80, 90):
        mem.append(frame(index))
    assert 0 not in mem._hot.blocks
    with pytest.raises(ValueError, match="not at hand"):
        mem.pin(0)


def test_strata_keep_old_and_new() -> None:
    facts = [prune.Facts(i, (63 - i) * 8.0, 0.5, 1.0, 0.0, 0.0, 0.0) for i in range(64)]
    kept = {f.id for f in facts} - {v[0] for v in prune.victims("score+strata", facts, 16, 0)}
    newest = {f.id for f in facts if f.age_s < 60}
    assert len(kept & newest) >= 4
    assert any(f.id in kept for f in facts if f.age_s > 400)
    assert {v[0] for v in prune.victims("window", facts, 16, 0)} == set(range(48))


def test_policies_repeat_themselves() -> None:
    for policy in get_args(prune.Policy):
        runs = [memory(policy=policy, seed=5) for _ in range(2)]
        for mem in runs:
            for index in range(60):
                mem.append(frame(index))
        assert runs[0].ledger.state() == runs[1].ledger.state()
    other = memory(policy="random", seed=6)
    for index in range(60):
        other.append(frame(index))
    same = memory(policy="random", seed=5)
    for index in range(60):
        same.append(frame(index))
    assert set(other._hot.blocks) != set(same._hot.blocks)


def test_every_term_moves_the_score() -> None:
    even: dict[str, Any] = {"age_s": 100.0, "novelty": 0.5, "mass": 1.0, "proxy": 0.1, "use": 0.0, "value": 1.0}
    for name in ("novelty", "mass", "proxy", "use", "value"):
        found = prune.scores([prune.Facts(0, **even), prune.Facts(1, **(even | {name: even[name] + 1}))])
        assert found[1] > found[0], name
    found = prune.scores([prune.Facts(0, **even), prune.Facts(1, **(even | {"age_s": 1.0}))])
    assert found[1] > found[0]


def test_a_budget_too_small_names_the_smallest_that_holds() -> None:
    with pytest.raises(ValueError, match="too small") as refusal:
        memory(budget="300KiB")
    least = str(refusal.value).split(" need ")[1].split(".")[0]
    memory(budget=least.replace(" ", ""))
    with pytest.raises(ValueError, match="too small"):
        memory(budget=parse_bytes(least.replace(" ", "")) // 2)


@pytest.mark.parametrize(
    ("settings_", "word"),
    [
        ({"hot_blocks": -1}, "hot_blocks"),
        ({"policy": "best"}, "policy"),
        ({"positions": "absolute"}, "positions"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"budget": "lots"}, "size in bytes"),
        ({"warm_fraction": 0.9, "cold_fraction": 0.2}, "no room"),
        ({"fused_min": 9, "fused_max": 3}, "fused_min"),
        ({"max_forks": 0}, "max_forks"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(settings_: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        MemoryConfig(**settings_)


def test_too_many_questions_are_refused() -> None:
    mem = memory(max_forks=3)
    mem.append(frame(0))
    views = [mem.fork(ask(id=str(i))) for i in range(3)]
    with pytest.raises(Crowded, match="already") as refusal:
        mem.fork(ask())
    assert refusal.value.status == "overloaded"
    views[0].close()
    mem.fork(ask())


def test_a_question_too_long_is_refused() -> None:
    mem = memory()
    mem.append(frame(0))
    with pytest.raises(ValueError, match="Ask it shorter"):
        mem.fork(ask("?!" * 2000))
    assert mem.bytes_by_part()["forks"] == 0


def test_clear_forgets_and_goes_on() -> None:
    mem, fresh = memory(), memory()
    for index in range(40):
        mem.append(frame(index))
    mem.clear()
    check(mem)
    assert mem.holdings().blocks == () and mem.holdings().covered_s is None
    for index in range(9):
        mem.append(frame(index))
        fresh.append(frame(index))
    assert mem.ledger.state() == fresh.ledger.state()
