"""Where a model runs: device, number format, threads."""

from __future__ import annotations

import os

import torch
from torch import nn

SMALL = 50_000_000  # parameters; below it an operation is over before a second thread has begun


def place(device: str, dtype: str) -> tuple[str, torch.dtype]:
    """Device and dtype; `auto` is CUDA in bfloat16 where there is one, else CPU in float32. Raises `ValueError`."""
    cuda = torch.cuda.is_available()
    device = ("cuda" if cuda else "cpu") if device == "auto" else device
    if device.startswith("cuda") and not cuda:
        raise ValueError("model.device is cuda, but torch finds no CUDA device here; use device: auto or cpu.")
    if device == "mps" and not torch.backends.mps.is_available():
        raise ValueError("model.device is mps, but torch finds no Metal device here; use device: auto or cpu.")
    usual = torch.bfloat16 if device.startswith("cuda") else torch.float32
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return device, named.get(dtype, usual)


def use_threads(model: nn.Module) -> int:
    """Set, and return, how many threads one operation on the CPU takes; `OMP_NUM_THREADS` has the last word.

    Threads of one operation wait for each other in a loop. Beside decoding and encoding of pictures, which take the
    same cores, a question to a small model was seen to take seven to ten times as long with two threads as with one.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        parameters = sum(parameter.numel() for parameter in model.parameters())
        torch.set_num_threads(1 if parameters < SMALL else max(1, (os.cpu_count() or 2) - 1))
    return torch.get_num_threads()
