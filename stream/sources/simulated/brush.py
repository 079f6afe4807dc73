"""Strokes that several painted places share. All sizes are pixels of the master picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 640, 480  # of the master
LOW, HIGH = 12, 243  # pixel range of everything painted: leaves room for noise
Paint = tuple[int, int, int]


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
    image.paste(Image.fromarray(np.broadcast_to(rows, (y1 - y0, x1 - x0, 3)).astype(np.uint8)), (x0, y0))


def mottle(image: Image.Image, box: tuple[int, int, int, int], rng: np.random.Generator, cell: int, by: float) -> None:
    """Smooth patches of lighter and darker, as of grass, plaster or asphalt."""
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    seeds = rng.normal(0, 1, (max(h // cell, 2), max(w // cell, 2))).astype(np.float32)
    patch = np.asarray(Image.fromarray(seeds).resize((w, h), Image.Resampling.BICUBIC))
    fine = rng.normal(0, 0.6, (h // 2 + 1, w // 2 + 1)).repeat(2, 0).repeat(2, 1)[:h, :w]
    area = np.asarray(image.crop(box), np.float32) + by * (patch + fine)[..., None]
    image.paste(Image.fromarray(np.clip(area, LOW, HIGH).astype(np.uint8)), (x0, y0))


def window(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], frame: Paint, glass: Paint) -> None:
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
