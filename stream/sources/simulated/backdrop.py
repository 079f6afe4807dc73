"""The painted places: a yard, a street, a hall, a room and a workbench, different from seed to seed, at any light."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from stream.sources.simulated.brush import HEIGHT, HIGH, LEFT, LOW, RIGHT
from stream.sources.simulated.fittings import LAMP_Y, door_x, lamp_x, paint_door, paint_lamp, place_rng
from stream.sources.simulated.indoors import desk, hall, room
from stream.sources.simulated.kinds import FIXTURES, ROOFED, Scene, Style
from stream.sources.simulated.outdoors import street, yard
from stream.sources.simulated.world import MOST_PAN

MARGIN = 6  # px around the picture, for a camera that shakes
LEVELS = 16  # steps of light between day and night
INDOORS = 0.80  # of the daylight comes in through the windows
NIGHT, WARM = (0.36, 0.40, 0.54), (0.70, 0.58, 0.30)  # the light of the night sky, and what a lamp adds to it
_PAINTERS: dict[Scene, Callable[[Image.Image, np.random.Generator, int], None]] = {
    "yard": yard,
    "street": street,
    "hall": hall,
    "room": room,
    "desk": desk,
}


@lru_cache(maxsize=48)
def backdrop(
    scene: Scene, variant: int, level: int, size: tuple[int, int], fixed: tuple[bool, bool], style: Style
) -> NDArray[np.uint8]:
    """(H + 2 MARGIN, W + 2 side, 3) uint8: the empty place at light `level` (0 day .. LEVELS night).

    `fixed`: is the door open, is the light on. `side` is what `side_px` says.
    """
    wide = size[0] + 2 * (side_px(size) - MARGIN), size[1]
    day = np.asarray(_master(scene, variant, fixed, style).resize(wide, Image.Resampling.BOX))
    day = np.pad(day, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge")
    lit = day.astype(np.float32) * (lights(scene, variant, level, size, fixed[1]).astype(np.float32) / 256)
    return np.clip(np.rint(lit), LOW, HIGH).astype(np.uint8)


@lru_cache(maxsize=48)
def lights(scene: Scene, variant: int, level: int, size: tuple[int, int], lamp: bool) -> NDArray[np.uint16]:
    """(H + 2 MARGIN, W + 2 side, 3): light at each pixel, 256 is full daylight. At night the sky, and a lit lamp."""
    day: NDArray[np.float32] = np.full((1, 1, 1), INDOORS if scene in ROOFED else 1, np.float32)
    night: NDArray[np.float32] = np.full((1, 1, 3), NIGHT, np.float32)
    if lamp:
        glow = _glow(scene, variant, size)[..., None]
        day, night = day + (1.02 - day) * glow, night + glow * np.asarray(WARM, np.float32)
    dark = level / LEVELS
    field = 256 * ((1 - dark) * day + dark * np.clip(night, 0, 1.02))
    shape = size[1] + 2 * MARGIN, size[0] + 2 * side_px(size), 3
    return np.ascontiguousarray(np.broadcast_to(np.rint(field).astype(np.uint16), shape))


@lru_cache(maxsize=16)
def _glow(scene: Scene, variant: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """(H + 2 MARGIN, W + 2 side) in 0..1: how much of the lamp's light falls there; walls and ceiling throw it back."""
    y, x = np.mgrid[0 : size[1] + 2 * MARGIN, 0 : size[0] + 2 * side_px(size)].astype(np.float32)
    x, y = (x - side_px(size)) / size[0] - lamp_x(scene, variant), (y - MARGIN) / size[1]
    spread = 0.10 + 0.40 * np.clip(y - 0.10, 0, 1)
    cone = np.exp(-((x / spread) ** 2)) * np.clip((y - 0.06) / 0.12, 0, 1)
    pool = np.exp(-((x / 0.42) ** 2) - ((y - 0.86) / 0.22) ** 2)
    bulb = 2 * np.exp(-((x / 0.05) ** 2) - ((y - LAMP_Y) / 0.06) ** 2)
    room = 0.55 * np.exp(-((x / 0.60) ** 2) - ((y - 0.30) / 0.80) ** 2) if scene in ROOFED else np.float32(0)
    glow: NDArray[np.float32] = np.clip(room + 0.75 * cone + 0.6 * pool + bulb, 0, 1)
    return glow


def side_px(size: tuple[int, int]) -> int:
    """Columns to the left and to the right of the picture: room to shake and to pan."""
    return MARGIN + round(MOST_PAN * size[0])


@lru_cache(maxsize=48)
def _master(scene: Scene, variant: int, fixed: tuple[bool, bool], style: Style) -> Image.Image:
    image = _empty(scene, variant).copy()
    if "door" in FIXTURES[scene]:
        paint_door(image, scene, variant, fixed[0])
    if "light" in FIXTURES[scene]:
        paint_lamp(image, scene, variant, fixed[1])
    drawn = np.asarray(_styled(image, style)).astype(np.int16) + _grain()
    return Image.fromarray(np.clip(drawn, LOW, HIGH, out=drawn).astype(np.uint8))


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.int16]:
    """(HEIGHT, RIGHT - LEFT, 1): what no wall is without."""
    return np.rint(np.random.default_rng(2).normal(0, 2.2, (HEIGHT, RIGHT - LEFT, 1))).astype(np.int16)


@lru_cache(maxsize=24)
def _empty(scene: Scene, variant: int) -> Image.Image:
    """The place without what changes in it."""
    image = Image.new("RGB", (RIGHT - LEFT, HEIGHT))
    _PAINTERS[scene](image, place_rng(scene, variant, 1), door_x(scene, variant))
    return image


def _styled(image: Image.Image, style: Style) -> Image.Image:
    if style == "soft":
        return ImageEnhance.Color(image.filter(ImageFilter.BoxBlur(2))).enhance(0.7)
    if style == "comic":
        return _inked(image)
    return image


def _inked(image: Image.Image) -> Image.Image:
    """Few tones, full colours and dark lines where one thing ends and another begins."""
    flat = np.asarray(image.filter(ImageFilter.GaussianBlur(2)), np.float32)
    grey = flat.mean(2, keepdims=True)
    step, part = np.divmod(grey / 44, 1)
    # The lightness is rounded, not each channel by itself: that would turn greys into pinks and greens. Each step has a
    # slope, or grass and asphalt would be torn into two tones.
    tone = 44 * (step + part * part * (3 - 2 * part))
    flat = (grey + 1.5 * (flat - grey)) * (tone / np.maximum(grey, 1))
    calm = image.convert("L").filter(ImageFilter.MedianFilter(5))
    edges = calm.filter(ImageFilter.FIND_EDGES).filter(ImageFilter.MaxFilter(3))
    ink = np.clip((np.asarray(edges, np.float32) - 26) / 30, 0, 1)[..., None]
    ink[:3], ink[-3:], ink[:, :3], ink[:, -3:] = 0, 0, 0, 0  # the filter takes the picture's border for an edge
    return Image.fromarray(np.clip(flat * (1 - ink) + 24 * ink, LOW, HIGH).astype(np.uint8))
