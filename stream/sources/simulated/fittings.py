"""What is fixed to a painted place and changes: its door, its lamp and the clock on its wall.

Where each hangs is decided by scene and variant alone; boxes are fractions of the unpanned picture.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stream.sources.simulated.brush import HEIGHT, WIDTH, Easel, Paint, cut, lighter, put
from stream.sources.simulated.kinds import FIXTURES, SCENES, Fixture, Scene

VARIANTS = 16  # different places per scene
DOORS: dict[Scene, tuple[int, int, int]] = {"yard": (80, 124, 272), "hall": (190, 82, 272), "room": (92, 80, 276)}
CLOCK_XY: dict[Scene, tuple[float, float]] = {"hall": (0.64, 0.03), "room": (0.415, 0.09), "desk": (0.70, 0.03)}
CLOCK_SIZE = 0.17, 0.10  # fractions of the picture
LAMP_Y = 0.078  # of the bulb
_IRON: Paint = (58, 60, 66)
Box = tuple[float, float, float, float]  # x0, y0, x1, y1


def place_rng(scene: Scene, variant: int, salt: int) -> np.random.Generator:
    """Decides one thing about a place."""
    return np.random.default_rng((SCENES.index(scene), variant % VARIANTS, salt))


def door_x(scene: Scene, variant: int) -> int:
    """Left edge of the door, px of the master; 0 where there is none."""
    rng = place_rng(scene, variant, 9)
    if scene == "room":  # to one side of window and sofa
        return int(rng.choice((rng.uniform(60, 90), rng.uniform(470, 510))))
    low, high = {"yard": (190, 390), "hall": (70, 330)}.get(scene, (0, 1))
    return int(rng.uniform(low, high))


def lamp_x(scene: Scene, variant: int) -> float:
    """Middle of the lamp, fraction of the picture's width."""
    rng = place_rng(scene, variant, 7)
    if scene == "yard":  # its post stands beside the door
        door = door_x(scene, variant) / WIDTH
        sides = (0.20, door - 0.02), (door + 0.22, 0.85)
        return float(rng.uniform(*sides[int(rng.integers(2))]))
    if scene == "room":  # beside the clock
        return float(rng.choice((rng.uniform(0.20, 0.28), rng.uniform(0.73, 0.80))))
    return float(rng.uniform(*{"hall": (0.20, 0.48), "desk": (0.25, 0.54)}.get(scene, (0.25, 0.75))))


def fixture_box(scene: Scene, variant: int, fixture: Fixture) -> Box:
    """Where a fixture shows its state, fractions of the unpanned picture. Raises ValueError where it has none."""
    if fixture not in FIXTURES[scene]:
        raise ValueError(f"A {scene} has no {fixture}.")
    if fixture == "light":
        x = lamp_x(scene, variant)
        return x - 0.065, 0.03, x + 0.065, 0.16
    wide, top, bottom = DOORS[scene]
    x = door_x(scene, variant) / WIDTH
    return x, top / HEIGHT, x + wide / WIDTH, bottom / HEIGHT


def paint_door(image: Image.Image, scene: Scene, variant: int, is_open: bool) -> None:
    """A leaf in its frame, or the opening behind it."""
    draw, rng = Easel(image), place_rng(scene, variant, 11)
    wide, top, bottom = DOORS[scene]
    wide, bottom = wide - 1, bottom - 1  # both edges of a shape are drawn
    x, tone = door_x(scene, variant), int(rng.uniform(-10, 10))
    if scene == "hall":
        _gate(draw, (x, top, x + wide, bottom), tone, is_open)
        return
    leaf = lighter(((108, 78, 56), (92, 104, 96), (126, 110, 92))[int(rng.integers(3))], tone)
    draw.rectangle((x - 7, top - 7, x + wide + 7, bottom), fill=lighter(leaf, 58))
    if is_open:
        draw.rectangle((x, top, x + wide, bottom), fill=(24, 22, 24))
        draw.polygon((x, bottom, x + wide, bottom, x + wide - 18, bottom - 34, x + 18, bottom - 34), fill=(62, 54, 46))
        draw.polygon((x, top, x + 15, top + 12, x + 15, bottom, x, bottom), fill=lighter(leaf, 14))
        return
    draw.rectangle((x, top, x + wide, bottom), fill=leaf)
    for u in (x + 9, x + wide // 2 + 4):
        for v, h in ((top + 10, 44), (top + 66, bottom - top - 80)):
            draw.rectangle((u, v, u + wide // 2 - 14, v + h), outline=lighter(leaf, -24), width=3)
    draw.ellipse((x + wide - 13, (top + bottom) // 2, x + wide - 5, (top + bottom) // 2 + 8), fill=(206, 184, 118))


def _gate(draw: Easel, box: tuple[int, int, int, int], tone: int, is_open: bool) -> None:
    """A roll-up gate: down, or up with the dark yard behind it."""
    x0, top, x1, bottom = box
    steel = lighter((150, 156, 162), tone)
    draw.rectangle((x0 - 8, top - 8, x1 + 8, bottom), fill=lighter(steel, -58))
    low = top + 30 if is_open else bottom
    if is_open:
        draw.rectangle((x0, low, x1, bottom), fill=(26, 28, 34))
        draw.polygon((x0, bottom, x1, bottom, x1 - 34, bottom - 50, x0 + 34, bottom - 50), fill=(58, 58, 62))
    for y in range(top, low, 14):
        draw.rectangle((x0, y, x1, min(y + 12, low)), fill=lighter(steel, (y // 14 % 2) * 10))


def paint_lamp(image: Image.Image, scene: Scene, variant: int, lit: bool) -> None:
    """A street lamp, or one that hangs from the ceiling; lit, it has a halo also by day."""
    draw, cx = Easel(image), lamp_x(scene, variant) * WIDTH
    if scene in ("yard", "street"):
        draw.line((cx - 40, 30, cx - 40, 285), fill=_IRON, width=6)
        draw.line((cx - 40, 30, cx, 20), fill=_IRON, width=5)
    else:
        draw.line((cx, 0, cx, 22), fill=_IRON, width=3)
    if lit:
        _halo(image, cx, LAMP_Y * HEIGHT)
    draw.polygon((cx - 26, 40, cx + 26, 40, cx + 13, 18, cx - 13, 18), fill=_IRON)
    bulb = (243, 236, 196) if lit else (96, 94, 90)
    draw.ellipse((cx - 19, 30, cx + 19, 52), fill=bulb)


def _halo(image: Image.Image, x: float, y: float) -> None:
    v, u = np.mgrid[0:120, 0:160].astype(np.float32)
    reach = np.clip(1.15 - np.hypot((u - 80) / 80, (v - 50) / 62), 0, 1)[..., None] * 0.85
    box = round(x) - 80, round(y) - 50, round(x) + 80, round(y) + 70
    area = np.asarray(cut(image, box), np.float32)
    glowing = area + (np.array((243, 226, 158), np.float32) - area) * np.clip(reach, 0, 1)
    put(image, Image.fromarray(glowing.astype(np.uint8)), box[0], box[1])


def clock_box(scene: Scene) -> Box | None:
    """Where a clock hangs; None where there is none."""
    if scene not in CLOCK_XY:
        return None
    (x, y), (w, h) = CLOCK_XY[scene], CLOCK_SIZE
    return x, y, x + w, y + h


@lru_cache(maxsize=64)
def clock_face(wall_minute: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(h, w, 3): a dark plate that shows a minute of Unix time as HH:MM, UTC."""
    text = datetime.fromtimestamp(wall_minute * 60, UTC).strftime("%H:%M")
    w, h = max(size[0], round(2.2 * size[1])), size[1]  # wide enough for the text: squeezed with what is not 4:3
    plate = Image.new("RGB", (w, h), (30, 34, 38))
    draw = ImageDraw.Draw(plate)
    draw.rectangle((0, 0, w - 1, h - 1), outline=(150, 152, 156))
    font = ImageFont.load_default(size=max(round(h * 0.82), 6))
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    draw.text(((w - right - left) / 2, (h - bottom - top) / 2), text, font=font, fill=(240, 240, 214))
    return np.asarray(plate if w == size[0] else plate.resize(size, Image.Resampling.BOX))
