"""The painted places under the sky: a yard and a street."""

from __future__ import annotations

import numpy as np
from PIL import Image

from stream.sources.simulated.brush import HEIGHT, LEFT, RIGHT, Easel, fade, lighter, mottle, tint, window


def yard(image: Image.Image, rng: np.random.Generator, door: int) -> None:
    """A house behind a lawn; its door begins at `door`."""
    draw = Easel(image)
    fade(image, (LEFT, 0, RIGHT, 272), tint((138, 176, 208), rng), (218, 224, 222))
    wall, roof = tint((196, 182, 160), rng, 16), tint((122, 84, 70), rng, 12)
    left, right = int(rng.uniform(0, 100)), int(rng.uniform(470, 570))
    draw.rectangle((left, 60, right, 272), fill=wall)
    mottle(image, (left, 60, right, 272), rng, 24, 2.5)
    draw.polygon((left - 26, 64, left + 40, 4, right - 40, 4, right + 26, 64), fill=roof)
    for y in range(12, 64, 9):
        eave = (y - 4) * 66 // 60
        draw.line((left + 40 - eave, y, right - 40 + eave, y), fill=lighter(roof, -14), width=1)
    for x in range(left + 40, right - 70, 120):
        if not door - 70 < x < door + 92:
            window(draw, (x, 110, 52, 70), lighter(wall, 34), (92, 110, 122))
    hedge = tint((72, 92, 62), rng)
    for _ in range(180):
        u, v, r = rng.uniform(LEFT - 10, RIGHT + 10), rng.uniform(228, 268), rng.uniform(9, 20)
        if left - 12 < u < right + 12:
            continue
        draw.ellipse((u - r, v - r, u + r, v + r), fill=tint(hedge, rng, 14))
    fade(image, (LEFT, 270, RIGHT, HEIGHT), tint((122, 132, 92), rng), tint((142, 150, 104), rng))
    mottle(image, (LEFT, 270, RIGHT, HEIGHT), rng, 20, 6)
    stone = tint((170, 164, 150), rng)
    for k in range(9):
        u, v, r = door + 39 + (k * k) * rng.uniform(-0.4, 0.4), 278 + 24 * k, 26 + 6 * k
        draw.ellipse((u - r, v - 9, u + r, v + 9), fill=tint(stone, rng, 8))
    x = int(rng.choice((30, 590)))
    draw.rectangle((x - 9, 120, x + 9, 282), fill=tint((92, 72, 56), rng))
    for _ in range(60):
        u, v, r = rng.normal(x, 42), rng.normal(84, 38), rng.uniform(12, 24)
        draw.ellipse((u - r, v - r, u + r, v + r), fill=tint((84, 106, 68), rng, 16))


def street(image: Image.Image, rng: np.random.Generator, _door: int) -> None:
    """Shops behind a pavement and a road."""
    draw = Easel(image)
    x = LEFT
    while x < RIGHT:
        w = int(rng.uniform(130, 210))
        wall = tint(((168, 132, 116), (184, 176, 164), (146, 152, 160))[int(rng.integers(3))], rng, 12)
        draw.rectangle((x, 0, x + w, 236), fill=wall)
        mottle(image, (x, 0, min(x + w, RIGHT), 236), rng, 16, 3)
        for y in (14, 86):
            for u in range(x + 18, x + w - 40, 54):
                window(draw, (u, y, 30, 46), lighter(wall, -36), (84, 100, 114))
        glass = tint((98, 112, 118), rng)
        draw.rectangle((x + 14, 164, x + w - 14, 232), fill=lighter(wall, -46))
        draw.rectangle((x + 20, 178, x + w - 20, 228), fill=glass)
        draw.polygon((x + 30, 228, x + 60, 178, x + 84, 178, x + 54, 228), fill=lighter(glass, 18))
        awning = tint((128, 108, 100), rng, 18)
        draw.polygon((x + 10, 160, x + w - 10, 160, x + w - 2, 180, x + 2, 180), fill=awning)
        for u in range(x + 10, x + w - 20, 24):
            draw.polygon((u, 160, u + 11, 160, u + 10, 180, u - 4, 180), fill=lighter(awning, 34))
        x += w
    fade(image, (LEFT, 236, RIGHT, 290), (166, 162, 156), (178, 174, 168))
    for u in range(LEFT - 20, RIGHT + 60, 44):
        draw.line((u, 290, u + 12, 236), fill=(146, 142, 138), width=2)
    draw.rectangle((LEFT, 288, RIGHT, 298), fill=(196, 192, 186))
    draw.rectangle((LEFT, 298, RIGHT, 303), fill=(112, 110, 108))
    fade(image, (LEFT, 303, RIGHT, HEIGHT), tint((98, 98, 102), rng, 6), tint((120, 120, 122), rng, 6))
    mottle(image, (LEFT, 303, RIGHT, HEIGHT), rng, 12, 4)
    offset = int(rng.uniform(0, 90))
    for u in range(LEFT - 90 + offset, RIGHT, 118):
        draw.polygon((u, 402, u + 62, 402, u + 60, 410, u - 6, 410), fill=(192, 190, 182))
