"""Components, lost nodes, both steps and the last assignment are those of LLaVA-Scissor's released code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.parity import llava_scissor
from bench.parity.case import read_case, wrong
from tests.bench.parity.files import cases

CASES = cases("llava_scissor")
OUTPUTS = ["stage1_component_id", "stage2_component_id", "stage2_representatives", "assignment", "output"]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_components_and_rows_are_those_of_the_released_code(path: Path) -> None:
    assert not wrong(llava_scissor.check(read_case(path)))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_another_result_is_noticed(path: Path) -> None:
    case = read_case(path)
    for name in {*OUTPUTS, "component_id", "true_component_id"} & set(case.arrays):
        other = replace(case, arrays=case.arrays | {name: np.roll(case.arrays[name], 1, 0) + 1})
        assert wrong(llava_scissor.check(other)), name


def test_an_unknown_kind_is_refused() -> None:
    case = read_case(CASES[0])
    strange = replace(case, meta=case.meta | {"params": case.meta["params"] | {"kind": "astrology"}})
    with pytest.raises(ValueError, match="no kind 'astrology'"):
        llava_scissor.check(strange)
