"""HoliTom's reference cases outside the language model, and what is no case of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.parity.case import Case, read_case, wrong
from bench.parity.holitom import INNER, check
from tests.bench.parity.files import cases


def outer() -> list[Path]:
    """All but those within the language model; there must be some."""
    found = [path for path in cases("holitom") if read_case(path).meta["params"].get("kind") != INNER]
    assert found
    return found


def with_params(stem: str, **params: Any) -> Case:
    case = read_case(next(path for path in cases("holitom") if path.stem == stem))
    return replace(case, meta={**case.meta, "params": {**case.meta["params"], **params}})


@pytest.mark.parametrize("path", outer(), ids=lambda path: path.stem)
def test_ours_is_the_published_one(path: Path) -> None:
    case = read_case(path)
    found = check(case)
    inputs = {"tokens", "attention", "newline", "feature_similarity"}
    compared = {each.what for each in found}
    offered = {name for name in case.arrays if not name.startswith("param_")} - inputs
    assert offered <= compared and not wrong(found)


@pytest.mark.parametrize(
    ("stem", "params", "noticed"),
    [
        ("case_dp_t12", {"tau": 0.9}, "segments"),
        ("case_dp_t13_maxw4", {"max_window_size": 3}, "segments, frame after frame"),
        ("case_dpc_k3_nobeta", {"K": 5}, "centre_index_by_score"),
        ("case_dpc_k7_beta06", {"beta": 0.5}, "merged"),
        ("case_dpc_k7_beta06", {"no_beta": True}, "merged"),
        ("case_default_one_token", {"retain_ratio": 0.2}, "adjusted_retain_ratio"),
        ("case_default_one_token", {"K": 2}, "output"),
        ("case_grid_newline_nobeta", {"newline_position": "one_token"}, "output"),
        ("case_grid_newline_nobeta", {"no_beta": False}, "output"),
        ("case_ratio010_tau065", {"tau": 0.95}, "static_positions_per_segment"),
    ],
)
def test_another_setting_is_noticed(stem: str, params: dict[str, Any], noticed: str) -> None:
    assert any(each.startswith(f"{noticed} ") for each in wrong(check(with_params(stem, **params))))


def test_cases_within_the_language_model_are_passed_on() -> None:
    path = next(path for path in cases("holitom") if path not in outer())
    found = check(read_case(path))
    assert found and not wrong(found)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"kind": "audio"}, "of kind 'audio'; known are segmentation_only"),
        ({"newline_position": "frame"}, "packs 'frame'; known are one_token, grid"),
        ({"D": 0.5}, "as published has no clusters"),
    ],
)
def test_what_is_not_known_is_refused(params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check(with_params("case_default_one_token", **params))
