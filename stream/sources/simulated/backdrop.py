"""The painted places: a yard, a street and a hall, different from seed to seed, by day and by lamplight."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from stream.sources.simulated.kinds import SCENES, Scene

MARGIN = 6  # px around the picture, for a camera that shakes
VARIANTS = 16  # different places per scene
LEVELS = 16  # steps of light between day and night
LOW, HIGH = 12, 243  # pixel range of everything painted: leaves room for noise
WIDTH, HEIGHT = 640, 480  # of the master
Paint = tuple[int, int, int]


@lru_cache(maxsize=64)
def backdrop(scene: Scene, variant: int, level: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H + 2 MARGIN, W + 2 MARGIN, 3) uint8: the empty place at light `level` (0 day .. LEVELS night)."""
    full = size[0] + 2 * MARGIN, size[1] + 2 * MARGIN
    day = np.asarray(_master(scene, variant % VARIANTS).resize(full, Image.Resampling.BOX), np.float32)
    lit = day * (lights(scene, variant % VARIANTS, level, size).astype(np.float32) / 256)
    return np.clip(np.rint(lit), LOW, HIGH).astype(np.uint8)


@lru_cache(maxsize=64)
def lights(scene: Scene, variant: int, level: int, size: tuple[int, int]) -> NDArray[np.uint16]:
    """(H + 2 MARGIN, W + 2 MARGIN, 3): light at each pixel, 256 is full daylight. At night a lamp and the sky."""
    w, h = size[0] + 2 * MARGIN, size[1] + 2 * MARGIN
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    x, y = x / w, y / h
    lamp = _lamp_x(scene, variant)
    spread = 0.10 + 0.40 * np.clip(y - 0.10, 0, 1)
    cone = np.exp(-(((x - lamp) / spread) ** 2)) * np.clip((y - 0.06) / 0.12, 0, 1)
    pool = np.exp(-(((x - lamp) / 0.42) ** 2) - ((y - 0.86) / 0.22) ** 2)
    bulb = 2 * np.exp(-(((x - lamp) / 0.025) ** 2) - ((y - 0.078) / 0.03) ** 2)
    glow = np.clip(0.75 * cone + 0.6 * pool + bulb, 0, 1)[..., None]
    night = np.array([0.36, 0.40, 0.54], np.float32) + glow * np.array([0.70, 0.58, 0.30], np.float32)
    dark = level / LEVELS
    field: NDArray[np.float32] = 256 * ((1 - dark) + dark * np.clip(night, 0, 1.02))
    return np.rint(field).astype(np.uint16)


def _lamp_x(scene: Scene, variant: int) -> float:
    return float(_rng(scene, variant, 7).uniform(0.25, 0.75))


def _rng(scene: Scene, variant: int, salt: int) -> np.random.Generator:
    return np.random.default_rng((SCENES.index(scene), variant % VARIANTS, salt))


@lru_cache(maxsize=48)
def _master(scene: Scene, variant: int) -> Image.Image:
    rng = _rng(scene, variant, 1)
    image = Image.new("RGB", (WIDTH, HEIGHT))
    {"yard": _yard, "street": _street, "hall": _hall}[scene](image, rng)
    _post(image, _lamp_x(scene, variant), hanging=scene == "hall")
    grain = np.asarray(image, np.float32) + rng.normal(0, 2.2, (HEIGHT, WIDTH, 1))
    return Image.fromarray(np.clip(grain, LOW, HIGH).astype(np.uint8))


def _post(image: Image.Image, x: float, hanging: bool) -> None:
    draw, cx = ImageDraw.Draw(image), x * WIDTH
    iron = (58, 60, 66)
    if hanging:
        draw.line((cx, 0, cx, 22), fill=iron, width=3)
    else:
        draw.line((cx - 34, 30, cx - 34, 285), fill=iron, width=6)
        draw.line((cx - 34, 30, cx, 22), fill=iron, width=5)
    draw.polygon((cx - 16, 36, cx + 16, 36, cx + 9, 22, cx - 9, 22), fill=iron)
    draw.ellipse((cx - 9, 31, cx + 9, 41), fill=(243, 228, 176))


def _tint(colour: Paint, rng: np.random.Generator, by: float = 10) -> Paint:
    shift = rng.uniform(-by, by) + rng.uniform(-by / 4, by / 4, 3)  # more in lightness than in hue
    r, g, b = (int(np.clip(c + d, 16, 238)) for c, d in zip(colour, shift, strict=True))
    return r, g, b


def _fade(image: Image.Image, box: tuple[int, int, int, int], top: Paint, bottom: Paint) -> None:
    """A vertical gradient."""
    x0, y0, x1, y1 = box
    u = np.linspace(0, 1, y1 - y0)[:, None, None]
    rows = (1 - u) * np.array(top) + u * np.array(bottom)
    image.paste(Image.fromarray(np.broadcast_to(rows, (y1 - y0, x1 - x0, 3)).astype(np.uint8)), (x0, y0))


def _mottle(image: Image.Image, box: tuple[int, int, int, int], rng: np.random.Generator, cell: int, by: float) -> None:
    """Smooth patches of lighter and darker, as of grass, plaster or asphalt."""
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    seeds = rng.normal(0, 1, (max(h // cell, 2), max(w // cell, 2))).astype(np.float32)
    patch = np.asarray(Image.fromarray(seeds).resize((w, h), Image.Resampling.BICUBIC))
    fine = rng.normal(0, 0.6, (h // 2 + 1, w // 2 + 1)).repeat(2, 0).repeat(2, 1)[:h, :w]
    area = np.asarray(image.crop(box), np.float32) + by * (patch + fine)[..., None]
    image.paste(Image.fromarray(np.clip(area, LOW, HIGH).astype(np.uint8)), (x0, y0))


def _window(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], frame: Paint, glass: Paint) -> None:
    """A framed pane with a reflection; `box` is x, y, width and height."""
    x, y, w, h = box
    draw.rectangle((x - 4, y - 4, x + w + 4, y + h + 4), fill=frame)
    draw.rectangle((x, y, x + w, y + h), fill=glass)
    draw.polygon(
        (x + 2, y + h - 4, x + w // 2, y + 2, x + w - 8, y + 2, x + 2, y + h // 2 + h // 3), fill=_up(glass, 22)
    )
    draw.line((x + w // 2, y, x + w // 2, y + h), fill=frame, width=3)
    draw.line((x, y + h // 2, x + w, y + h // 2), fill=frame, width=3)


def _up(colour: Paint, by: int) -> Paint:
    r, g, b = (min(max(c + by, 14), 242) for c in colour)
    return r, g, b


def _yard(image: Image.Image, rng: np.random.Generator) -> None:
    draw = ImageDraw.Draw(image)
    _fade(image, (0, 0, WIDTH, 272), _tint((138, 176, 208), rng), (218, 224, 222))
    wall, roof = _tint((196, 182, 160), rng, 16), _tint((122, 84, 70), rng, 12)
    left, right = int(rng.uniform(0, 120)), int(rng.uniform(430, 560))
    draw.rectangle((left, 60, right, 272), fill=wall)
    _mottle(image, (left, 60, right, 272), rng, 24, 2.5)
    draw.polygon((left - 26, 64, left + 40, 4, right - 40, 4, right + 26, 64), fill=roof)
    for y in range(12, 64, 9):
        eave = (y - 4) * 66 // 60
        draw.line((left + 40 - eave, y, right - 40 + eave, y), fill=_up(roof, -14), width=1)
    door = left + int(rng.uniform(0.35, 0.6) * (right - left))
    for x in range(left + 40, right - 70, 120):
        if not door - 62 < x < door + 64:
            _window(draw, (x, 110, 52, 70), _up(wall, 34), (92, 110, 122))
    draw.rectangle((door, 170, door + 54, 272), fill=_tint((104, 78, 58), rng))
    draw.ellipse((door + 42, 220, door + 48, 226), fill=(190, 170, 110))
    hedge = _tint((72, 92, 62), rng)
    for _ in range(150):
        u, v, r = rng.uniform(-10, WIDTH + 10), rng.uniform(228, 268), rng.uniform(9, 20)
        if left - 12 < u < right + 12:
            continue
        draw.ellipse((u - r, v - r, u + r, v + r), fill=_tint(hedge, rng, 14))
    _fade(image, (0, 270, WIDTH, HEIGHT), _tint((122, 132, 92), rng), _tint((142, 150, 104), rng))
    _mottle(image, (0, 270, WIDTH, HEIGHT), rng, 20, 6)
    stone = _tint((170, 164, 150), rng)
    for k in range(9):
        u, v, r = door + 27 + (k * k) * rng.uniform(-0.4, 0.4), 278 + 24 * k, 26 + 6 * k
        draw.ellipse((u - r, v - 9, u + r, v + 9), fill=_tint(stone, rng, 8))
    x = int(rng.choice((30, 590)))
    draw.rectangle((x - 9, 120, x + 9, 282), fill=_tint((92, 72, 56), rng))
    for _ in range(60):
        u, v, r = rng.normal(x, 42), rng.normal(84, 38), rng.uniform(12, 24)
        draw.ellipse((u - r, v - r, u + r, v + r), fill=_tint((84, 106, 68), rng, 16))


def _street(image: Image.Image, rng: np.random.Generator) -> None:
    draw = ImageDraw.Draw(image)
    x = 0
    while x < WIDTH:
        w = int(rng.uniform(130, 210))
        wall = _tint(((168, 132, 116), (184, 176, 164), (146, 152, 160))[int(rng.integers(3))], rng, 12)
        draw.rectangle((x, 0, x + w, 236), fill=wall)
        _mottle(image, (x, 0, min(x + w, WIDTH), 236), rng, 16, 3)
        for y in (14, 86):
            for u in range(x + 18, x + w - 40, 54):
                _window(draw, (u, y, 30, 46), _up(wall, -36), (84, 100, 114))
        glass = _tint((98, 112, 118), rng)
        draw.rectangle((x + 14, 164, x + w - 14, 232), fill=_up(wall, -46))
        draw.rectangle((x + 20, 178, x + w - 20, 228), fill=glass)
        draw.polygon((x + 30, 228, x + 60, 178, x + 84, 178, x + 54, 228), fill=_up(glass, 18))
        awning = _tint((128, 108, 100), rng, 18)
        draw.polygon((x + 10, 160, x + w - 10, 160, x + w - 2, 180, x + 2, 180), fill=awning)
        for u in range(x + 10, x + w - 20, 24):
            draw.polygon((u, 160, u + 11, 160, u + 10, 180, u - 4, 180), fill=_up(awning, 34))
        x += w
    _fade(image, (0, 236, WIDTH, 290), (166, 162, 156), (178, 174, 168))
    for u in range(-20, WIDTH + 60, 44):
        draw.line((u, 290, u + 12, 236), fill=(146, 142, 138), width=2)
    draw.rectangle((0, 288, WIDTH, 298), fill=(196, 192, 186))
    draw.rectangle((0, 298, WIDTH, 303), fill=(112, 110, 108))
    _fade(image, (0, 303, WIDTH, HEIGHT), _tint((98, 98, 102), rng, 6), _tint((120, 120, 122), rng, 6))
    _mottle(image, (0, 303, WIDTH, HEIGHT), rng, 12, 4)
    offset = int(rng.uniform(0, 90))
    for u in range(-90 + offset, WIDTH, 118):
        draw.polygon((u, 402, u + 62, 402, u + 60, 410, u - 6, 410), fill=(192, 190, 182))


def _hall(image: Image.Image, rng: np.random.Generator) -> None:
    draw = ImageDraw.Draw(image)
    wall = _tint((188, 184, 174), rng, 14)
    _fade(image, (0, 0, WIDTH, 272), _up(wall, 12), _up(wall, -12))
    draw.rectangle((0, 190, WIDTH, 272), fill=_tint((132, 140, 142), rng, 12))
    draw.rectangle((0, 186, WIDTH, 191), fill=_up(wall, -44))
    for u in range(0, WIDTH, 80):
        draw.line((u, 0, u, 272), fill=_up(wall, -16), width=2)
    gate = int(rng.uniform(40, 330))
    steel = _tint((150, 156, 162), rng, 12)
    draw.rectangle((gate - 8, 52, gate + 238, 272), fill=_up(steel, -58))
    for y in range(60, 272, 14):
        draw.rectangle((gate, y, gate + 230, y + 12), fill=_up(steel, (y // 14 % 2) * 10))
    board = gate + 280 if gate < 200 else gate - 150
    draw.rectangle((board, 70, board + 100, 150), fill=(110, 92, 74))
    for _ in range(9):
        note = board + rng.uniform(6, 76), 70 + rng.uniform(6, 56)
        draw.rectangle((*note, note[0] + 16, note[1] + 18), fill=_tint((204, 200, 188), rng, 16))
    draw.rectangle((0, 270, WIDTH, 277), fill=(86, 84, 82))
    light, dark = _tint((164, 156, 146), rng), _tint((134, 128, 122), rng)
    _fade(image, (0, 277, WIDTH, HEIGHT), _up(light, -10), light)
    edges = [277, 296, 322, 356, 402, 462, HEIGHT]
    for k, (top, bottom) in enumerate(pairwise(edges)):
        for j in range(-8, 9):
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
    _mottle(image, (0, 277, WIDTH, HEIGHT), rng, 30, 2.5)
    soft = image.crop((gate, 277, gate + 230, 330)).filter(ImageFilter.GaussianBlur(4))
    image.paste(soft, (gate, 277))
