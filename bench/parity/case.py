"""One reference case, and how far ours is from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

TOKENS, HIDDEN = 1e-5, 1e-4  # allowed absolute difference


@dataclass(frozen=True, slots=True)
class Case:
    """What one `.npz` holds. A folder is a method; the file name says which case."""

    method: str
    name: str
    meta: dict[str, Any]  # `meta_json`
    arrays: dict[str, NDArray[Any]]  # everything else

    def tensor(self, name: str) -> Tensor:
        """An array as a tensor of the same type. Raises ValueError with a sentence where the case has none."""
        if name not in self.arrays:
            raise ValueError(f"{self.method}/{self.name} has no array {name}.")
        return torch.from_numpy(np.ascontiguousarray(self.arrays[name]))


@dataclass(frozen=True, slots=True)
class Difference:
    """One array that was compared."""

    what: str
    largest: float  # absolute difference; of indices, how many differ; infinite where shapes do
    allowed: float

    @property
    def fine(self) -> bool:
        """Is it small enough?"""
        return self.largest <= self.allowed


def read_case(path: Path) -> Case:
    """Read a file without unpickling. Raises ValueError with a sentence for what is no case."""
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        meta = json.loads(str(arrays.pop("meta_json")))
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path.name} is no reference case: {str(error)[:200]}") from error
    return Case(path.parent.name, path.stem, meta, arrays)


def indices(what: str, ours: Tensor | ArrayLike, theirs: Tensor | ArrayLike) -> Difference:
    """Entries that differ; none may."""
    a, b = np.asarray(ours), np.asarray(theirs)
    return Difference(what, float((a != b).sum()) if a.shape == b.shape else float("inf"), 0.0)


def tokens(what: str, ours: Tensor | ArrayLike, theirs: Tensor | ArrayLike) -> Difference:
    """Largest difference of token values."""
    return Difference(what, _largest(ours, theirs), TOKENS)


def hidden(what: str, ours: Tensor | ArrayLike, theirs: Tensor | ArrayLike) -> Difference:
    """Largest difference of a model's hidden states."""
    return Difference(what, _largest(ours, theirs), HIDDEN)


def wrong(found: Sequence[Difference]) -> list[str]:
    """Sentences about what is not equal enough."""
    return [f"{d.what} differs by {d.largest:.3g}; {d.allowed:g} is allowed" for d in found if not d.fine]


def _largest(ours: Tensor | ArrayLike, theirs: Tensor | ArrayLike) -> float:
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if a.shape != b.shape:
        return float("inf")
    far = np.abs(a - b).max(initial=0.0)
    return float(far) if np.isfinite(far) else float("inf")
