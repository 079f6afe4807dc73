"""What can appear before the simulated camera: eight kinds in eight colours, in five scenes with doors and lights."""

from __future__ import annotations

from typing import Literal

Kind = Literal["person", "car", "truck", "dog", "cat", "bicycle", "ball", "box"]
Colour = Literal["red", "green", "blue", "yellow", "white", "black", "orange", "purple"]
Scene = Literal["yard", "street", "hall", "room", "desk"]
Fixture = Literal["door", "light"]
Style = Literal["plain", "soft", "comic"]

KINDS: tuple[Kind, ...] = ("person", "car", "truck", "dog", "cat", "bicycle", "ball", "box")
COLOURS: tuple[Colour, ...] = ("red", "green", "blue", "yellow", "white", "black", "orange", "purple")
SCENES: tuple[Scene, ...] = ("yard", "street", "hall", "room", "desk")
STYLES: tuple[Style, ...] = ("plain", "soft", "comic")
TRAINED_STYLES: tuple[Style, ...] = ("plain", "soft")  # "comic" is kept for tests: nothing ever learns from it

# Who comes into a scene by itself. Boxes that are carried come along with people. On the desk everything is a toy.
CAST: dict[Scene, tuple[Kind, ...]] = {
    "yard": ("person", "car", "dog", "cat", "bicycle", "ball"),
    "street": ("person", "car", "truck", "dog", "bicycle"),
    "hall": ("person", "truck", "dog", "bicycle", "ball"),
    "room": ("person", "dog", "cat", "ball"),
    "desk": ("car", "truck", "cat", "ball", "box"),
}
ROOFED: tuple[Scene, ...] = ("hall", "room", "desk")  # it never rains in there
FIXTURES: dict[Scene, tuple[Fixture, ...]] = {
    "yard": ("door", "light"),
    "street": ("light",),
    "hall": ("door", "light"),
    "room": ("door", "light"),
    "desk": ("light",),
}

PLURALS: dict[Kind, str] = {
    "person": "people",
    "car": "cars",
    "truck": "trucks",
    "dog": "dogs",
    "cat": "cats",
    "bicycle": "bicycles",
    "ball": "balls",
    "box": "boxes",
}

# Main area of an actor in sRGB. Kept inside 12..243 so that sensor noise can be added without overflow.
RGB: dict[Colour, tuple[int, int, int]] = {
    "red": (208, 38, 42),
    "green": (30, 158, 66),
    "blue": (38, 88, 222),
    "yellow": (243, 212, 40),
    "white": (240, 240, 238),
    "black": (30, 30, 34),
    "orange": (243, 132, 22),
    "purple": (146, 52, 182),
}

# Width and height as fractions of the picture, at depth scale 1. In a 320x240 picture: person 34x90 px, car 100x50 ...
SIZES: dict[Kind, tuple[float, float]] = {
    "person": (34 / 320, 90 / 240),
    "car": (100 / 320, 50 / 240),
    "truck": (132 / 320, 78 / 240),
    "dog": (52 / 320, 36 / 240),
    "cat": (40 / 320, 34 / 240),
    "bicycle": (70 / 320, 50 / 240),
    "ball": (30 / 320, 30 / 240),
    "box": (40 / 320, 34 / 240),
}
