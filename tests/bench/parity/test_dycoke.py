"""The temporal stage keeps what DyCoke's released code keeps, in its order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.parity import dycoke
from bench.parity.case import read_case, wrong
from models.reducers import dycoke_published as published
from tests.bench.parity.files import cases

CASES = [path for path in cases("dycoke") if path.stem.startswith("case_ttm")]


def test_there_are_cases() -> None:
    assert CASES


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_tokens_kept_are_those_of_the_released_code(path: Path) -> None:
    assert not wrong(dycoke.check(read_case(path)))


@pytest.mark.parametrize("name", ["kept_flat_index", "output_tokens", "pair_similarity_f64", "group_similarity_f64"])
def test_another_result_is_noticed(name: str) -> None:
    case = read_case(CASES[0])
    other = replace(case, arrays=case.arrays | {name: np.flip(case.arrays[name], 0)})
    assert len(wrong(dycoke.check(other))) == 1


def test_an_unknown_kind_is_refused() -> None:
    case = read_case(CASES[0])
    strange = replace(case, meta=case.meta | {"params": case.meta["params"] | {"kind": "astrology"}})
    with pytest.raises(ValueError, match="no kind 'astrology'"):
        dycoke.check(strange)


def test_at_the_published_size_as_many_are_kept_as_were_counted_in_the_released_code() -> None:
    embeds = torch.randn(32, 196, 8, generator=torch.Generator().manual_seed(0))
    kept = published.as_published(embeds, published.keep_count(0.7, 196))
    assert len(kept) == 3098 == len(kept.unique()), "49.4 %, not the 47.5 % of the paper: the last four are spared"
