"""Rows tell where things were, loudly; and how large a row is decides only how much of it is seen behind the layers."""

from __future__ import annotations

from typing import cast

import torch
from torch.nn.functional import normalize

from models.checkpoint import BUNDLED, open_checkpoint
from models.dynamics_map import MOTION_NAMES
from models.rows import MOTION_FEATURES, Rows
from models.training.grounding import ground_new, look_at_cells
from models.training.lessons import Teacher
from models.training.plan import TrainPlan
from models.training.telling import TOLD, Telling
from models.training.tokens import Moment, RunTokens
from stream.sources.simulated.teacher import SimulatedTeacher

DIM, COUNT = 64, 400


def some_runs(motion: torch.Tensor) -> list[RunTokens]:
    """One run, whose rows move so."""
    n = len(motion)
    rows = Rows(torch.randn(n, DIM), torch.ones(n), motion, torch.ones(n, 0), torch.arange(n), (1, 1), (0.0, 8.0), 4, n)
    return [RunTokens(None, 8.0, [rows], [Moment(8.0, 1, None, [])])]


def test_what_is_told_must_be_loud_and_not_only_legible() -> None:
    torch.manual_seed(0)
    motion = 5 + torch.rand(COUNT, MOTION_FEATURES)
    telling = Telling(DIM, some_runs(motion))
    with torch.no_grad():
        telling.weight.copy_(torch.eye(len(TOLD), DIM) * 7)  # its length means nothing
    columns = [MOTION_NAMES.index(name) for name in TOLD]
    rows = 2 * torch.randn(COUNT, DIM)
    misses = []
    for size in (0.1, 1.0):  # of what is told, beside the rest of a row
        rows[:, : len(TOLD)] = 2 * size * (motion[:, columns] - motion[:, columns].mean(0)) / motion[:, columns].std(0)
        misses.append(telling.miss(rows, motion).item())
        assert torch.allclose(telling.miss(9 * rows, motion), telling.miss(rows, motion), atol=1e-5)
    quiet, loud = misses
    assert loud < 0.05 and quiet > 0.7
    assert telling.miss(rows, motion[torch.randperm(COUNT)]).item() > 1.5


def test_new_heads_begin_where_rows_say_it_already_and_move_no_rows() -> None:
    torch.manual_seed(0)
    motion = torch.rand(COUNT, MOTION_FEATURES)
    telling = Telling(DIM, some_runs(motion))
    columns = [MOTION_NAMES.index(name) for name in TOLD]
    hidden = torch.linalg.qr(torch.randn(DIM, DIM)).Q[: len(TOLD)]
    rows = torch.randn(COUNT, DIM) * 0.3 + (motion[:, columns] - motion[:, columns].mean(0)) * 9 @ hidden
    rows.requires_grad_()
    before = telling.miss(rows, motion).item()
    telling.fit(rows.detach(), motion)
    after = telling.miss(rows, motion).item()
    assert after < 0.3 * before and rows.grad is None
    assert telling.miss(rows, motion[torch.randperm(COUNT)]).item() > 2 * after, "the control: of other rows"


def test_a_size_for_rows_changes_how_much_is_left_of_them_and_nothing_that_layers_add() -> None:
    checkpoint, teacher = open_checkpoint(BUNDLED), cast("Teacher", SimulatedTeacher())
    before, _ = look_at_cells(checkpoint, teacher, 16, 3)
    mixed = checkpoint.cross_dynamics.out.weight.clone()
    known = checkpoint.tokenizer.get_vocab().keys()
    words = checkpoint.model.model.language_model.embed_tokens.weight.clone()
    ground_new(checkpoint, teacher, known, norm=30.0, pictures=16, seed=3)
    after, _ = look_at_cells(checkpoint, teacher, 16, 3)
    factor = 30.0 / float(before.norm(dim=1).mean())
    assert torch.allclose(after.norm(dim=1).mean(), torch.tensor(30.0), rtol=1e-3)
    assert torch.allclose(normalize(after, dim=1), normalize(before, dim=1), atol=1e-5)
    assert torch.allclose(checkpoint.cross_dynamics.out.weight, factor * mixed)
    assert torch.equal(checkpoint.model.model.language_model.embed_tokens.weight, words)
    ground_new(checkpoint, teacher, known, norm=TrainPlan().picture_norm, pictures=16, seed=3)
    again, _ = look_at_cells(checkpoint, teacher, 16, 3)
    assert torch.equal(again, after), "who goes on from a checkpoint without a word keeps its size"
