"""Strokes that several painted places share. All sizes are pixels of the master picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from stream.sources.simulated.world import MOST_PAN

WIDTH, HEIGHT = 640, 480  # of the master, as far as a camera that looks straight ahead sees it
LEFT, RIGHT = -round(MOST_PAN * WIDTH), WIDTH + round(MOST_PAN * WIDTH)  # as far as one that turns does
LOW, HIGH = 12, 243  # pixel range of everything painted: leaves room for noise
Paint = tuple[int, int, int]


class Easel:
    """Draws on a master picture, from LEFT to RIGHT; options are those of PIL's `ImageDraw`."""

    def __init__(self, image: Image.Image) -> None:
        self._draw = ImageDraw.Draw(image)

    def line(self, xy: Sequence[float], **how: Any) -> None:
        """A line through points."""
        self._draw.line(_moved(xy), **how)

    def polygon(self, xy: Sequence[float], **how: Any) -> None:
        """An area with corners."""
        self._draw.polygon(_moved(xy), **how)

    def rectangle(self, xy: Sequence[float], **how: Any) -> None:
        """A box; both its edges are drawn."""
        self._draw.rectangle(_moved(xy), **how)

    def rounded_rectangle(self, xy: Sequence[float], radius: float, **how: Any) -> None:
        """A box without sharp corners."""
        self._draw.rounded_rectangle(_moved(xy), radius, **how)

    def ellipse(self, xy: Sequence[float], **how: Any) -> None:
        """What fills a box, round."""
        self._draw.ellipse(_moved(xy), **how)


def _moved(xy: Sequence[float]) -> list[float]:
    return [p - LEFT if i % 2 == 0 else p for i, p in enumerate(xy)]


def cut(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """A piece of a master picture."""
    return image.crop((box[0] - LEFT, box[1], box[2] - LEFT, box[3]))


def put(image: Image.Image, piece: Image.Image, x: int, y: int) -> None:
    """Lay a piece on a master picture."""
    image.paste(piece, (x - LEFT, y))


def tint(colour: Paint, rng: np.random.Generator, by: float = 10) -> Paint:
    """A little lighter or darker than `colour`."""
    shift = rng.uniform(-by, by) + rng.uniform(-by / 4, by / 4, 3)  # more in lightness than in hue
    r, g, b = (int(np.clip(c + d, 16, 238)) for c, d in zip(colour, shift, strict=True))
    return r, g, b


def fade(image: Image.Image, box: tuple[int, int, int, int], top: Paint, bottom: Paint) -> None:
    """A vertical gradient."""
    x0, y0, x1, y1 = box
    u = np.linspace(0, 1, y1 - y0)[:, None, None]
    rows = (1 - u) * np.array(top) + u * np.array(bottom)
    put(image, Image.fromarray(np.broadcast_to(rows, (y1 - y0, x1 - x0, 3)).astype(np.uint8)), x0, y0)


def mottle(image: Image.Image, box: tuple[int, int, int, int], rng: np.random.Generator, cell: int, by: float) -> None:
    """Smooth patches of lighter and darker, as of grass, plaster or asphalt."""
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    seeds = rng.normal(0, 1, (max(h // cell, 2), max(w // cell, 2))).astype(np.float32)
    patch = np.asarray(Image.fromarray(seeds).resize((w, h), Image.Resampling.BICUBIC))
    fine = rng.normal(0, 0.6, (h // 2 + 1, w // 2 + 1)).repeat(2, 0).repeat(2, 1)[:h, :w]
    area = np.asarray(cut(image, box), np.float32) + by * (patch + fine)[..., None]
    put(image, Image.fromarray(np.clip(area, LOW, HIGH).astype(np.uint8)), x0, y0)


def window(draw: Easel, box: tuple[int, int, int, int], frame: Paint, glass: Paint) -> None:
    """A framed pane with a reflection; `box` is x, y, width and height."""
    x, y, w, h = box
    draw.rectangle((x - 4, y - 4, x + w + 4, y + h + 4), fill=frame)
    draw.rectangle((x, y, x + w, y + h), fill=glass)
    draw.polygon(
        (x + 2, y + h - 4, x + w // 2, y + 2, x + w - 8, y + 2, x + 2, y + h // 2 + h // 3), fill=lighter(glass, 22)
    )
    draw.line((x + w // 2, y, x + w // 2, y + h), fill=frame, width=3)
    draw.line((x, y + h // 2, x + w, y + h // 2), fill=frame, width=3)


def lighter(colour: Paint, by: int) -> Paint:
    """Lighter by so many grey levels, or darker."""
    r, g, b = (min(max(c + by, 14), 242) for c in colour)
    return r, g, b
