"""One case compared: how far ours is from the published code, and whether that is near enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.parity.case import TOKENS, Difference
from bench.parity.door import admit
from bench.parity.registry import ADAPTERS, NoAdapter, check_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Status = Literal["ok", "FAILED", "unknown"]
Group = Literal["indices", "tokens", "hidden"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row of the table. `unknown`: it could not be compared, which is not the same as equal."""

    method: str
    name: str
    status: Status
    differences: tuple[Difference, ...] = ()
    reason: str = ""  # a sentence, where the status needs one

    def largest(self, group: Group) -> float | None:
        """Of all arrays of a group; None where the case has none."""
        found = [one.largest for one in self.differences if group_of(one) == group]
        return max(found, key=_size, default=None)

    def worst(self) -> Difference | None:
        """The array nearest to, or farthest past, what is allowed."""
        return max(self.differences, key=_share, default=None)

    def record(self) -> dict[str, Any]:
        """For JSON; what is not finite (shapes that differ, NaN) is null and not fine."""
        return {
            "method": self.method,
            "case": self.name,
            "status": self.status,
            "reason": self.reason,
            "differences": [
                {
                    "what": one.what,
                    "group": group_of(one),
                    "largest": one.largest if math.isfinite(one.largest) else None,
                    "allowed": one.allowed,
                    "fine": one.fine,
                }
                for one in self.differences
            ],
        }


def compare(path: Path) -> Outcome:
    """Read a case and check it. Never raises for what is in the file."""
    method, name = path.parent.name, path.stem
    try:
        case = admit(path)
        method = _method(path, case.meta)
        check = check_of(method)
    except (NoAdapter, ValueError) as error:
        return Outcome(method, name, "unknown", reason=_sentence(error))
    try:
        found = tuple(check(case))
    except ValueError as error:  # the adapter's word for a case of a kind that it does not know
        return Outcome(method, name, "unknown", reason=_sentence(error))
    except Exception as error:
        return Outcome(method, name, "FAILED", reason=f"{type(error).__name__}: {_sentence(error)}")
    return judge(method, name, found)


def judge(method: str, name: str, found: Sequence[Difference]) -> Outcome:
    """Near enough only where something was compared and every array of it is."""
    if not found:
        return Outcome(method, name, "unknown", reason="the adapter compared nothing")
    wrong = [one for one in found if not one.fine]
    told = "; ".join(f"{one.what} differs by {one.largest:.3g}, {one.allowed:g} is allowed" for one in wrong[:3])
    more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return Outcome(method, name, "FAILED" if wrong else "ok", tuple(found), told + more)


def group_of(one: Difference) -> Group:
    """By what is allowed: nothing for indices, less for tokens than for hidden states."""
    if one.allowed == 0:
        return "indices"
    return "tokens" if one.allowed <= TOKENS else "hidden"


def _method(path: Path, meta: dict[str, Any]) -> str:
    """The folder's name; in a folder of another name, what the case says of itself."""
    told = meta.get("method")
    return told if path.parent.name not in ADAPTERS and isinstance(told, str) and told else path.parent.name


def _size(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _share(one: Difference) -> float:
    if one.allowed == 0:
        return 0.0 if one.largest == 0 else math.inf
    return _size(one.largest / one.allowed)


def _sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
