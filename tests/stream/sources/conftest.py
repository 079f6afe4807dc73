"""What the tests of sources share."""

from __future__ import annotations

import pytest

from stream import redact
from tests.servers.hasty import HastyClock


@pytest.fixture
def hasty() -> HastyClock:
    return HastyClock()


@pytest.fixture(autouse=True)
def own_vault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets that a test registers are masked for the whole process: keep them from the other tests."""
    monkeypatch.setattr(redact, "_vault", redact._Vault())
