from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from models.place import SMALL, place, use_threads


class Large(nn.Module):
    """Counts as large and takes no room."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(SMALL, device="meta"))


@pytest.fixture(autouse=True)
def own_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_small_model_takes_one_thread_and_a_large_one_leaves_a_core_to_the_cameras(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert use_threads(nn.Linear(8, 8)) == torch.get_num_threads() == 1
    assert use_threads(Large()) == torch.get_num_threads() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert use_threads(Large()) == 1


def test_who_has_chosen_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert use_threads(nn.Linear(8, 8)) == torch.get_num_threads() == 2


def test_without_a_wish_the_processor_counts_in_full_precision() -> None:
    device, dtype = place("auto", "auto")
    assert (device, dtype) in {("cpu", torch.float32), ("cuda", torch.bfloat16)}
    assert place("cpu", "bfloat16") == ("cpu", torch.bfloat16)
