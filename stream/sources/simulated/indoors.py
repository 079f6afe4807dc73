"""The painted places under a roof: a loading hall, a living room and a workbench."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from PIL import Image, ImageFilter

from stream.sources.simulated.brush import (
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    Easel,
    cut,
    fade,
    lighter,
    mottle,
    put,
    tint,
    window,
)


def hall(image: Image.Image, rng: np.random.Generator, door: int) -> None:
    """A loading hall; its gate begins at `door`."""
    draw = Easel(image)
    wall = tint((188, 184, 174), rng, 14)
    fade(image, (LEFT, 0, RIGHT, 272), lighter(wall, 12), lighter(wall, -12))
    draw.rectangle((LEFT, 190, RIGHT, 272), fill=tint((132, 140, 142), rng, 12))
    draw.rectangle((LEFT, 186, RIGHT, 191), fill=lighter(wall, -44))
    for u in range(0, RIGHT, 80):
        draw.line((u, 0, u, 272), fill=lighter(wall, -16), width=2)
    gate = door
    board = gate + 230 if gate < 240 else gate - 150
    draw.rectangle((board, 70, board + 100, 150), fill=(110, 92, 74))
    for _ in range(9):
        note = board + rng.uniform(6, 76), 70 + rng.uniform(6, 56)
        draw.rectangle((*note, note[0] + 16, note[1] + 18), fill=tint((204, 200, 188), rng, 16))
    draw.rectangle((LEFT, 270, RIGHT, 277), fill=(86, 84, 82))
    light, dark = tint((164, 156, 146), rng), tint((134, 128, 122), rng)
    fade(image, (LEFT, 277, RIGHT, HEIGHT), lighter(light, -10), light)
    edges = [277, 296, 322, 356, 402, 462, HEIGHT]
    for k, (top, bottom) in enumerate(pairwise(edges)):
        for j in range(-10, 11):
            if (j + k) % 2 == 0:
                a, b = 1 + (top - 277) / 150, 1 + (bottom - 277) / 150
                c = WIDTH / 2
                draw.polygon(
                    (
                        c + j * 56 * a,
                        top,
                        c + (j + 1) * 56 * a,
                        top,
                        c + (j + 1) * 56 * b,
                        bottom,
                        c + j * 56 * b,
                        bottom,
                    ),
                    fill=dark,
                )
    mottle(image, (LEFT, 277, RIGHT, HEIGHT), rng, 30, 2.5)
    soft = cut(image, (gate, 277, gate + 190, 330)).filter(ImageFilter.GaussianBlur(4))
    put(image, soft, gate, 277)


def room(image: Image.Image, rng: np.random.Generator, door: int) -> None:
    """A living room; its door begins at `door`."""
    draw = Easel(image)
    wall = tint(((196, 188, 168), (178, 190, 186), (198, 178, 170))[int(rng.integers(3))], rng, 10)
    fade(image, (LEFT, 0, RIGHT, 276), lighter(wall, 8), lighter(wall, -8))
    stripe = lighter(wall, -7)
    for u in range(LEFT + int(rng.integers(20)), RIGHT, 38):
        draw.rectangle((u, 0, u + 9, 262), fill=stripe)
    draw.rectangle((LEFT, 260, RIGHT, 276), fill=lighter(wall, 30))
    wood, left = tint((142, 110, 82), rng, 12), door > 300
    _boards(image, rng, wood)
    pane = 40 if left else 440
    window(draw, (pane, 66, 120, 104), lighter(wall, 36), (126, 158, 186))
    for side in (pane - 24, pane + 106):
        draw.rectangle((side, 52, side + 38, 196), fill=tint((150, 132, 128), rng, 10))
    sofa, x = tint((112, 116, 124), rng, 18), pane - 34
    draw.rounded_rectangle((x, 196, x + 208, 250), 16, fill=sofa)
    draw.rounded_rectangle((x - 14, 218, x + 20, 280), 12, fill=lighter(sofa, -14))
    draw.rounded_rectangle((x + 188, 218, x + 222, 280), 12, fill=lighter(sofa, -14))
    draw.rounded_rectangle((x + 14, 232, x + 194, 278), 10, fill=lighter(sofa, 12))
    draw.line((x + 104, 236, x + 104, 274), fill=lighter(sofa, -16), width=3)
    shelf = 250 if left else 300
    for y in (150, 196):
        draw.rectangle((shelf, y, shelf + 84, y + 6), fill=lighter(wood, -18))
        for u in range(shelf + 4, shelf + 74, 9):
            tall = int(rng.uniform(18, 34))
            draw.rectangle((u, y - tall, u + 6, y), fill=tint((128, 120, 112), rng, 26))
    rug = tint((154, 140, 126), rng, 12)
    draw.ellipse((130, 330, 520, 450), fill=rug)
    draw.ellipse((156, 342, 494, 438), outline=lighter(rug, 22), width=4)


def desk(image: Image.Image, rng: np.random.Generator, _door: int) -> None:
    """A workbench seen from the front: a wall of tools behind a board on which toys drive."""
    draw = Easel(image)
    wall = tint((168, 160, 150), rng, 12)
    fade(image, (LEFT, 0, RIGHT, 280), lighter(wall, 6), lighter(wall, -10))
    for u in range(16 - 3 * 26, RIGHT, 26):
        for v in range(14, 240, 26):
            draw.ellipse((u - 2, v - 2, u + 2, v + 2), fill=lighter(wall, -26))
    steel = tint((128, 134, 140), rng, 8)
    for place, u in enumerate(range(250, 620, 62)):
        long = int(rng.uniform(60, 110))
        draw.rectangle((u - 4, 118, u + 4, 118 + long), fill=tint((120, 92, 70), rng, 10))
        if place % 2:
            draw.polygon((u - 20, 112, u + 20, 112, u + 20, 132, u - 20, 132), fill=steel)
        else:
            draw.ellipse((u - 13, 100, u + 13, 126), outline=steel, width=6)
    rack = lighter(wall, -40)
    draw.rectangle((30, 196, 210, 204), fill=rack)
    for u in range(36, 200, 28):
        jar = tint((158, 152, 146), rng, 22)
        draw.rounded_rectangle((u, 160, u + 20, 196), 4, fill=jar)
        draw.rectangle((u, 158, u + 20, 165), fill=lighter(jar, -30))
    _boards(image, rng, tint((168, 138, 104), rng, 12))
    draw.rectangle((LEFT, 270, RIGHT, 280), fill=tint((112, 86, 64), rng, 8))


def _boards(image: Image.Image, rng: np.random.Generator, wood: tuple[int, int, int]) -> None:
    """A wooden floor that comes towards the camera."""
    draw = Easel(image)
    fade(image, (LEFT, 276, RIGHT, HEIGHT), lighter(wood, -12), lighter(wood, 8))
    mottle(image, (LEFT, 276, RIGHT, HEIGHT), rng, 26, 3)
    edges = [276, 292, 314, 344, 384, 434, HEIGHT]
    for k, (top, bottom) in enumerate(pairwise(edges)):
        draw.line((LEFT, top, RIGHT, top), fill=lighter(wood, -34), width=2)
        for u in range(-150 + (k % 2) * 90, RIGHT, 180):
            draw.line((u, top, u + (u - WIDTH // 2) // 14, bottom), fill=lighter(wood, -30), width=2)
