"""What the tests of the measurements share: the bundled checkpoint and a short reel of its tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from bench._reel import STRETCH, Reel, make_reel
from models.checkpoint import Checkpoint, open_checkpoint


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return open_checkpoint("bundled")


@pytest.fixture(scope="session")
def reel(checkpoint: Checkpoint) -> Reel:
    return make_reel(checkpoint, lambda _: None, STRETCH)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """As the measurements themselves do; the rest of the tests gets its threads back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
