"""Lengths of time as people type them: `90s`, `10m`, `1h30m`, `2d`, or plain seconds."""

from __future__ import annotations

import re

_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LENGTH = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def seconds(text: str) -> float:
    """Seconds of a length of time. Raises `ValueError` with a sentence."""
    text = text.strip().lower()
    if _LENGTH.fullmatch(text):
        total = sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))
    else:
        try:
            total = float(text)
        except ValueError:
            total = -1.0
    if not 0 < total < 1e9:
        raise ValueError(f"{text!r} is no length of time; write for example 90s, 10m, 1h30m or 2d")
    return total
