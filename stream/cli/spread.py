"""The same work on many things in several processes: what knows tensors knows no processes, so they are made here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any, TypeVar

T = TypeVar("T")


def spread(work: Callable[..., T], jobs: Iterable[tuple[Any, ...]], workers: int) -> Iterator[T]:
    """Do `work(*job)` for every job, at most `workers` at a time; yields each result as it is done.

    Jobs are taken when they are needed, never many ahead. Raises what a job raises.
    """
    if workers < 2:
        yield from (work(*job) for job in jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        going = set[Future[T]]()
        for job in jobs:
            going.add(pool.submit(work, *job))
            if len(going) > workers:  # one is ready for whoever is done first
                yield from _done(going)
        while going:
            yield from _done(going)


def _done(going: set[Future[T]]) -> Iterator[T]:
    """Results of those that are done, taken out of what is going; waits for one at least."""
    done, _ = wait(going, return_when=FIRST_COMPLETED)
    going -= done
    yield from (one.result() for one in done)
