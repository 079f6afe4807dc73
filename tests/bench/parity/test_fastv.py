"""FastV's reference cases, and what is no case of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.parity.case import read_case, wrong
from bench.parity.fastv import check
from tests.bench.parity.files import cases


@pytest.mark.parametrize("path", cases("fastv"), ids=lambda path: path.stem)
def test_ours_is_the_published_one(path: Path) -> None:
    found = check(read_case(path))
    assert len(found) >= 4 and not wrong(found)


@pytest.mark.parametrize("path", cases("fastv"), ids=lambda path: path.stem)
def test_another_video_is_noticed(path: Path) -> None:
    case = read_case(path)
    embeds = case.arrays["inputs_embeds"].copy()
    embeds[0, case.meta["params"]["image_start"] :] *= -1
    said = wrong(check(replace(case, arrays={**case.arrays, "inputs_embeds": embeds})))
    assert any("keep_index" in each for each in said) and any("last_hidden_state" in each for each in said)


def test_an_unknown_kind_is_refused() -> None:
    case = read_case(cases("fastv")[0])
    params = {**case.meta["params"], "kind": "cached"}
    with pytest.raises(ValueError, match="of kind 'cached'"):
        check(replace(case, meta={**case.meta, "params": params}))
