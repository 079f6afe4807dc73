"""The curves of a training run as a picture: one panel per stage and group of numbers, minutes across."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT, EDGE = 900, 260, 46
INKS = ("#1f6f8b", "#c2571a", "#4a7c3a", "#8a4f9e", "#a8323e", "#5b5b5b", "#b8902a", "#2b4f9e")
_PANELS = {"loss": "loss", "words": "losses", "joined": "losses", "asked": "losses", "said": "losses"}
Points = list[tuple[float, float]]


def draw_curves(source: Path, target: Path) -> None:
    """Draw what `Course.note` wrote; nothing where nothing was written."""
    panels = _panels(source)
    if not panels:
        return
    picture = Image.new("RGB", (WIDTH, HEIGHT * len(panels)), "white")
    pen = ImageDraw.Draw(picture)
    for place, (name, lines) in enumerate(panels.items()):
        _panel(pen, place * HEIGHT, name, lines)
    picture.save(target)


def _panels(source: Path) -> dict[str, dict[str, Points]]:
    """Lines by panel and name."""
    found: defaultdict[str, defaultdict[str, Points]] = defaultdict(lambda: defaultdict(list))
    for line in source.read_text().splitlines() if source.is_file() else []:
        numbers = json.loads(line)
        stage, minutes = numbers.pop("stage"), numbers.pop("minutes")
        numbers.pop("step")
        for name, value in numbers.items():
            kind = "exam" if name.startswith("exam ") else _PANELS.get(name, "accuracy")
            found[f"{stage}: {kind}"][name.removeprefix("exam ")].append((minutes, value))
    return {name: dict(lines) for name, lines in found.items()}


def _panel(pen: ImageDraw.ImageDraw, top: int, name: str, lines: dict[str, Points]) -> None:
    longest = max(x for points in lines.values() for x, _ in points) or 1.0
    highest = max(1.0, *(sorted(y for _, y in points)[int(0.98 * (len(points) - 1))] for points in lines.values()))
    left, right, low, high = EDGE, WIDTH - 190, top + HEIGHT - EDGE, top + 26
    pen.text((left, top + 6), name, fill="black")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = low - share * (low - high)
        pen.line((left, y, right, y), fill="#dddddd")
        pen.text((6, y - 6), f"{share * highest:.2f}", fill="#555555")
    pen.text((left, low + 6), "0", fill="#555555")
    pen.text((right - 60, low + 6), f"{longest:.0f} minutes", fill="#555555")
    for place, (line, points) in enumerate(sorted(lines.items())):
        ink = INKS[place % len(INKS)]
        trace = [
            (left + x / longest * (right - left), low - min(y, highest) / highest * (low - high)) for x, y in points
        ]
        pen.line(trace if len(trace) > 1 else trace * 2, fill=ink, width=2 if place < len(INKS) else 1)
        if high + 13 * place < low:
            pen.text((right + 10, high + 13 * place), f"{line} {points[-1][1]:.2f}", fill=ink)
