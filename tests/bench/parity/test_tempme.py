"""TempMe's reference cases, and what is no case of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.parity.case import Case, read_case, wrong
from bench.parity.tempme import check
from tests.bench.parity.files import cases


def with_params(case: Case, **params: Any) -> Case:
    return replace(case, meta={**case.meta, "params": {**case.meta["params"], **params}})


def encoder() -> Case:
    return read_case(next(path for path in cases("tempme") if path.stem == "case_encoder_defaults"))


@pytest.mark.parametrize("path", cases("tempme"), ids=lambda path: path.stem)
def test_ours_is_the_published_one(path: Path) -> None:
    found = check(read_case(path))
    assert found and not wrong(found)


@pytest.mark.parametrize(("changed", "noticed"), [({"tome_r": 1}, "block0_size"), ({"frame_pos": 0}, "block2_tokens")])
def test_another_setting_is_noticed(changed: dict[str, int], noticed: str) -> None:
    assert any(each.startswith(noticed) for each in wrong(check(with_params(encoder(), **changed))))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="of kind 'audio_encoder'"):
        check(with_params(encoder(), kind="audio_encoder"))
