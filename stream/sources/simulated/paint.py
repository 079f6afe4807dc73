"""From the script to pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from stream.sources.simulated import fittings
from stream.sources.simulated.backdrop import LEVELS, MARGIN, backdrop, lights, side_px
from stream.sources.simulated.brush import HIGH, LOW
from stream.sources.simulated.figures import PAD, PHASES, Figure
from stream.sources.simulated.kinds import ROOFED, SIZES, Style
from stream.sources.simulated.sprites import Sprite, sprite
from stream.sources.simulated.weather import rain
from stream.sources.simulated.world import Actor, Pose, Script, box_of

STRIDE = 0.035  # picture widths per phase of a walk


@dataclass(frozen=True, slots=True)
class Nuisance:
    """What a real camera adds. The default is a good camera: a trace of noise, more of it at night.

    Args:
        noise: standard deviation in grey levels by day; night adds `night_noise`. Clipped at 9 levels.
        shake_px: largest shift of the picture, px, at most 6.
        gain: brightness factor.
        contrast: factor around mid-grey.
        blur: blur once with a 3x3 kernel.
        jpeg_quality: None, or re-compress at this quality (1..95).
        salt: picks the noise and the shake; equal salts shake alike.
    """

    noise: float = 1.0
    night_noise: float = 1.5
    shake_px: int = 0
    gain: float = 1.0
    contrast: float = 1.0
    blur: bool = False
    jpeg_quality: int | None = None
    salt: int = 0


CLEAN = Nuisance(noise=0.0, night_noise=0.0)
GOOD = Nuisance()


def draw_nuisance(rng: np.random.Generator) -> Nuisance:
    """A camera for training: mostly decent, sometimes poor. One per run of frames, not per frame."""
    return Nuisance(
        noise=float(rng.choice((0.0, 1.0, 2.0, 3.0))),
        night_noise=float(rng.choice((1.0, 2.0))),
        shake_px=int(rng.choice((0, 0, 1, 2))),
        gain=float(np.round(rng.uniform(0.8, 1.15), 2)),
        contrast=float(np.round(rng.uniform(0.85, 1.1), 2)),
        blur=bool(rng.random() < 0.15),
        jpeg_quality=int(rng.integers(40, 90)) if rng.random() < 0.25 else None,
        salt=int(rng.integers(1 << 16)),
    )


def paint(script: Script, t: float, size: tuple[int, int] = (320, 240), nuisance: Nuisance = GOOD) -> NDArray[np.uint8]:
    """The picture at media time `t` (s): (H, W, 3) uint8 for `size` = (W, H). Depends on its arguments alone.

    Figures are stretched with the picture: they are drawn for 4:3.
    """
    dark, moment, side = script.nightness(t), round(t * 1000), side_px(size)
    canvas, light = _place(script, t, size, round(dark * LEVELS))
    for actor, pose in script.actors(t):
        figure, x, y = placed(actor, pose, size, script.style)
        _lay(canvas, figure, x + side, y + MARGIN, light)
    dx, dy = _shake(nuisance, moment)
    left = side + dx + round(script.view_x(t) * size[0])
    picture = np.ascontiguousarray(canvas[MARGIN + dy : MARGIN + dy + size[1], left : left + size[0]])
    if wet := script.rain_at(t):
        picture = rain(picture, wet, moment)
    return _through_camera(picture, nuisance, dark, moment ^ (script.seed << 8))


def _place(
    script: Script, t: float, size: tuple[int, int], level: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint16] | None]:
    """The place without actors, wider than the picture, and the light that falls on them; None is full daylight."""
    variant, now = script.seed % fittings.VARIANTS, script.fixtures(t)
    fixed = now.get("door", False), now.get("light", False)
    canvas = backdrop(script.scene, variant, level, size, fixed, script.style).copy()
    if box := fittings.clock_box(script.scene):
        w, h = round((box[2] - box[0]) * size[0]), round((box[3] - box[1]) * size[1])
        x, y = side_px(size) + round(box[0] * size[0]), MARGIN + round(box[1] * size[1])
        canvas[y : y + h, x : x + w] = fittings.clock_face(int((script.wall_s + t) // 60), (w, h))
    if level == 0 and script.scene not in ROOFED:
        return canvas, None
    return canvas, lights(script.scene, variant, level, size, fixed[1])


def placed(actor: Actor, pose: Pose, size: tuple[int, int], style: Style = "plain") -> tuple[Sprite, int, int]:
    """The actor's sprite and the pixel of its upper left corner."""
    x0, _, x1, y1 = box_of(actor, pose)
    # Sizes in steps of 3 %: few sprites to keep, and no shimmer as someone walks towards the camera.
    w, h = SIZES[actor.kind]
    scale = round((x1 - x0) / w / 0.03) * 0.03
    width, height = max(round(w * scale * size[0]), 2), max(round(h * scale * size[1]), 2)
    still = pose.vx == 0 or actor.kind == "box"
    phase = int(pose.walked / STRIDE) % PHASES if not still else -1
    who = Figure(actor.kind, actor.colour, phase, pose.facing, actor.look, pose.loaded, actor.number, style)
    image = sprite(who, (width, height))
    h, w = image.solid.shape
    x = round((x0 + x1) / 2 * size[0] - w / 2)
    y = round(y1 * size[1] - h * (1 + PAD) / (1 + 2 * PAD))
    return image, x, y


Slices = tuple[slice, slice]


def overlap(shape: tuple[int, ...], x: int, y: int, canvas: tuple[int, ...]) -> tuple[Slices, Slices] | None:
    """Slices (y, x) of the sprite and of the canvas where they overlap."""
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + shape[1], canvas[1]), min(y + shape[0], canvas[0])
    if x0 >= x1 or y0 >= y1:
        return None
    return (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)), (slice(y0, y1), slice(x0, x1))


def _lay(canvas: NDArray[np.uint8], figure: Sprite, x: int, y: int, light: NDArray[np.uint16] | None) -> None:
    inside = overlap(figure.solid.shape, x, y, canvas.shape)
    if not inside:
        return
    source, target = inside
    ink = figure.ink[source]
    if light is not None:
        lit = np.right_shift(ink * light[target], np.uint16(8))  # 245 * 261 still fits 16 bits
        ink = np.minimum(lit, np.uint16(HIGH))
    mixed = ((canvas[target] * figure.veil[source]) >> 8) + ink
    canvas[target] = np.maximum(mixed, np.uint16(LOW), out=mixed)  # black by night still leaves room for noise


def _shake(nuisance: Nuisance, moment: int) -> tuple[int, int]:
    reach = min(nuisance.shake_px, MARGIN)
    if reach == 0:
        return 0, 0
    code = _hash(moment // 40, nuisance.salt)  # hands do not shake faster than that
    return code % (2 * reach + 1) - reach, (code >> 16) % (2 * reach + 1) - reach


def _hash(a: int, b: int) -> int:
    code = (a * 0x9E3779B1 ^ b * 0x85EBCA77) & 0xFFFFFFFF
    code = ((code ^ (code >> 15)) * 0x2C1B3C6D) & 0xFFFFFFFF
    return ((code ^ (code >> 12)) * 0x297A2D39) & 0xFFFFFFFF


def _through_camera(picture: NDArray[np.uint8], n: Nuisance, dark: float, moment: int) -> NDArray[np.uint8]:
    if n.gain != 1 or n.contrast != 1:
        picture = _tone(n.gain, n.contrast)[picture]
    if n.blur:
        picture = np.asarray(Image.fromarray(picture).filter(ImageFilter.BoxBlur(1)))
    sigma = round(n.noise + dark * n.night_noise, 1)
    if sigma:
        noise = _noise(sigma, picture.size)
        start = _hash(moment, n.salt) % (noise.size - picture.size)
        # Wrapping addition is exact here: pictures stay in LOW..HIGH and noise within what is left on either side.
        picture = picture + noise[start : start + picture.size].reshape(picture.shape)
    if n.jpeg_quality is not None:
        packed = io.BytesIO()
        Image.fromarray(picture).save(packed, "JPEG", quality=n.jpeg_quality)
        picture = np.array(Image.open(packed))
    return picture


@lru_cache(maxsize=64)
def _tone(gain: float, contrast: float) -> NDArray[np.uint8]:
    grey = np.arange(256, dtype=np.float32) * gain
    curve: NDArray[np.float32] = np.clip((grey - 118) * contrast + 118, LOW, HIGH)
    return curve.astype(np.uint8)


@lru_cache(maxsize=16)
def _noise(sigma: float, pixels: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng((round(sigma * 10), pixels))
    grain = np.clip(np.rint(rng.normal(0, sigma, pixels + 65536)), -9, 9)
    return grain.astype(np.int8).view(np.uint8)
