"""What an answer rests on, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

_TIERS = {
    "instant": "in view",
    "hot": "remembered",
    "warm": "recalled, exact",
    "cold": "recalled, summary",
}
SIGHTINGS_SHOWN = 4


def clock(stamp: str) -> str:
    """Time of day of an RFC 3339 time, in the zone of who reads it."""
    return datetime.fromisoformat(stamp).astimezone().strftime("%H:%M:%S")


def region(cells: Sequence[Sequence[float]]) -> str:
    """Where in the picture the weight lies, in thirds: `top left`, `middle`, `bottom`; spread out: `all over`."""
    total = sum(map(sum, cells))
    if total <= 0:
        return ""
    rows, columns = len(cells), len(cells[0])
    y = sum((r + 0.5) / rows * sum(row) for r, row in enumerate(cells)) / total
    x = sum((c + 0.5) / columns * share for row in cells for c, share in enumerate(row)) / total
    spread = sum(
        share * (((r + 0.5) / rows - y) ** 2 + ((c + 0.5) / columns - x) ** 2)
        for r, row in enumerate(cells)
        for c, share in enumerate(row)
    )
    if spread / total > 0.13:  # an even picture has 1/6
        return "all over"
    down, across = (min(2, int(at * 3)) for at in (y, x))
    return f"{('top', '', 'bottom')[down]} {('left', 'middle', 'right')[across]}".strip()


def lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """One line per sighting, heaviest first, then what is not in memory or beyond the model, then the cost."""
    evidence = answer.get("evidence") or {}
    for seen in (evidence.get("sightings") or [])[:SIGHTINGS_SHOWN]:
        tier = _TIERS.get(seen.get("tier", ""), "")
        share, where = f"{100 * seen['weight']:3.0f} %", region(seen.get("cells") or [])
        yield f"  {clock(seen['from'])}-{clock(seen['to'])}  {share}  {tier:<17}  {where}".rstrip()
    for gone in evidence.get("uncovered") or []:
        yield f"  not in memory: {clock(gone['from'])}-{clock(gone['to'])}"
    if evidence.get("out_of_depth"):
        score = f"{evidence['depth_score']:.2f}"
        yield f"  unlike what the model was trained on: score {score}, its own pictures are below 1"
    if cost := costs(answer):
        yield "  " + cost


def costs(answer: Mapping[str, Any]) -> str:
    """Age of the picture, time to the first word and to the last, tokens read."""
    evidence, latency, usage = (answer.get(key) or {} for key in ("evidence", "latency_ms", "usage"))
    parts = []
    if evidence.get("newest_frame_age_ms") is not None:
        parts.append(f"newest picture {evidence['newest_frame_age_ms'] / 1000:.1f} s old")
    if latency.get("first_token") is not None:
        parts.append(
            f"first word after {latency['first_token'] / 1000:.2f} s, all after {latency['total'] / 1000:.2f} s"
        )
    if usage.get("prompt_tokens"):
        parts.append(f"{usage['prompt_tokens']} tokens read")
    return ", ".join(parts)
