"""What a stage learns from is made beside it: by so many processes, a little ahead, always in the same order.

On a laptop the processor that would make it is the one that trains, so it is made in turn (`workers` 0). Beside a GPU
making is what takes long, and sixteen processes keep up with one card (docs/LOG.md).
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

T = TypeVar("T")
AHEAD = 4  # pieces that each process may have ready


def feed(make: Callable[[int, int], Iterator[T]], workers: int) -> Iterator[T]:
    """What `make(number, of)` yields for each process in turn; with no processes, what `make(0, 1)` yields.

    Processes are forked: what they read is shared, not copied, and nothing in them may touch a GPU.
    """
    if workers < 1:
        return make(0, 1)
    _allow_many_files()
    loader: DataLoader[Any] = DataLoader(
        _Made(make),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=AHEAD,
        multiprocessing_context="fork",
    )
    return iter(loader)


class _Made(IterableDataset[Any]):
    def __init__(self, make: Callable[[int, int], Iterator[Any]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Any]:
        told = get_worker_info()
        torch.set_num_threads(1)  # several processes do not wait for one another
        return self._make(0, 1) if told is None else self._make(told.id, told.num_workers)


def _allow_many_files() -> None:
    """Each tensor on its way to us is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
