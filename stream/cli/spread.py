"""The same work on many things in several processes: what knows tensors knows no processes, so they are made here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any


def spread(work: Callable[..., None], jobs: Sequence[tuple[Any, ...]], workers: int) -> Iterator[None]:
    """Do `work(*job)` for every job, at most `workers` at a time; yields as each is done. Raises what a job raises."""
    if workers < 2 or len(jobs) < 2:
        for job in jobs:
            work(*job)
            yield
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(work, *job) for job in jobs]):
            done.result()
            yield
