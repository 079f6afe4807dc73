"""Connections are given all the time a busy machine needs; a test that is about giving up sets its own."""

from __future__ import annotations

import pytest

from stream import peer
from tests.patience import PATIENCE_S


@pytest.fixture(autouse=True)
def patient_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "CONNECT_S", PATIENCE_S)
