"""VQToken at parity with its published code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.parity.case import read_case, wrong
from bench.parity.vqtoken import check
from tests.bench.parity.files import cases


@pytest.mark.parametrize("path", cases("vqtoken"), ids=lambda path: path.stem)
def test_equal_to_the_published_code(path: Path) -> None:
    found = check(read_case(path))
    assert found
    assert not wrong(found)


def test_another_start_is_noticed() -> None:
    case = read_case(next(path for path in cases("vqtoken") if "fixed_k12" in path.stem))
    start = case.arrays["init_token_index"][::-1].copy()
    assert wrong(check(replace(case, arrays={**case.arrays, "init_token_index": start})))


def test_an_unknown_kind_is_refused() -> None:
    case = read_case(cases("vqtoken")[0])
    with pytest.raises(ValueError, match="not known here"):
        check(replace(case, meta={**case.meta, "params": {"kind": "guess"}}))
