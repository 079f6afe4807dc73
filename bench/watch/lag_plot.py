"""Forgetting curves: share of right answers by the age of the evidence, drawn with PIL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from bench.watch.scoring import AGE_NAMES
from bench.watch.systems import BLIND, LAST_4, LAST_FRAME, LONGWATCH, ORACLE
from bench.watch.tables import Row

SCALE = 2  # drawn at twice the size, shown at one: crisp on fine screens
SIZE = (860, 460)
FRAME = (64, 48, 700, 400)  # left, top, right, bottom of the axes
INK, PALE, PAPER = (34, 38, 46), (222, 226, 232), (255, 255, 255)
LINES: dict[str, tuple[tuple[int, int, int], int]] = {  # colour and width
    ORACLE: ((120, 128, 140), 2),
    LAST_4: ((214, 98, 24), 2),
    LAST_FRAME: ((226, 164, 40), 2),
    BLIND: ((170, 96, 176), 2),
    "blind": ((190, 190, 190), 2),
    LONGWATCH: ((18, 108, 196), 4),
}


def draw(ages: Mapping[str, Row], title: str) -> Image.Image:
    """A picture of the curves; ages without a question are gaps."""
    image = Image.new("RGB", (SIZE[0] * SCALE, SIZE[1] * SCALE), PAPER)
    pen = ImageDraw.Draw(image)
    _write(pen, (FRAME[0], 14), f"{title}: right answers about the past, by age of the evidence", 15)
    _axes(pen, ages)
    ends: list[tuple[float, str]] = []
    for system, (colour, width) in LINES.items():
        points = [(i, _share(ages[name], system)) for i, name in enumerate(AGE_NAMES) if name in ages]
        known = [(i, share) for i, share in points if share is not None]
        if system == LONGWATCH:
            _band(pen, ages, colour)
        _curve(pen, known, colour, width)
        if known:
            ends.append((known[-1][1], system))
    _names(pen, ends)
    return image


def _share(row: Row, system: str) -> float | None:
    if system == "blind":
        return row.blind
    return row.shares[system].right if system in row.shares else None


def _at(place: float, share: float) -> tuple[float, float]:
    """Pixel of an age's place in AGE_NAMES and a share."""
    left, top, right, bottom = FRAME
    x = left + (right - left) * (place + 0.5) / len(AGE_NAMES)
    return x * SCALE, (bottom - share * (bottom - top)) * SCALE


def _axes(pen: ImageDraw.ImageDraw, ages: Mapping[str, Row]) -> None:
    left, _, right, bottom = FRAME
    for tenth in range(0, 11, 2):
        y = _at(0, tenth / 10)[1] / SCALE
        pen.line((left * SCALE, y * SCALE, right * SCALE, y * SCALE), PALE, SCALE)
        _write(pen, (left - 46, y - 9), f"{tenth * 10:3d} %", 13)
    for i, name in enumerate(AGE_NAMES):
        x = _at(i, 0)[0] / SCALE
        count = f"n = {ages[name].count}" if name in ages else "none"
        _write(pen, (x - 18, bottom + 8), name, 13)
        _write(pen, (x - 22, bottom + 27), count, 11)


def _band(pen: ImageDraw.ImageDraw, ages: Mapping[str, Row], colour: tuple[int, int, int]) -> None:
    """Whiskers: the 95 % interval of each point."""
    for i, name in enumerate(AGE_NAMES):
        if name in ages and LONGWATCH in ages[name].shares:
            share = ages[name].shares[LONGWATCH]
            pen.line((_at(i, share.low), _at(i, share.high)), colour, SCALE)


def _curve(
    pen: ImageDraw.ImageDraw, known: Sequence[tuple[int, float]], colour: tuple[int, int, int], width: int
) -> None:
    points = [_at(i, share) for i, share in known]
    for (a, start), (b, end) in zip(
        zip(known, points, strict=True), zip(known[1:], points[1:], strict=True), strict=False
    ):
        if b[0] - a[0] == 1:
            pen.line((start, end), colour, width * SCALE)
    for x, y in points:
        r = (width + 1) * SCALE
        pen.ellipse((x - r, y - r, x + r, y + r), colour)


def _names(pen: ImageDraw.ImageDraw, ends: list[tuple[float, str]]) -> None:
    """The systems' names at the right, in the order of where their curves end, none upon another."""
    y = float(FRAME[1])
    for share, system in sorted(ends, reverse=True):
        y = max(y, _at(0, share)[1] / SCALE - 9)
        left = FRAME[2] + 12
        pen.line((left * SCALE, (y + 9) * SCALE, (left + 18) * SCALE, (y + 9) * SCALE), LINES[system][0], 3 * SCALE)
        _write(pen, (left + 24, y), system, 13)
        y += 20


def _write(pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int) -> None:
    pen.text((at[0] * SCALE, at[1] * SCALE), text, INK, ImageFont.load_default(size * SCALE))
