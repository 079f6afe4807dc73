"""One word in a configuration chooses a reducer."""

from __future__ import annotations

from typing import get_args

import pytest

from models.perception import PerceptionConfig
from models.reducers.registry import REDUCERS
from stream.config.memory import Reducer


def test_the_configuration_knows_every_reducer() -> None:
    assert set(get_args(Reducer)) == set(REDUCERS)


def test_another_word_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"'magic' is not known; choose one of .*uniform"):
        PerceptionConfig(reducer="magic")
