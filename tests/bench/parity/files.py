"""Where the reference cases are."""

from __future__ import annotations

from pathlib import Path

VECTORS = Path(__file__).resolve().parents[2] / "vectors"


def cases(method: str) -> list[Path]:
    """Every case of a method; there must be some, or a test over them would be none."""
    found = sorted((VECTORS / method).glob("*.npz"))
    assert found, f"tests/vectors/{method} has no cases"
    return found
