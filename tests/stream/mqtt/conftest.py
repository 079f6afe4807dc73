from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.mosquitto import Mosquitto


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker
