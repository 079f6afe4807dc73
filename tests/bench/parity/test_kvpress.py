"""Cache scorers are those of kvpress on every reference case, and the comparison notices when they are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.parity import kvpress
from bench.parity.case import read_case, wrong
from tests.bench.parity.files import cases

CASES = cases("kvpress")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_scores_selections_and_rotations_are_those_of_kvpress(path: Path) -> None:
    found = kvpress.check(read_case(path))
    assert not wrong(found)
    assert {"scores", "kept"} <= {difference.what for difference in found}


def test_every_scorer_has_a_case() -> None:
    assert {str(read_case(path).meta["params"]["scorer"]) for path in CASES} == set(kvpress._SCORERS)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_other_scores_are_noticed(path: Path) -> None:
    case = read_case(path)
    scores = case.arrays["scores"]
    turned = replace(case, arrays=case.arrays | {"scores": np.roll(scores, 1, -1)})
    assert any(sentence.startswith("scores") for sentence in wrong(kvpress.check(turned)))


def test_an_unknown_scorer_is_refused() -> None:
    case = read_case(CASES[0])
    strange = replace(case, meta=case.meta | {"params": case.meta["params"] | {"scorer": "astrology"}})
    with pytest.raises(ValueError, match="no scorer 'astrology'"):
        kvpress.check(strange)
