"""Attention, kept patches, their order and their rows are those of LLaVA-PruMerge's released code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.parity import llava_prumerge
from bench.parity.case import read_case, wrong
from tests.bench.parity.files import cases

CASES = cases("llava_prumerge")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_kept_patches_and_rows_are_those_of_the_released_code(path: Path) -> None:
    assert not wrong(llava_prumerge.check(read_case(path)))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_another_result_is_noticed(path: Path) -> None:
    case = read_case(path)
    for name in {"kept_index", "output", "cls_attention_f64", "neighbour_index"} & set(case.arrays):
        other = replace(case, arrays=case.arrays | {name: np.roll(case.arrays[name], 1, 1)})
        assert len(wrong(llava_prumerge.check(other))) == 1, name


def test_an_unknown_kind_is_refused() -> None:
    case = read_case(CASES[0])
    strange = replace(case, meta=case.meta | {"params": case.meta["params"] | {"kind": "astrology"}})
    with pytest.raises(ValueError, match="no kind 'astrology'"):
        llava_prumerge.check(strange)
