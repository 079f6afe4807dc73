"""Are our methods the published ones? Every stored case of the published code, through ours, one row each.

    python run_stream.py bench parity [--vectors DIR] [--method NAME ...] [--out FILE.json]

DIR holds one folder of .npz files per method (tests/vectors/README.md describes them), or is such a folder. Indices
must be equal, tokens within 1e-5, hidden states within 1e-4. Exit status 1: a case failed, or could not be compared.

    indices   entries that differ          tokens, hidden   largest absolute difference
    FAILED    too far apart, or a crash    unknown          no adapter knows the case, or the file is broken
"""

from __future__ import annotations

import argparse
import json
import platform
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.parity.outcome import Group, Outcome, compare
from stream.cli.console import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HOUSE = Path(__file__).resolve().parents[2]
USUAL = (HOUSE.parent / "shared" / "vectors", HOUSE / "tests" / "vectors")  # the first that is there
_GROUPS: tuple[Group, ...] = ("indices", "tokens", "hidden")
_WIDTH = 9  # letters of a number


def main(argv: Sequence[str], say: Callable[[str], None]) -> int:
    """Check every case; 0 where all are near enough. Raises `Trouble` where there is nothing to check."""
    found = _parse(argv)
    folder = found.vectors or next((place for place in USUAL if place.is_dir()), USUAL[-1])
    paths = cases_in(folder, found.method)
    wide = max(len(_title(path.parent.name, path.stem)) for path in paths)
    say(_line("case", wide, _GROUPS, "", "nearest to, or past, what is allowed"))
    outcomes = []
    for path in paths:
        outcomes.append(compare(path))
        say(_row(outcomes[-1], wide))
    counts = Counter(one.status for one in outcomes)
    cases = "1 case" if len(outcomes) == 1 else f"{len(outcomes)} cases"
    say(f"{cases}: {counts['ok']} ok, {counts['FAILED']} FAILED, {counts['unknown']} unknown")
    if found.out is not None:
        _write(found.out, outcomes)
    return 0 if counts["ok"] == len(outcomes) else 1


def cases_in(folder: Path, methods: Sequence[str] = ()) -> list[Path]:
    """Every case of every folder, or of those named. Raises `Trouble` with a sentence where there is none."""
    if not folder.is_dir():
        raise Trouble(f"there is no folder {folder}; give --vectors the folder of the reference cases", 2)
    found = sorted(path for depth in ("*.npz", "*/*.npz") for path in folder.glob(depth))
    if absent := sorted(set(methods) - {path.parent.name for path in found}):
        raise Trouble(f"{folder} has no case of {', '.join(absent)}", 2)
    found = [path for path in found if not methods or path.parent.name in methods]
    if not found:
        raise Trouble(f"{folder} holds no case: one folder per method, with .npz files in it, is expected", 2)
    return found


def _row(one: Outcome, wide: int) -> str:
    numbers = [_number(one.largest(group), group) for group in _GROUPS]
    worst = one.worst()
    what = one.reason or (worst.what if worst else "")
    return _line(_title(one.method, one.name), wide, numbers, one.status, what)


def _line(title: str, wide: int, numbers: Sequence[str], status: str, what: str) -> str:
    columns = "  ".join(number.rjust(_WIDTH) for number in numbers)
    return f"{title.ljust(wide)}  {columns}  {status.ljust(7)}  {what}".rstrip()


def _title(method: str, name: str) -> str:
    return f"{method}/{name.removeprefix('case_')}"


def _number(value: float | None, group: Group) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if group == "indices" else f"{value:.1e}"


def _write(path: Path, outcomes: Sequence[Outcome]) -> None:
    record = {
        "runtime": {"torch": torch.__version__, "numpy": np.__version__, "machine": platform.machine()},
        "counts": dict(Counter(one.status for one in outcomes)),
        "cases": [one.record() for one in outcomes],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", "utf-8")
    except OSError as error:
        raise Trouble(f"the result cannot be written to {path}: {error.strerror}") from error


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run_stream.py bench parity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=Path, metavar="DIR", help="default: ../shared/vectors, or tests/vectors")
    parser.add_argument("--method", action="append", default=[], metavar="NAME", help="only this folder; repeatable")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="all differences, for programs")
    return parser.parse_args(argv)
