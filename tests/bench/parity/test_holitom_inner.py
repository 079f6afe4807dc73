"""HoliTom's reference cases of merging inside the language model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.parity.case import Case, read_case, wrong
from bench.parity.holitom_inner import KINDS, check
from tests.bench.parity.files import cases


def inner() -> list[Path]:
    """The cases of this stage; there must be some."""
    found = [path for path in cases("holitom") if read_case(path).meta["params"].get("kind") in KINDS]
    assert found
    return found


def changed(case: Case, name: str) -> Case:
    return replace(case, arrays={**case.arrays, name: case.arrays[name][..., ::-1]})


@pytest.mark.parametrize("path", inner(), ids=lambda path: path.stem)
def test_ours_is_the_published_one(path: Path) -> None:
    found = check(read_case(path))
    assert len(found) == 7 and not wrong(found)


@pytest.mark.parametrize(
    ("name", "word"), [("last_query_attention_per_head", "keep_index"), ("hidden_before", "hidden")]
)
def test_another_input_is_noticed(name: str, word: str) -> None:
    said = wrong(check(changed(read_case(inner()[0]), name)))
    assert any(word in each for each in said)


def test_a_case_of_another_stage_is_refused() -> None:
    other = next(path for path in cases("holitom") if path not in inner())
    with pytest.raises(ValueError, match="known are inner_llm_merge"):
        check(read_case(other))
