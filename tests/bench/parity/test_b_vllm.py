"""B-VLLM at parity with its published code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.parity.b_vllm import check
from bench.parity.case import read_case, wrong
from tests.bench.parity.files import cases


@pytest.mark.parametrize("path", cases("b_vllm"), ids=lambda path: path.stem)
def test_equal_to_the_published_code(path: Path) -> None:
    found = check(read_case(path))
    assert found
    assert not wrong(found)


def test_other_tokens_are_noticed() -> None:
    case = read_case(next(path for path in cases("b_vllm") if "rounds_64" in path.stem))
    other = case.arrays["tokens"][:, ::-1].copy()
    assert wrong(check(replace(case, arrays={**case.arrays, "tokens": other})))


def test_an_unknown_kind_is_refused() -> None:
    case = read_case(cases("b_vllm")[0])
    with pytest.raises(ValueError, match="not known here"):
        check(replace(case, meta={**case.meta, "params": {"kind": "guess"}}))
