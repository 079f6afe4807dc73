"""The script of a simulated scene: who enters when, where they walk, stop, carry and leave. Nothing here is drawn.

Time is cut into chapters of `CHAPTER_S`. A chapter is drawn from the seed and its index alone, and its actors are gone
at most one chapter after its end, so that any moment, also in hour 24, is known from two chapters. Even chapters are
drafted alone; odd ones make way for their two neighbours. So at most `CROWD` actors are ever present, without any
chapter having to know the whole past.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from stream.sources.simulated import fixtures
from stream.sources.simulated.kinds import FIXTURES, ROOFED, SCENES, SIZES, STYLES, Colour, Fixture, Kind, Scene, Style

CHAPTER_S = 64.0
CROWD = 4  # actors present at once, at most
NEAR_Y, FAR_Y = 0.95, 0.64  # where feet may stand: fractions of picture height
HAND_LIFT = 0.14  # how high a carried box hangs above the carrier's feet, fraction of picture height
ARM_REACH = 0.078  # how far before the carrier's middle, fraction of picture width
MOST_PAN = 0.10  # how far a camera looks to either side, picture widths


class Waypoint(NamedTuple):
    """Where an actor's feet are at a time; straight lines between."""

    t: float  # media time, s
    x: float  # middle, fraction of picture width
    y: float  # ground line, fraction of picture height: lower in the picture is nearer
    lift: float = 0.0  # bottom edge above the ground line, fraction of picture height


class Carry(NamedTuple):
    """A stretch during which a box is in someone's arms."""

    start_s: float
    end_s: float
    by: int  # actor id


class Pose(NamedTuple):
    """An actor at one moment."""

    x: float
    y: float
    lift: float
    vx: float  # picture widths per s
    vy: float  # picture heights per s
    facing: int  # +1 right, -1 left
    walked: float  # picture widths walked so far: drives the legs
    loaded: bool  # has something in its arms


@dataclass(frozen=True, slots=True)
class Actor:
    """One thing that enters, does something and leaves."""

    id: int
    kind: Kind
    colour: Colour
    path: tuple[Waypoint, ...]
    carries: tuple[Carry, ...] = ()  # a box: who carried it when
    loads: tuple[Carry, ...] = ()  # a person: when it carries (`by` is then the box)
    look: int = 0  # which of the small variations (skin, hair)
    number: str = ""  # two digits on the side of a truck
    start_s: float = field(init=False)  # media time of the first waypoint, outside the picture
    end_s: float = field(init=False)  # media time of the last waypoint, outside the picture
    _gaits: tuple[tuple[float, int], ...] = field(init=False, repr=False)  # per step: walked before it, facing in it

    def __post_init__(self) -> None:
        steps = [b.x - a.x for a, b in pairwise(self.path)]
        facing, walked, gaits = next((_sign(x) for x in steps if x), 1), 0.0, []
        for x in steps:
            facing = _sign(x) if x else facing
            gaits.append((walked, facing))
            walked += abs(x)
        object.__setattr__(self, "start_s", self.path[0].t)
        object.__setattr__(self, "end_s", self.path[-1].t)
        object.__setattr__(self, "_gaits", tuple(gaits))

    def at(self, t: float) -> Pose:
        """The pose at `t` within [start_s, end_s]."""
        path = self.path
        i = min(max(bisect_right(path, t, key=_time) - 1, 0), len(path) - 2)
        a, b = path[i], path[i + 1]
        span = max(b.t - a.t, 1e-9)
        u = min(max((t - a.t) / span, 0.0), 1.0)
        x = a.x + u * (b.x - a.x)
        walked, facing = self._gaits[i]
        vx, vy = (b.x - a.x) / span, (b.y - a.y) / span
        y, lift = a.y + u * (b.y - a.y), a.lift + u * (b.lift - a.lift)
        return Pose(x, y, lift, vx, vy, facing, walked + abs(x - a.x), self.loaded(t))

    def carrier(self, t: float) -> int | None:
        """Id of who carries this at `t`, if anyone does."""
        return next((c.by for c in self.carries if c.start_s <= t < c.end_s), None)

    def loaded(self, t: float) -> bool:
        """Whether this has something in its arms at `t`."""
        return self.load(t) is not None

    def load(self, t: float) -> int | None:
        """Id of the box that this carries at `t`, if any."""
        return next((c.by for c in self.loads if c.start_s <= t < c.end_s), None)


def _sign(x: float) -> int:
    return 1 if x > 0 else -1


def _time(point: Waypoint) -> float:
    return point.t


def _nearness(posed: tuple[Actor, Pose]) -> tuple[float, int]:
    return posed[1].y, posed[0].id


def depth_scale(y: float) -> float:
    """How large things at ground line `y` look; 1 in the middle of the ground."""
    return 0.84 + 0.30 * (y - FAR_Y) / (NEAR_Y - FAR_Y)


def box_of(actor: Actor, pose: Pose) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) in fractions of the picture, not clipped to it."""
    w, h = SIZES[actor.kind]
    s = depth_scale(pose.y)
    bottom = pose.y - pose.lift
    return pose.x - w * s / 2, bottom - h * s, pose.x + w * s / 2, bottom


@dataclass(frozen=True, slots=True)
class Script:
    """An endless timeline of one scene. Equal scripts tell equal stories.

    Args:
        seed: any non-negative integer.
        scene: one of SCENES.
        day: daylight, else night. Ignored where `day_length_s` is given.
        day_length_s: seconds from noon to noon; light then changes smoothly with media time.
        style: how it is drawn; the story is the same.
        rain: now and then it rains.
        pan: how far the camera turns to either side and back, in picture widths, 0 to 0.1. All truth is of the
            picture as it sees it.
        wall_s: Unix time (UTC) of media time 0, s: what a clock on the wall shows.

    Raises:
        ValueError: unknown scene or style, negative seed, a day that is no length, or too wide a pan.
    """

    seed: int
    scene: Scene = "yard"
    day: bool = True
    day_length_s: float | None = None
    style: Style = field(default="plain", kw_only=True)
    rain: bool = field(default=False, kw_only=True)
    pan: float = field(default=0.0, kw_only=True)
    wall_s: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        if self.scene not in SCENES:
            raise ValueError(f"There is no simulated scene {self.scene!r}; choose one of {', '.join(SCENES)}.")
        if self.seed < 0:
            raise ValueError(f"A simulated scene needs a seed of 0 or more, not {self.seed}.")
        if self.day_length_s is not None and not self.day_length_s > 0:
            raise ValueError(f"A simulated day must last more than 0 s, not {self.day_length_s}.")
        if self.style not in STYLES:
            raise ValueError(f"There is no style {self.style!r} of drawing; choose one of {', '.join(STYLES)}.")
        if not 0 <= self.pan <= MOST_PAN:
            raise ValueError(f"A simulated camera pans by 0 to {MOST_PAN} picture widths, not {self.pan}.")

    def actors(self, t: float) -> list[tuple[Actor, Pose]]:
        """Actors on their path at `t` with their poses, far ones first. Some may still be outside the picture."""
        if t < 0:
            return []
        present = [(a, a.at(t)) for a in self.cast(int(t // CHAPTER_S)) if a.start_s <= t <= a.end_s]
        return sorted(present, key=_nearness)

    def cast(self, index: int) -> tuple[Actor, ...]:
        """All actors that may be present during chapter `index`: its own and those left over from the one before."""
        before = chapter(self.seed, self.scene, index - 1, self.pan) if index > 0 else ()
        return before + chapter(self.seed, self.scene, index, self.pan)

    def fixtures(self, t: float) -> dict[Fixture, bool]:
        """Whether the door is open and the light on at `t`, for what the scene has of these."""
        return {f: fixtures.state(self.seed, self.scene, f, t, CHAPTER_S) for f in FIXTURES[self.scene]}

    def view_x(self, t: float) -> float:
        """How far to the right the camera looks at `t`, picture widths. Slower than anything that moves by itself."""
        if not self.pan:
            return 0.0
        turn = t / (85 + self.seed % 41) + self.seed % 7 / 7
        return self.pan * math.sin(2 * math.pi * turn)

    def rain_at(self, t: float) -> float:
        """0 where it is dry, 1 in the heaviest rain; smooth in between."""
        if not self.rain or self.scene in ROOFED:
            return 0.0
        turn = t / (150 + self.seed % 97) + self.seed % 11 / 11
        return min(max(0.5 + 1.4 * math.sin(2 * math.pi * turn), 0.0), 1.0)

    def nightness(self, t: float) -> float:
        """0 in full daylight, 1 in the night; smooth in between."""
        if self.day_length_s is None:
            return 0.0 if self.day else 1.0
        sun = math.cos(2 * math.pi * t / self.day_length_s)
        return min(max(0.5 - 1.2 * sun, 0.0), 1.0)


@lru_cache(maxsize=512)
def chapter(seed: int, scene: Scene, index: int, pan: float = 0.0) -> tuple[Actor, ...]:
    """The actors that enter during chapter `index`, from beyond what a camera that pans so far can see."""
    from stream.sources.simulated.stories import draft  # stories are made of the types above

    sides = () if index % 2 == 0 else (index - 1, index + 1)
    others = tuple(actor for side in sides for actor in chapter(seed, scene, side, pan))
    return draft(seed, scene, index, others, pan)
