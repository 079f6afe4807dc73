"""Lessons are made beside the training: in one order however many make them, and as memory would show them."""

from __future__ import annotations

from itertools import islice
from typing import Any, cast

import numpy as np
import pytest
import torch

from models.checkpoint import BUNDLED, Checkpoint, open_checkpoint
from models.perception import Perception
from models.prompt import Layout
from models.rows import MOTION_FEATURES, Rows
from models.training.batch import Batch, make_batch
from models.training.feed import feed
from models.training.histories import ALIKE, HOT, OFTENER, PRESENT, RECALLED, History, _hardest, compose, look_back
from models.training.language import _Students
from models.training.lessons import Teacher
from models.training.main import perception_config
from models.training.packing import Packer
from models.training.pictures import painted
from models.training.pointing import Pointer, fit_probe
from models.training.syllabus import LanguagePlan
from models.training.tokens import Moment, RunTokens, close, encode_run
from models.vision.torch_tower import TorchVision
from stream.sources.simulated.teacher import SimulatedTeacher

RUNS = 18  # so many that recall has to leave some out


@pytest.fixture(scope="module")
def bundled() -> Checkpoint:
    return open_checkpoint(BUNDLED)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return cast("Teacher", SimulatedTeacher())


@pytest.fixture(scope="module")
def runs(bundled: Checkpoint, teacher: Teacher) -> list[RunTokens]:
    """A few real ones: seven minutes of video in all."""
    encoder, found = TorchVision(bundled), []
    for seed in range(RUNS):
        eyes = Perception(perception_config(), bundled.dim, bundled.grid)
        found.append(encode_run(encoder, eyes, teacher.run(seed, 24.0, 1.0), 2, np.random.default_rng(seed)))
    return found


@pytest.fixture(scope="module")
def pointer(bundled: Checkpoint, teacher: Teacher) -> Pointer:
    return Pointer(bundled, teacher, fit_probe(bundled, teacher, pictures=240, seed=3))


def packed(bundled: Checkpoint, pointer: Pointer, histories: list[History]) -> Batch:
    layout = Layout(bundled.tokenizer, int(bundled.model.config.video_token_id))
    return make_batch(histories, Packer(layout, int(bundled.tokenizer.eos_token_id)), pointer)


def test_lots_come_in_one_order_however_many_paint(bundled: Checkpoint, teacher: Teacher) -> None:
    alone = list(islice(painted(bundled, teacher, 5), 2))
    beside = list(islice(painted(bundled, teacher, 5, workers=2), 2))
    for (pixels, labels), (others, others_labels) in zip(alone, beside, strict=True):
        assert torch.equal(pixels, others) and torch.equal(labels, others_labels)
    assert not torch.equal(alone[0][0], alone[1][0])


def test_a_batch_made_by_another_process_is_the_same(
    bundled: Checkpoint, runs: list[RunTokens], pointer: Pointer
) -> None:
    def make(number: int, of: int) -> Any:
        for seed in range(number, 4, of):
            rng = np.random.default_rng(seed)
            fresh = cast("Teacher", SimulatedTeacher())  # a teacher keeps its answers even: each begins anew
            yield packed(bundled, pointer, [compose(runs, fresh, rng, 1, 12, pointer.rank)])

    for here, there in zip(feed(make, 0), feed(make, 2), strict=True):
        assert torch.equal(here.packed.ids, there.packed.ids) and here.kinds == there.kinds
        assert torch.equal(here.shown.order, there.shown.order)
        assert torch.equal(here.looks[1].wanted, there.looks[1].wanted)


def test_hours_are_seen_as_recall_shows_them(teacher: Teacher, runs: list[RunTokens], pointer: Pointer) -> None:
    asked = 0
    for seed in range(6):
        history = look_back(runs, teacher, np.random.default_rng(seed), RUNS - 1, 5, pointer.rank)
        reached = frozenset().union(*history.reach)
        assert reached == frozenset(range(len(history.blocks))), "what no question looks at is not laid out"
        for item, reach in zip(history.items, history.reach, strict=True):
            assert item.mode == "past" and reach
            if item.span is not None:
                continue
            asked += 1
            assert len(reach) <= HOT + RECALLED
            if item.there:
                a, b = item.evidence_span
                spans = [history.blocks[i].span_s for i in reach]
                assert any(start <= b and end >= a for start, end in spans), item.text
    assert asked >= 10


def test_the_present_is_asked_about_as_it_is_read_when_deployed(teacher: Teacher, runs: list[RunTokens]) -> None:
    asked = 0
    for seed in range(6):
        history = compose(runs, teacher, np.random.default_rng(seed), 3, 24, lambda _item, blocks: [0.0] * len(blocks))
        newest = frozenset(range(max(0, len(history.blocks) - PRESENT), len(history.blocks)))
        for item, reach in zip(history.items, history.reach, strict=True):
            assert (reach == newest) == (item.mode == "present") and len(history.blocks) > PRESENT
            asked += item.mode == "present"
    assert asked > 10


def test_what_takes_hours_to_go_wrong_is_asked_oftener(teacher: Teacher, runs: list[RunTokens]) -> None:
    rng = np.random.default_rng(0)
    history = compose(runs, teacher, rng, RUNS - 1, 40, lambda _item, blocks: [0.0] * len(blocks))
    past = [item for item in history.items if item.mode == "past"]
    often = sum(item.kind in OFTENER for item in past) / len(past)
    chosen = [item for _ in range(200) for item in _hardest(past, 2, rng)]
    assert 0 < often < sum(item.kind in OFTENER for item in chosen) / len(chosen) - 0.1
    assert {id(item) for item in _hardest(past, 999, rng)} == {id(item) for item in past} and _hardest([], 3, rng) == []


def test_what_looks_like_the_thing_is_recalled_first(runs: list[RunTokens], pointer: Pointer, teacher: Teacher) -> None:
    recalled, left = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        history = compose(runs, teacher, rng, RUNS - 1, 24, pointer.rank)
        older = range(len(history.blocks) - HOT)
        for item, reach in zip(history.items, history.reach, strict=True):
            if item.span is None and item.mode == "past" and not item.there and item.named:
                scores = pointer.rank(item, [history.blocks[i].rows for i in older])
                recalled += [scores[i] for i in older if i in reach]
                left += [scores[i] for i in older if i not in reach]
    assert len(recalled) > 20 and max(recalled) > ALIKE
    assert sum(recalled) / len(recalled) > 2 * sum(left) / len(left)


def test_one_masked_call_is_all_histories_one_after_the_other(
    bundled: Checkpoint, teacher: Teacher, runs: list[RunTokens], monkeypatch: pytest.MonkeyPatch
) -> None:
    students = _Students(bundled, teacher, runs, LanguagePlan(probe_pictures=120))
    histories = [
        compose(runs, teacher, np.random.default_rng(seed), seed, 10, students.pointer.rank) for seed in (0, 3)
    ]
    batch = packed(bundled, students.pointer, histories)
    _, apart = students.loss(batch)
    monkeypatch.setattr(type(batch.packed.tails), "at_once", property(lambda _: True))
    _, at_once = students.loss(batch)
    torch.testing.assert_close(at_once, apart, rtol=1e-4, atol=1e-5)
    batch.packed.tails.whole[:] = torch.ones_like(batch.packed.tails.whole).tril()  # questions see one another
    _, wrong = students.loss(batch)
    assert not torch.allclose(wrong, apart, rtol=1e-3)


def test_a_segment_that_says_nothing_new_lengthens_the_one_before_and_never_beyond_now(teacher: Teacher) -> None:
    def rows(start_s: float, end_s: float, count: int) -> Rows:
        some, motion = torch.randn(count, 8), torch.zeros(count, MOTION_FEATURES)
        span_s = start_s, end_s
        return Rows(some, torch.ones(count), motion, some[:, :1], torch.arange(count), (1, 1), span_s, 4, 9.0)

    closed = list[Rows]()
    for part in (rows(0, 9, 0), rows(10, 19, 3), rows(20, 29, 0), rows(30, 39, 0), rows(40, 49, 2)):
        close(closed, part)
    assert [(part.span_s, len(part.embeds)) for part in closed] == [((10, 39), 3), ((40, 49), 2)]
    truth = teacher.run(0, 24.0, 1.0).truth
    early = RunTokens(truth, 24.0, closed, [Moment(24.0, 1, None, [rows(24, 24, 1)])])
    history = compose([early], teacher, np.random.default_rng(0), 0, 4, lambda _item, blocks: [0.0] * len(blocks))
    assert [block.span_s for block in history.blocks] == [(10, 24)], "at 24 s nobody knows how long it will last"
