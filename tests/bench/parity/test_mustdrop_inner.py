"""MustDrop's reference cases of stages inside the language model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.parity.case import read_case, wrong
from bench.parity.mustdrop_inner import KINDS, check
from tests.bench.parity.files import cases


def inner() -> list[Path]:
    """The cases of these stages; there must be some of each kind."""
    kinds = {path: read_case(path).meta["params"].get("kind") for path in cases("mustdrop")}
    found = [path for path, kind in kinds.items() if kind in KINDS]
    assert {kinds[path] for path in found} == set(KINDS)
    return found


@pytest.mark.parametrize("path", inner(), ids=lambda path: path.stem)
def test_ours_is_the_published_one(path: Path) -> None:
    found = check(read_case(path))
    assert found and not wrong(found)


@pytest.mark.parametrize("path", inner(), ids=lambda path: path.stem)
def test_other_thresholds_are_noticed(path: Path) -> None:
    case = read_case(path)
    params = {**case.meta["params"], "global_thr": 0.9, "individual_thr": 0.9}
    assert any("kept" in each for each in wrong(check(replace(case, meta={**case.meta, "params": params}))))


def test_a_case_of_another_stage_is_refused() -> None:
    other = next(path for path in cases("mustdrop") if path not in inner())
    with pytest.raises(ValueError, match="known are dual_filter, llm_stages"):
        check(read_case(other))
