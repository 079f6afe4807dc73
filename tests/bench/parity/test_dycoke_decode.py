"""DyCoke's reference cases of pruning while an answer is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.parity.case import read_case, wrong
from bench.parity.dycoke_decode import KINDS, check
from tests.bench.parity.files import cases


def decoding() -> list[Path]:
    """The cases of this stage; there must be some."""
    found = [path for path in cases("dycoke") if read_case(path).meta["params"].get("kind") in KINDS]
    assert found
    return found


@pytest.mark.parametrize("path", decoding(), ids=lambda path: path.stem)
def test_ours_is_the_published_one(path: Path) -> None:
    found = check(read_case(path))
    assert len(found) >= 8 and not wrong(found)


def test_other_attention_is_noticed() -> None:
    case = read_case(decoding()[0])
    arrays = {**case.arrays, "step2_attention": case.arrays["step1_attention"]}
    said = wrong(check(replace(case, arrays=arrays)))
    assert any("pruned_this_step" in each for each in said) and any("step2_visible_length" in each for each in said)


def test_a_case_of_another_stage_is_refused() -> None:
    other = next(path for path in cases("dycoke") if path not in decoding())
    with pytest.raises(ValueError, match="known are decode_kv_pruning"):
        check(read_case(other))
