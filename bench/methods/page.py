"""The measured part of docs/methods.md: what stands between two comment lines is written anew, the rest left alone."""

from __future__ import annotations

from collections.abc import Sequence

BEGIN = "<!-- measured: written by `run_stream.py bench methods --write docs/methods.md`; do not edit by hand -->"
END = "<!-- end of measured -->"


def with_block(text: str, lines: Sequence[str]) -> str:
    """The text with `lines` between the two comments. Raises ValueError where they are not there, once and in order."""
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended or BEGIN in after or END in before + after:
        raise ValueError(f"it must have the line {BEGIN!r} once, and after it {END!r} once.")
    return f"{before}{BEGIN}\n\n" + "\n".join(lines).strip() + f"\n\n{END}{after}"
