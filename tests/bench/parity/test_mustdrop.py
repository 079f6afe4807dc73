"""Windows, rows, key set and clusters are those of MustDrop's released code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.parity import mustdrop
from bench.parity.case import read_case, wrong
from tests.bench.parity.files import cases

CASES = [path for path in cases("mustdrop") if path.stem not in {"case_dual_filter", "case_llm_stages"}]
OUTPUTS = {
    "window_similarity_f64",
    "merged_window_index_in_output_order",
    "untouched_patch_index",
    "output",
    "tokens_into_layer1",
    "key_set_index",
    "centre_index_by_score",
    "assignment",
    "merged",
}


def test_there_are_cases() -> None:
    assert CASES


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_rows_and_key_sets_are_those_of_the_released_code(path: Path) -> None:
    assert not wrong(mustdrop.check(read_case(path)))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_another_result_is_noticed(path: Path) -> None:
    case = read_case(path)
    for name in OUTPUTS & set(case.arrays):
        other = replace(case, arrays=case.arrays | {name: np.flip(case.arrays[name], 1) + 1})
        assert len(wrong(mustdrop.check(other))) == 1, name


def test_an_unknown_kind_is_refused() -> None:
    case = read_case(CASES[0])
    strange = replace(case, meta=case.meta | {"params": case.meta["params"] | {"kind": "astrology"}})
    with pytest.raises(ValueError, match="no kind 'astrology'"):
        mustdrop.check(strange)
