"""ToMe's reference cases, and what is no case of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.parity.case import read_case, wrong
from bench.parity.tome import check
from tests.bench.parity.files import cases


@pytest.mark.parametrize("path", cases("tome"), ids=lambda path: path.stem)
def test_ours_is_the_published_one(path: Path) -> None:
    found = check(read_case(path))
    assert found and not wrong(found)


def test_another_input_is_noticed() -> None:
    case = read_case(next(path for path in cases("tome") if path.stem == "case_struct_r8"))
    other = replace(case, arrays={**case.arrays, "metric": case.arrays["metric"][:, ::-1]})
    said = wrong(check(other))
    assert any("src_idx" in each for each in said) and any("round0_x" in each for each in said)


def test_an_unknown_kind_is_refused() -> None:
    case = read_case(cases("tome")[0])
    params = case.meta["params"]
    with pytest.raises(ValueError, match="of kind 'tripartite'"):
        check(replace(case, meta={**case.meta, "params": {**params, "kind": "tripartite"}}))
    with pytest.raises(ValueError, match="without a class token"):
        check(replace(case, meta={**case.meta, "params": {**params, "class_token": False, "distill_token": True}}))
