"""Work spread over processes: all of it is done, little is begun ahead, and what fails is heard of."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from stream.cli.spread import spread


def square(number: int) -> tuple[int, int]:
    if number < 0:
        raise ValueError("no roots here")
    return number * number, os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once_and_few_are_taken_ahead(workers: int) -> None:
    taken = list[int]()

    def jobs() -> Iterator[tuple[int]]:
        for number in range(9):
            taken.append(number)
            yield (number,)

    found = list[tuple[int, int]]()
    for result in spread(square, jobs(), workers):
        found.append(result)
        assert len(taken) - len(found) <= workers + 1
    assert sorted(value for value, _ in found) == [n * n for n in range(9)]
    assert all((pid == os.getpid()) == (workers == 1) for _, pid in found)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_job_raises_is_raised(workers: int) -> None:
    with pytest.raises(ValueError, match="no roots here"):
        list(spread(square, [(1,), (-1,), (2,)], workers))


def test_nothing_to_do_is_done_at_once() -> None:
    assert list(spread(square, [], 2)) == []
