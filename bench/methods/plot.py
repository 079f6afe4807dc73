"""Right answers over tokens kept: one line per reducer, ours drawn thick, the bounds across."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from bench.methods.figures import Summary
from bench.watch.lag_plot import INK, PALE, PAPER, SCALE
from models.reducers.registry import OURS

Colour = tuple[int, int, int]
SIZE = (1180, 520)
PANELS = {"past": (64, 64, 484, 440), "present": (548, 64, 968, 440)}  # left, top, right, bottom
NAMES_AT = 988
BLUE: Colour = (18, 108, 196)
GREY: Colour = (120, 128, 140)


def draw(found: Sequence[Summary], title: str) -> Image.Image:
    """A picture of both modes."""
    image = Image.new("RGB", (SIZE[0] * SCALE, SIZE[1] * SCALE), PAPER)
    pen = ImageDraw.Draw(image)
    _write(pen, (64, 12), f"{title}: right answers over tokens kept a minute", 15)
    reducers = [one for one in found if one.group == "reducer" and "tokens_per_minute" in one.figures]
    bounds = [one for one in found if one.group in {"floor", "whole"}]
    names = sorted({one.method for one in reducers}, key=lambda name: (name != OURS, name))
    colours = {name: _colour(i, len(names)) for i, name in enumerate(names)}
    span = _span([_tokens(one) for one in reducers if _tokens(one) > 0])
    for mode, frame in PANELS.items():
        _axes(pen, frame, mode, span)
        _bounds(pen, frame, mode, bounds)
        for name in reversed(names):  # ours last, upon all others
            its = sorted((one for one in reducers if one.method == name and mode in one.right), key=_tokens)
            points = [_at(frame, span, _tokens(one), one.right[mode].right) for one in its if _tokens(one) > 0]
            _curve(pen, points, colours[name], 5 if name == OURS else 1)
    for i, name in enumerate(names):
        y = PANELS["past"][1] + 20 * i
        pen.line(_scaled(NAMES_AT, y + 9, NAMES_AT + 18, y + 9), colours[name], (4 if name == OURS else 2) * SCALE)
        _write(pen, (NAMES_AT + 24, y), name, 13)
    return image


def _tokens(one: Summary) -> float:
    return one.figures["tokens_per_minute"].mean


def _colour(number: int, count: int) -> Colour:
    if number == 0:
        return BLUE
    red, green, blue = colorsys.hsv_to_rgb((number - 1) / max(1, count - 1), 0.65, 0.55 + 0.3 * (number % 2))
    return round(255 * red), round(255 * green), round(255 * blue)


def _span(tokens: Sequence[float]) -> tuple[float, float]:
    """Powers of ten around all of them, as exponents."""
    low, high = math.log10(min(tokens, default=1.0)), math.log10(max(tokens, default=10.0))
    return math.floor(low), max(math.ceil(high), math.floor(low) + 1)


def _at(
    frame: tuple[int, int, int, int], span: tuple[float, float], tokens: float, share: float
) -> tuple[float, float]:
    left, top, right, bottom = frame
    place = (math.log10(tokens) - span[0]) / (span[1] - span[0])
    return (left + place * (right - left)) * SCALE, (bottom - share * (bottom - top)) * SCALE


def _axes(pen: ImageDraw.ImageDraw, frame: tuple[int, int, int, int], mode: str, span: tuple[float, float]) -> None:
    left, top, right, bottom = frame
    _write(pen, (left, top - 22), mode, 13)
    for tenth in range(0, 11, 2):
        y = bottom - tenth / 10 * (bottom - top)
        pen.line(_scaled(left, y, right, y), PALE, SCALE)
        _write(pen, (left - 46, y - 9), f"{tenth * 10:3d} %", 12)
    for power in range(int(span[0]), int(span[1]) + 1):
        x = _at(frame, span, 10.0**power, 0)[0] / SCALE
        pen.line(_scaled(x, top, x, bottom), PALE, SCALE)
        _write(pen, (x - 12, bottom + 8), f"{10.0**power:g}", 12)
    _write(pen, (left, bottom + 30), "tokens kept per minute of video", 12)


def _bounds(pen: ImageDraw.ImageDraw, frame: tuple[int, int, int, int], mode: str, bounds: Sequence[Summary]) -> None:
    """A line across for every token and for each floor, with its name."""
    left, top, right, bottom = frame
    below = float(top) - 32
    for one in sorted((b for b in bounds if mode in b.right), key=lambda b: -b.right[mode].right):
        y = bottom - one.right[mode].right * (bottom - top)
        for x in range(left, right, 8):
            pen.line(_scaled(x, y, x + 4, y), GREY, SCALE)
        below = max(below + 14, y - 16)
        _write(pen, (left + 4, below), one.method, 11)


def _curve(pen: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: Colour, width: int) -> None:
    for start, end in pairwise(points):
        pen.line((start, end), colour, width * SCALE)
    for x, y in points:
        r = (width + 1) * SCALE
        pen.ellipse((x - r, y - r, x + r, y + r), colour)


def _scaled(*at: float) -> tuple[float, ...]:
    return tuple(value * SCALE for value in at)


def _write(pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int) -> None:
    pen.text((at[0] * SCALE, at[1] * SCALE), text, INK, ImageFont.load_default(size * SCALE))
