"""When a block belongs to a time that words name."""

from __future__ import annotations


def belongs(span_s: tuple[float, float], asked_s: tuple[float, float]) -> bool:
    """Do the two share half of the shorter one, or more?

    A block of 8 s at the edge of a named minute belongs to where most of it is; a block that stood unchanged for
    hours belongs to each minute of them.
    """
    shared = min(span_s[1], asked_s[1]) - max(span_s[0], asked_s[0])
    shorter = min(span_s[1] - span_s[0], asked_s[1] - asked_s[0])
    return shared >= 0 and shared >= shorter / 2
