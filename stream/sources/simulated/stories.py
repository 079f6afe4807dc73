"""Drafting a chapter: crossings with stops and turns, crowds, people who meet, and parcels put down and fetched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from stream.sources.simulated.kinds import CAST, COLOURS, KINDS, SCENES, SIZES, Colour, Kind, Scene
from stream.sources.simulated.world import (
    ARM_REACH,
    CHAPTER_S,
    CROWD,
    FAR_Y,
    HAND_LIFT,
    NEAR_Y,
    Actor,
    Carry,
    Waypoint,
)

# Picture widths per s. Slow enough that each is wholly in the picture for some seconds.
SPEEDS: dict[Kind, tuple[float, float]] = {
    "person": (0.07, 0.13),
    "car": (0.13, 0.24),
    "truck": (0.11, 0.18),
    "dog": (0.09, 0.18),
    "cat": (0.08, 0.17),
    "bicycle": (0.11, 0.20),
    "ball": (0.11, 0.21),
    "box": (0.09, 0.18),  # on the desk, where it slides by itself
}
# Large things keep to the back and small ones to the front, so that nobody is hidden for long.
LANES: dict[Kind, tuple[float, float]] = {
    "person": (FAR_Y, 0.90),
    "car": (FAR_Y, 0.80),
    "truck": (FAR_Y, 0.76),
    "dog": (0.76, NEAR_Y),
    "cat": (0.76, NEAR_Y),
    "bicycle": (0.70, 0.88),
    "ball": (0.80, NEAR_Y),
    "box": (0.80, 0.93),
}
IDS_PER_CHAPTER = 32
PLACES = (0.16, 0.39, 0.62, 0.85)  # where the members of a crowd stand
WIDE_PLACES = (0.26, 0.74)  # where trucks do, so that neither hides the other


class Stage(NamedTuple):
    """What a story is made with."""

    rng: np.random.Generator
    cast: tuple[Kind, ...]  # who may come by itself
    pan: float  # picture widths that the camera looks beyond either edge

    def outside(self, kind: Kind, side: int, extra: float = 0.0) -> float:
        """An x just beyond what is ever seen to the left (-1) or right (+1)."""
        margin = SIZES[kind][0] * 0.6 + 0.01 + self.pan + extra
        return -margin if side < 0 else 1 + margin

    def side(self) -> int:
        """-1 or +1."""
        return int(self.rng.choice((-1, 1)))

    def kind(self) -> Kind:
        """One of those who may come."""
        return self.cast[int(self.rng.integers(len(self.cast)))]


def draft(seed: int, scene: Scene, index: int, others: Sequence[Actor], pan: float = 0.0) -> tuple[Actor, ...]:
    """The actors of one chapter, fitted between `others` (those of the neighbouring chapters)."""
    rng = np.random.default_rng((seed, SCENES.index(scene), index, 0x51))
    stage = Stage(rng, CAST[scene], pan)
    start, next_id = index * CHAPTER_S, index * IDS_PER_CHAPTER
    cast: list[Actor] = []
    for t, story in _plan(stage, start, quiet=index > 0 and rng.random() < 0.10):
        for _ in range(4):
            group = story(stage, t, next_id + len(cast))
            if _fits(group, [*cast, *others], until_s=start + 2 * CHAPTER_S):
                cast += group
                break
    return tuple(cast)


def _plan(stage: Stage, start: float, quiet: bool) -> list[tuple[float, _Story]]:
    """When which story begins. Gaps are drawn too, so that truly empty stretches remain."""
    if quiet:
        return []
    rng, theme, people = stage.rng, stage.rng.random(), "person" in stage.cast
    if theme < 0.30:  # a crowd of one kind: the only way to get to three or four of it
        kind = stage.kind()
        begin = start + rng.uniform(2, 24)
        size = len(WIDE_PLACES if kind == "truck" else PLACES)
        crowd: list[tuple[float, _Story]] = [
            (begin + k * rng.uniform(1.5, 4.0), _Crossing(kind, linger=True, place=k)) for k in rng.permutation(size)
        ]
        return [*crowd, (begin + rng.uniform(28, 34), _Crossing())]
    times = start + np.sort(rng.uniform(0.5, CHAPTER_S - 2, size=int(rng.integers(3, 7))))
    plan: list[tuple[float, _Story]] = [(float(t), _Crossing()) for t in times]
    if people and theme > 0.55:
        plan.insert(0, (start + rng.uniform(1, 40), _Parcel()))
    elif people and theme > 0.42:
        plan.insert(0, (start + rng.uniform(1, 36), _Meeting()))
    return plan


class _Story(ABC):
    """Makes a few actors that belong together."""

    @abstractmethod
    def __call__(self, stage: Stage, t: float, first_id: int) -> list[Actor]:
        """Those of a story that begins at `t`, numbered from `first_id` on."""


class _Crossing(_Story):
    """Someone comes in, perhaps stops, and goes on or turns back."""

    def __init__(self, kind: Kind | None = None, linger: bool = False, place: int = 0) -> None:
        self.kind, self.linger, self.place = kind, linger, int(place)

    def __call__(self, stage: Stage, t: float, first_id: int) -> list[Actor]:
        rng, kind = stage.rng, self.kind or stage.kind()
        speed, side = rng.uniform(*SPEEDS[kind]), stage.side()
        low, high = LANES[kind]
        y = rng.uniform(low, high)
        x, pause = rng.uniform(0.18, 0.82), 0.0
        if self.linger:  # spread out, front and back, so that all can be counted
            places = WIDE_PLACES if kind == "truck" else PLACES
            x, pause = places[self.place] + rng.uniform(-0.03, 0.03), rng.uniform(9, 15)
            y = (low if self.place % 2 else high) + rng.uniform(-0.01, 0.01)
        elif rng.random() < (0.8 if kind == "truck" else 0.5):  # a truck has a reason to come
            pause = rng.uniform(3, 11)
        back = pause > 0 and rng.random() < 0.45
        path = [Waypoint(t, stage.outside(kind, side), y)]
        if pause:
            path += _stop(path[-1], x, y, speed, pause)
        drift = 0.0 if self.linger else rng.uniform(-0.03, 0.03)
        exit_x, exit_y = stage.outside(kind, side if back else -side), min(max(y + drift, FAR_Y), NEAR_Y)
        path.append(_walk(path[-1], exit_x, exit_y, speed))
        number = f"{rng.integers(7, 99):02d}" if kind == "truck" else ""
        return [Actor(first_id, kind, _colour(rng), tuple(path), look=int(rng.integers(3)), number=number)]


class _Meeting(_Story):
    """Two people walk up to each other, stand together for a few seconds and part."""

    def __call__(self, stage: Stage, t: float, first_id: int) -> list[Actor]:
        rng, side = stage.rng, stage.side()
        x, y, talk = rng.uniform(0.35, 0.65), rng.uniform(0.72, 0.88), rng.uniform(4, 9)
        speeds = rng.uniform(*SPEEDS["person"], size=2)
        starts = [stage.outside("person", s) for s in (side, -side)]
        spots = [x + s * rng.uniform(0.06, 0.075) for s in (side, -side)]
        walks = [abs(spot - a) / v for spot, a, v in zip(spots, starts, speeds, strict=True)]
        meet, pair = t + max(walks), []
        for k, (spot, a, v, walk) in enumerate(zip(spots, starts, speeds, walks, strict=True)):
            path = [Waypoint(meet - walk, a, y), Waypoint(meet, spot, y), Waypoint(meet + talk, spot, y)]
            on = rng.random() < 0.5  # past the other one, else back
            way = (-side if k == 0 else side) if on else (side if k == 0 else -side)
            path.append(_walk(path[-1], stage.outside("person", way), y - 0.02 * on, v))
            pair.append(Actor(first_id + k, "person", _colour(rng), tuple(path), look=int(rng.integers(3))))
        return pair


class _Parcel(_Story):
    """Someone brings a box, puts it down and goes; later someone else may fetch it. Or it is only carried through."""

    def __call__(self, stage: Stage, t: float, first_id: int) -> list[Actor]:
        rng = stage.rng
        y, x = rng.uniform(0.80, 0.90), rng.uniform(0.3, 0.7)
        side, speed = stage.side(), rng.uniform(0.08, 0.13)
        bringer_id, box_id, fetcher_id = first_id, first_id + 1, first_id + 2
        if rng.random() < 0.25:
            walk = [Waypoint(t, stage.outside("person", side, 0.1), y)]
            walk.append(_walk(walk[0], stage.outside("person", -side, 0.1), y, speed))
            carry = Carry(walk[0].t, walk[-1].t + 1, bringer_id)
            return [
                _porter(rng, bringer_id, walk, box_id, carry),
                Actor(box_id, "box", _colour(rng), tuple(_held(p, -side) for p in walk), carries=(carry,)),
            ]
        bring = [Waypoint(t, stage.outside("person", side, 0.1), y)]
        bring += _stop(bring[0], x, y, speed, rng.uniform(1.5, 3.0))
        down_s = bring[1].t + 0.6
        bring.append(_walk(bring[-1], stage.outside("person", stage.side()), y - 0.02, speed))
        first = Carry(t, down_s, bringer_id)
        rest_s = bring[-1].t + rng.uniform(3, 12)
        box_x, fetch_side = x - side * ARM_REACH, stage.side()
        fetch = [Waypoint(rest_s, stage.outside("person", fetch_side), y)]
        fetch += _stop(fetch[0], box_x + fetch_side * ARM_REACH, y, speed, rng.uniform(1.2, 2.0))
        up_s = fetch[1].t + 0.3
        fetch.append(_walk(fetch[-1], stage.outside("person", -fetch_side, 0.1), y, speed))
        second = Carry(up_s, fetch[-1].t + 1, fetcher_id)
        path = [_held(bring[0], -side), _held(bring[1], -side), Waypoint(down_s, box_x, y + 0.004)]
        path += [Waypoint(up_s, box_x, y + 0.004), _held(fetch[2]._replace(t=up_s + 0.6), -fetch_side)]
        path += [_held(p, -fetch_side) for p in fetch[2:]]
        return [
            _porter(rng, bringer_id, bring, box_id, first),
            Actor(box_id, "box", _colour(rng), tuple(path), carries=(first, second)),
            _porter(rng, fetcher_id, fetch, box_id, second),
        ]


def _porter(rng: np.random.Generator, id_: int, path: Sequence[Waypoint], box: int, carry: Carry) -> Actor:
    loads = (carry._replace(by=box),)
    return Actor(id_, "person", _colour(rng), tuple(path), loads=loads, look=int(rng.integers(3)))


def _held(porter: Waypoint, facing: int) -> Waypoint:
    """Where a box is in the arms of someone at this waypoint; a hair nearer, so that it is drawn in front."""
    return Waypoint(porter.t, porter.x + facing * ARM_REACH, porter.y + 0.004, HAND_LIFT)


def _walk(start: Waypoint, x: float, y: float, speed: float) -> Waypoint:
    return Waypoint(start.t + abs(x - start.x) / speed, x, y)


def _stop(start: Waypoint, x: float, y: float, speed: float, pause: float) -> list[Waypoint]:
    arrived = _walk(start, x, y, speed)
    return [arrived, arrived._replace(t=arrived.t + pause)]


def _colour(rng: np.random.Generator) -> Colour:
    return COLOURS[int(rng.integers(len(COLOURS)))]


def _fits(group: Sequence[Actor], cast: Sequence[Actor], until_s: float) -> bool:
    """Room for the group: never more than CROWD at once, no two of one kind and colour or one number at once, and
    all within the time of the chapter.
    """
    if any(a.end_s >= until_s for a in group) or len({(a.kind, a.colour) for a in group}) < len(group):
        return False
    if any(_twins(a, b) for a in group for b in cast):
        return False
    begin, end = min(a.start_s for a in group), max(a.end_s for a in group)
    spans = [(a.start_s, a.end_s) for a in (*cast, *group) if a.start_s <= end and a.end_s >= begin]
    return all(sum(s <= t <= e for s, e in spans) <= CROWD for t, _ in spans)


def _twins(a: Actor, b: Actor) -> bool:
    same = a.kind == b.kind and (a.colour == b.colour or (a.number != "" and a.number == b.number))
    return same and a.start_s <= b.end_s + 2 and b.start_s <= a.end_s + 2


def stops(actor: Actor) -> list[tuple[float, float]]:
    """(from, to) of each stretch in which the actor stands still, neither walking nor being lifted."""
    return [(a.t, b.t) for a, b in pairwise(actor.path) if (a.x, a.y, a.lift) == (b.x, b.y, b.lift)]


assert set(LANES) == set(SPEEDS) == set(KINDS)
