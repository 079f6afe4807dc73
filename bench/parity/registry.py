"""Which file compares which method: the folder of a reference case chooses. Adapters are imported when used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.parity.case import Case, Difference

    Check = Callable[[Case], list[Difference]]

ADAPTERS = {
    "b_vllm": "bench.parity.b_vllm",
    "centerclip": "bench.parity.centerclip",
    "dycoke": "bench.parity.dycoke",
    "fastv": "bench.parity.fastv",
    "holitom": "bench.parity.holitom",
    "kvpress": "bench.parity.kvpress",
    "llava_prumerge": "bench.parity.llava_prumerge",
    "llava_scissor": "bench.parity.llava_scissor",
    "mustdrop": "bench.parity.mustdrop",
    "tempme": "bench.parity.tempme",
    "tome": "bench.parity.tome",
    "vqtoken": "bench.parity.vqtoken",
}


class NoAdapter(ValueError):
    """Nobody here knows that method, in a sentence."""


def check_of(method: str) -> Check:
    """What compares cases of a method. Raises `NoAdapter` with a sentence."""
    if method not in ADAPTERS:
        raise NoAdapter(f"no adapter knows {method[:60]!r}; known are {', '.join(ADAPTERS)}")
    name = ADAPTERS[method]
    try:
        found: Check = importlib.import_module(name).check
    except ModuleNotFoundError as error:
        if error.name != name:  # the adapter is there, and something that it needs is not
            raise
        raise NoAdapter(f"the adapter of {method}, {name}, is not installed") from error
    return found
