"""The page of faults names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TREE = Path(__file__).parents[3]


def test_every_test_that_the_page_of_faults_names_is_there() -> None:
    page = (TREE / "docs" / "faults.md").read_text("utf-8")
    there = {
        name
        for path in (TREE / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))
    }
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 80
    assert not sorted(named - there)
    files = re.findall(r"`((?:tests|bench)/[\w/.]+)`", page)
    assert files and not [name for name in files if not (TREE / name).is_file()]
    rows = [int(number) for number in re.findall(r"^\| (\d+) ", page, re.MULTILINE)]
    assert rows == list(range(1, 25)), "no fault is left out"
