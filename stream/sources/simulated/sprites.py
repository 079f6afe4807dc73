"""Figures ready to be laid over a picture: drawn once at three times their size, then scaled and kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from stream.sources.simulated.figures import FIGURES, PAD, Figure, Paint, Pen
from stream.sources.simulated.kinds import RGB, SIZES, Style


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A figure ready to be laid over a picture. Its array is larger than its box by PAD on each side."""

    veil: NDArray[np.uint16]  # (h, w, 1): what is left of the background, 0..256
    ink: NDArray[np.uint16]  # (h, w, 3): the figure's light, already weighted, 0..255
    solid: NDArray[np.bool_]  # (h, w): the figure without its shadow


@lru_cache(maxsize=640)
def sprite(figure: Figure, size: tuple[int, int]) -> Sprite:
    """The figure with a box of `size` = (width, height) px."""
    image = _master(figure)
    width, height = size
    full = max(round(width * (1 + 2 * PAD)), 2), max(round(height * (1 + 2 * PAD)), 2)
    small = np.asarray(image.resize(full, Image.Resampling.BOX), np.float32)
    alpha, light = small[..., 3:] / 255, small[..., :3]
    shadow = _shadow(full)[..., None] * (1 - alpha)
    veil = (1 - alpha) * (1 - shadow) * 256
    ink = np.clip(light, alpha * 12, 245) + 12 * (1 - alpha) * shadow
    return Sprite(np.rint(veil).astype(np.uint16), np.rint(ink).astype(np.uint16), alpha[..., 0] > 0.5)


def _shadow(size: tuple[int, int]) -> NDArray[np.float32]:
    """A soft pool of shade at the feet: (h, w) in 0..0.5."""
    w, h = size
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    foot = h * (1 + PAD) / (1 + 2 * PAD)
    rx, ry = w * 0.46, max(min(h * 0.11, w * 0.13), 1.0)
    r = ((x + 0.5 - w / 2) / rx) ** 2 + ((y + 0.5 - foot + ry * 0.35) / ry) ** 2
    shade_field: NDArray[np.float32] = (0.5 * np.clip(1.15 - r, 0, 1)).astype(np.float32)
    return shade_field


@lru_cache(maxsize=320)
def _master(figure: Figure) -> Image.Image:
    w, h = SIZES[figure.kind][0] * 320, SIZES[figure.kind][1] * 240
    pen = Pen(w, h)
    FIGURES[figure.kind](pen, _toned(RGB[figure.colour], figure.style), figure)
    if figure.facing < 0:
        pen.mirror()
    for box, digit in zip(digit_boxes(figure.facing), figure.number, strict=False):
        pen.letter(*box, text=digit, fill=(20, 20, 24) if _is_light(RGB[figure.colour]) else (243, 243, 238))
    if figure.style == "soft":
        return pen.image.convert("RGBa").filter(ImageFilter.BoxBlur(1))
    black = figure.colour == "black"  # its light contour stays thin: a wide one would make a small thing grey
    return _outlined(pen.image, light=black, wide=5.5 if figure.style == "comic" and not black else 2.5)


def _is_light(colour: Paint) -> bool:
    """Whether dark digits stand out better on it than white ones."""
    return 0.30 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 130


def digit_boxes(facing: int) -> tuple[tuple[float, float, float, float], ...]:
    """Where the two digits of a truck stand, px of a 320x240 picture from the corner of its box; never mirrored."""
    left = 8.0 if facing > 0 else SIZES["truck"][0] * 320 - 88
    return (left + 2, 9, left + 36, 55), (left + 44, 9, left + 78, 55)


def _toned(colour: Paint, style: Style) -> Paint:
    """Paler in the soft style, flat and full in the comic one."""
    if style == "soft":
        grey = sum(colour) / 3
        return tuple(round(grey + 0.82 * (c - grey)) for c in colour)  # type: ignore[return-value]
    if style == "comic":
        return tuple(min(max(round(c / 48) * 48, 14), 243) for c in colour)  # type: ignore[return-value]
    return colour


def _outlined(image: Image.Image, light: bool, wide: float) -> Image.Image:
    """A contour, so that white shows before a white wall and black at night."""
    alpha = image.getchannel("A")
    # A blur and a threshold: widens as a maximum filter would, at a tenth of its cost.
    rim = alpha.filter(ImageFilter.BoxBlur(wide)).point([min(v * 6, 255) for v in range(256)])
    contour = Image.new("RGBA", image.size, (118, 118, 124, 255) if light else (34, 32, 38, 255))
    contour.putalpha(rim)
    contour.alpha_composite(image)
    return contour.convert("RGBa")  # premultiplied: scaling must not bleed the colour of nothing into the edges
