"""The figures, drawn facing right in pixels of a 320x240 picture, on a canvas three times as fine."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from stream.sources.simulated.kinds import Colour, Kind, Style

PHASES = 4  # steps of a walk, or of a turn of a wheel
PAD = 0.12  # room around the figure for its outline and shadow, fraction of its size
SCALE = 3  # the master is this many times as large as in a 320x240 picture
SKINS = ((228, 182, 148), (176, 122, 86), (112, 74, 52))
HAIRS = ((62, 42, 30), (24, 22, 24), (150, 104, 52))
DARK = (26, 26, 30)
Paint = tuple[int, int, int]


class Figure(NamedTuple):
    """Who is drawn, and how."""

    kind: Kind
    colour: Colour
    phase: int = -1  # of the walk or the wheels: 0..PHASES-1; -1 stands still
    facing: int = 1  # +1 right, -1 left
    look: int = 0  # which skin and hair
    loaded: bool = False  # arms forward
    number: str = ""  # on the side of a truck, two digits
    style: Style = "plain"


class Pen:
    """Draws in pixels of a 320x240 picture on a canvas SCALE times as fine."""

    def __init__(self, width: float, height: float) -> None:
        self.size = round(width * SCALE * (1 + 2 * PAD)), round(height * SCALE * (1 + 2 * PAD))
        self.dx, self.dy = width * PAD, height * PAD
        self.image = Image.new("RGBA", self.size)
        self.draw = ImageDraw.Draw(self.image)

    def _xy(self, points: tuple[float, ...]) -> list[float]:
        return [(p + (self.dx, self.dy)[i % 2]) * SCALE for i, p in enumerate(points)]

    def oval(self, *box: float, fill: Paint) -> None:
        self.draw.ellipse(self._xy(box), fill=fill)

    def ring(self, x: float, y: float, r: float, width: float, fill: Paint) -> None:
        self.draw.ellipse(self._xy((x - r, y - r, x + r, y + r)), outline=fill, width=round(width * SCALE))

    def slab(self, *box: float, fill: Paint, round_px: float = 0) -> None:
        self.draw.rounded_rectangle(self._xy(box), radius=round_px * SCALE, fill=fill)

    def shape(self, *points: float, fill: Paint) -> None:
        self.draw.polygon(self._xy(points), fill=fill)

    def pie(self, *box: float, start: float, end: float, fill: Paint) -> None:
        self.draw.pieslice(self._xy(box), start, end, fill=fill)

    def mirror(self) -> None:
        """Look the other way."""
        self.image = self.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        self.draw = ImageDraw.Draw(self.image)

    def letter(self, *box: float, text: str, fill: Paint) -> None:
        """One sign that fills a box."""
        x0, y0, x1, y1 = self._xy(box)
        font = _font(int((y1 - y0) * 1.22))
        left, top, right, bottom = self.draw.textbbox((0, 0), text, font=font)
        at = (x0 + x1 - left - right) / 2, (y0 + y1 - top - bottom) / 2
        self.draw.text(at, text, font=font, fill=fill, stroke_width=SCALE, stroke_fill=fill)

    def limb(self, *points: float, width: float, fill: Paint) -> None:
        """A line of several points with round ends and joints."""
        self.draw.line(self._xy(points), fill=fill, width=round(width * SCALE), joint="curve")
        for i in range(0, len(points), 2):
            x, y, r = points[i], points[i + 1], width / 2
            self.draw.ellipse(self._xy((x - r, y - r, x + r, y + r)), fill=fill)


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def shade(colour: Paint, factor: float) -> Paint:
    """Darker below 1, towards white above 1."""
    if factor <= 1:
        return tuple(max(round(c * factor), 14) for c in colour)  # type: ignore[return-value]
    return tuple(min(round(c + (243 - c) * (factor - 1)), 243) for c in colour)  # type: ignore[return-value]


def _swing(phase: int) -> float:
    return 0.0 if phase < 0 else math.sin(2 * math.pi * (phase + 0.5) / PHASES) * 1.41


def _person(pen: Pen, c: Paint, who: Figure) -> None:
    s, skin, hair, loaded = _swing(who.phase), SKINS[who.look % 3], HAIRS[who.look % 3], who.loaded
    legs, sleeve = shade(c, 0.62), shade(c, 0.78)
    lift = 0 if who.phase < 0 else 2.0
    pen.limb(19, 52, 19 - 6 * s, 69, 17 - 9 * s, 85 - lift * (s > 0), width=7.5, fill=shade(c, 0.5))
    if not loaded:
        pen.limb(17, 25, 17 + 5 * s, 37, 19 + 7 * s, 48, width=5.5, fill=shade(c, 0.6))
    pen.limb(16, 52, 16 + 6 * s, 69, 15 + 9 * s, 85 - lift * (s < 0), width=8, fill=legs)
    for foot, up in ((17 - 9 * s, s > 0), (15 + 9 * s, s < 0)):
        pen.slab(foot - 4, 84 - lift * up, foot + 7, 89 - lift * up, fill=DARK, round_px=2)
    pen.slab(7.5, 19, 26.5, 56, fill=c, round_px=7)
    pen.slab(8.5, 51, 25.5, 55, fill=legs, round_px=1.5)
    pen.slab(14, 14, 20, 22, fill=shade(skin, 0.85))
    pen.oval(9.5, 1, 24.5, 18, fill=skin)
    pen.pie(9, 0, 25, 17, start=150, end=350, fill=hair)
    pen.oval(20.5, 8, 22.5, 10.5, fill=DARK)
    if loaded:
        pen.limb(13, 25, 18, 38, 33, 39, width=6, fill=sleeve)
        pen.oval(30, 36, 36, 42, fill=skin)
    else:
        pen.limb(14, 25, 14 - 5 * s, 38, 15 - 8 * s, 49, width=6, fill=sleeve)
        pen.oval(12.5 - 8 * s, 47, 18 - 8 * s, 53, fill=skin)


def _car(pen: Pen, c: Paint, who: Figure) -> None:
    glass, lit = (126, 168, 190), (172, 205, 220)
    pen.shape(16, 22, 31, 3, 66, 3, 85, 22, fill=shade(c, 0.92))
    pen.slab(2, 19, 98, 42, fill=c, round_px=8)
    pen.shape(23, 20, 34, 7, 48, 7, 48, 20, fill=glass)
    pen.shape(52, 20, 52, 7, 64, 7, 77, 20, fill=glass)
    pen.shape(27, 20, 37, 8, 42, 8, 32, 20, fill=lit)
    pen.shape(56, 20, 56, 8, 60, 8, 63, 20, fill=lit)
    pen.slab(2, 34, 98, 42, fill=shade(c, 0.72), round_px=4)
    pen.slab(10, 22, 90, 24, fill=shade(c, 1.35))
    pen.limb(50, 24, 50, 36, width=0.8, fill=shade(c, 0.6))
    pen.slab(54, 26.5, 60, 28.5, fill=shade(c, 0.55), round_px=1)
    pen.slab(91, 23, 98, 30, fill=(243, 236, 190), round_px=2)
    pen.slab(2, 23, 6, 30, fill=(176, 40, 36), round_px=1)
    for x in (23, 77):
        pen.oval(x - 11, 28, x + 11, 50, fill=(22, 22, 24))
        pen.oval(x - 6, 33, x + 6, 45, fill=(176, 178, 184))
        for k in range(2):
            a = math.pi * (max(who.phase, 0) / PHASES / 2 + k / 2)
            u, v = 5 * math.cos(a), 5 * math.sin(a)
            pen.limb(x - u, 39 - v, x + u, 39 + v, width=1.5, fill=(92, 94, 100))


def _truck(pen: Pen, c: Paint, who: Figure) -> None:
    pen.slab(2, 60, 130, 68, fill=(52, 52, 58), round_px=2)
    pen.slab(1, 2, 96, 62, fill=c, round_px=3)
    pen.slab(1, 57, 96, 62, fill=shade(c, 0.66), round_px=2)
    pen.shape(99, 62, 99, 18, 118, 18, 130, 40, 130, 62, fill=shade(c, 0.86))
    pen.shape(104, 38, 104, 23, 116, 23, 124, 38, fill=(140, 178, 198))
    pen.slab(124, 48, 131, 55, fill=(243, 236, 190), round_px=2)
    pen.slab(100, 44, 108, 46, fill=shade(c, 0.55), round_px=1)
    for x in (22, 44, 112):
        pen.oval(x - 11, 55, x + 11, 77, fill=(22, 22, 24))
        pen.oval(x - 5, 61, x + 5, 71, fill=(170, 172, 178))
        a = math.pi * max(who.phase, 0) / PHASES
        pen.limb(
            x - 4 * math.cos(a), 66 - 4 * math.sin(a), x + 4 * math.cos(a), 66 + 4 * math.sin(a), width=1.5, fill=DARK
        )


def _cat(pen: Pen, c: Paint, who: Figure) -> None:
    s, far = _swing(who.phase), shade(c, 0.55)
    pen.limb(7, 21, 3, 13, 5, 5, 10, 2, width=3.4, fill=shade(c, 0.85))
    for x, d in ((11, -1), (25, 1)):
        pen.limb(x + 2, 22, x + 2 + 3 * s * d, 32.5, width=3, fill=far)
    pen.oval(5, 13, 31, 27, fill=c)
    for x, d in ((9, 1), (26, -1)):
        pen.limb(x, 22, x + 3 * s * d, 32.5, width=3.4, fill=shade(c, 0.85))
    pen.oval(24, 5, 39, 19, fill=c)
    pen.shape(25, 9, 25.5, 0.5, 31, 6, fill=c)
    pen.shape(33, 6, 38, 0.5, 38.5, 9, fill=c)
    pen.shape(26.4, 7.5, 26.6, 3, 29.4, 6, fill=(214, 150, 150))
    for x in (29, 35):
        pen.oval(x - 1.6, 9.5, x + 1.6, 13, fill=(150, 200, 90) if max(c) < 90 else DARK)
    pen.shape(31, 14, 34, 14, 32.5, 16, fill=(214, 120, 120))


def _dog(pen: Pen, c: Paint, who: Figure) -> None:
    s, far = _swing(who.phase), shade(c, 0.55)
    for x, d in ((14, -1), (34, 1)):
        pen.limb(x + 3, 21, x + 3 + 4 * s * d, 33.5, width=4, fill=far)
    pen.limb(9, 13, 4, 8, 2.5, 2.5, width=3.6, fill=shade(c, 0.85))
    pen.slab(7, 9.5, 40, 24, fill=c, round_px=7)
    pen.limb(36, 14, 41, 9, width=9, fill=c)
    for x, d in ((11, 1), (35, -1)):
        pen.limb(x, 21, x + 4 * s * d, 33.5, width=4.6, fill=shade(c, 0.85))
    pen.oval(34, 1.5, 47, 15.5, fill=c)
    pen.slab(42, 7, 51, 13.5, fill=shade(c, 0.9), round_px=3)
    pen.oval(49, 6.5, 52, 9.5, fill=DARK)
    pen.shape(35, 2, 40, 3, 37, 12, 34, 11, fill=shade(c, 0.5))
    pen.oval(42, 4.5, 44.2, 6.8, fill=DARK if max(c) > 90 else (220, 220, 220))


def _bicycle(pen: Pen, c: Paint, who: Figure) -> None:
    for x in (15.5, 54.5):
        pen.ring(x, 34.5, 15, 2.2, (34, 34, 38))
        pen.ring(x, 34.5, 13.6, 3.0, c)
        for k in range(3):
            a = math.pi * (k / 3 + max(who.phase, 0) / PHASES / 3)
            u, v = 11 * math.cos(a), 11 * math.sin(a)
            pen.limb(x - u, 34.5 - v, x + u, 34.5 + v, width=0.7, fill=(150, 150, 156))
    pen.limb(15.5, 34.5, 26, 14, width=4, fill=c)
    pen.limb(15.5, 34.5, 33, 35, 48, 13, 26, 14, 33, 35, width=4.4, fill=c)
    pen.limb(54.5, 34.5, 47, 6, width=4, fill=c)
    pen.limb(26, 14, 24.5, 8, width=3, fill=c)
    pen.limb(44, 5, 50, 4, 53, 8, width=2.6, fill=(60, 60, 66))
    pen.slab(18, 4.5, 31, 8.5, fill=(46, 38, 34), round_px=2)
    a = math.pi * max(who.phase, 0) / PHASES
    pen.ring(33, 35, 4, 1.6, (90, 90, 96))
    pen.limb(
        33 - 6 * math.cos(a), 35 - 6 * math.sin(a), 33 + 6 * math.cos(a), 35 + 6 * math.sin(a), width=1.8, fill=DARK
    )


def _ball(pen: Pen, c: Paint, who: Figure) -> None:
    pen.oval(0.5, 0.5, 29.5, 29.5, fill=shade(c, 0.8))
    pen.oval(1.5, 0.5, 27.5, 26.5, fill=c)
    for k in range(3):
        a = 2 * math.pi * (k / 3 + max(who.phase, 0) / PHASES / 3)
        pen.limb(15, 15, 15 + 12 * math.cos(a), 15 + 12 * math.sin(a), width=1.5, fill=shade(c, 0.66))
    pen.oval(6, 4.5, 14, 11.5, fill=shade(c, 1.75))


def _box(pen: Pen, c: Paint, _: Figure) -> None:
    tape = (214, 184, 132)
    pen.slab(0.5, 0.5, 39.5, 33.5, fill=c, round_px=1.5)
    pen.slab(0.5, 27, 39.5, 33.5, fill=shade(c, 0.72), round_px=1.5)
    pen.slab(17, 0.5, 23, 33.5, fill=tape)
    pen.slab(0.5, 13.5, 39.5, 18.5, fill=tape)
    pen.slab(17, 13.5, 23, 18.5, fill=shade(tape, 0.8))


FIGURES: dict[Kind, Callable[[Pen, Paint, Figure], None]] = {
    "person": _person,
    "car": _car,
    "truck": _truck,
    "dog": _dog,
    "cat": _cat,
    "bicycle": _bicycle,
    "ball": _ball,
    "box": _box,
}
