"""The names that a configuration may give to `memory.inner` and `memory.decode`, and what they cost a fork."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.inner.dycoke import DyCoke
from models.inner.fastv import FastV
from models.inner.holitom import HoliTom
from models.inner.mustdrop import MustDrop

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.inner.method import Inner

NONE = "none"
INNERS: dict[str, Callable[[], Inner]] = {"fastv": FastV, "holitom_inner": HoliTom, "mustdrop": MustDrop}
DECODES: dict[str, Callable[[], DyCoke]] = {"dycoke": DyCoke}


@dataclass(frozen=True, slots=True)
class Methods:
    """What acts inside the language model: while a question is read, and while its answer is said."""

    inner: Inner | None
    decode: DyCoke | None

    @property
    def any(self) -> bool:
        """Is there one?"""
        return self.inner is not None or self.decode is not None

    def own_tokens(self, words: int, rows: int, prompt: int, layers: int | None = None) -> int:
        """Tokens' worth of keys and values that a fork may hold beside shared `words` and seen `rows` and its `prompt`.

        In a model of unknown depth, as if all layers were deeper than where a method begins.
        """
        total = 0.0
        if self.inner is not None:
            stages = (0,) if layers is None else self.inner.after(layers)
            first = stages[0] - self.inner.words if stages else None  # `Focus.settle` cuts the layer of the stage too
            total += _deeper(first, layers) * (words + self.inner.most(rows))
        if self.decode is not None:
            after = 0 if layers is None else self.decode.after(layers)
            total += _deeper(after, layers) * (words + self.decode.most(rows) + prompt)
        return int(total) + 1 if total else 0


def _deeper(after: int | None, layers: int | None) -> float:
    """Share of the layers that come after this one."""
    if after is None:
        return 0.0
    return 1.0 if layers is None else (layers - after - 1) / layers


def make_methods(inner: str, decode: str) -> Methods:
    """The methods of two words. Raises ValueError with a sentence for any other word."""
    for name, given, known in (("inner", inner, INNERS), ("decode", decode, DECODES)):
        if given != NONE and given not in known:
            raise ValueError(f"memory.{name} {given[:40]!r} is not known; choose one of {', '.join([NONE, *known])}.")
    return Methods(
        inner=INNERS[inner]() if inner != NONE else None,
        decode=DECODES[decode]() if decode != NONE else None,
    )
