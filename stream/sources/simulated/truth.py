"""What is truly to be seen at a moment, and what happened in a stretch of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from stream.sources.simulated.kinds import Colour, Kind
from stream.sources.simulated.stories import stops
from stream.sources.simulated.world import CHAPTER_S, Actor, Script, box_of

Happening = Literal["enter", "leave", "stop", "start", "pick_up", "drop"]
MOVING = 0.01  # picture widths per s; below it a thing stands still
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Seen:
    """One actor in the picture at one moment."""

    actor_id: int
    kind: Kind
    colour: Colour
    box: Box  # (x0, y0, x1, y1) in 0..1, clipped to the picture
    velocity: tuple[float, float]  # picture widths and heights per s
    moving: bool
    carried_by: int | None
    shown_fraction: float  # share of its whole box that is inside the picture and not behind something nearer

    @property
    def x(self) -> float:
        """Middle of the visible part, fraction of picture width."""
        return (self.box[0] + self.box[2]) / 2

    @property
    def y(self) -> float:
        """Middle of the visible part, fraction of picture height."""
        return (self.box[1] + self.box[3]) / 2


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `other_id` is the box of a person's `pick_up` or `drop`."""

    time_s: float  # media time
    what: Happening
    actor_id: int
    kind: Kind
    colour: Colour
    other_id: int | None = None


def visible(script: Script, t: float, least: float = 0.05) -> list[Seen]:
    """Everything of which at least the fraction `least` shows at media time `t` (s), far things first.

    With `least` 0 also what stands within the picture, wholly hidden behind something else.
    """
    actors = script.actors(t)
    boxes = [box_of(actor, pose) for actor, pose in actors]
    found = []
    for i, ((actor, pose), box) in enumerate(zip(actors, boxes, strict=True)):
        nearer = [boxes[j] for j in range(i + 1, len(actors)) if actors[j][0].kind != "bicycle"]  # one sees through
        shown = _shown(box, nearer)
        x0, y0, x1, y1 = box
        if shown < least or x1 <= 0 or x0 >= 1:
            continue
        clipped = (max(x0, 0.0), max(y0, 0.0), min(x1, 1.0), min(y1, 1.0))
        moving = abs(pose.vx) > MOVING
        velocity = (pose.vx, pose.vy) if moving else (0.0, 0.0)
        carrier = actor.carrier(t)
        found.append(Seen(actor.id, actor.kind, actor.colour, clipped, velocity, moving, carrier, shown))
    return found


def events(script: Script, t0: float, t1: float) -> list[Event]:
    """What happened in [t0, t1) of media time (s), in order. One enters and leaves as one's middle passes the edge."""
    t0 = max(t0, 0.0)
    cast: dict[int, Actor] = {}
    for index in range(int(t0 // CHAPTER_S), int(max(t1, t0) // CHAPTER_S) + 1):
        cast.update({a.id: a for a in script.cast(index)})
    found = [e for a in cast.values() for e in _life(a) if t0 <= e.time_s < t1]
    return sorted(found, key=lambda e: (e.time_s, e.actor_id, e.what))


def _life(actor: Actor) -> list[Event]:
    def event(t: float, what: Happening, other: int | None = None) -> Event:
        return Event(t, what, actor.id, actor.kind, actor.colour, other)

    enter, leave = _crossings(actor)
    life = [event(enter, "enter"), event(leave, "leave")]
    for start, end in stops(actor):
        life += [event(start, "stop"), event(end, "start")]
    for load in actor.loads:
        if load.start_s > enter:
            life.append(event(load.start_s, "pick_up", load.by))
        if load.end_s < leave:
            life.append(event(load.end_s, "drop", load.by))
    return life


def _crossings(actor: Actor) -> tuple[float, float]:
    """When the middle first and last passes an edge of the picture."""
    steps = [(a, b, edge) for a, b in pairwise(actor.path) for edge in (0.0, 1.0) if (a.x - edge) * (b.x - edge) < 0]
    times = [a.t + (edge - a.x) / (b.x - a.x) * (b.t - a.t) for a, b, edge in steps]
    return min(times), max(times)


def _shown(box: Box, nearer: Sequence[Box], steps: int = 8) -> float:
    """Share of a box inside the picture and outside of all nearer boxes, on a grid of steps x steps points."""
    x0, y0, x1, y1 = box
    if x1 <= 0 or x0 >= 1:
        return 0.0
    nearer = [n for n in nearer if n[0] < x1 and n[2] > x0 and n[1] < y1 and n[3] > y0]
    if not nearer:
        return (min(x1, 1.0) - max(x0, 0.0)) / (x1 - x0) * (min(y1, 1.0) - max(y0, 0.0)) / (y1 - y0)
    free = 0
    for i in range(steps):
        x = x0 + (i + 0.5) / steps * (x1 - x0)
        if 0 <= x <= 1:
            columns = [n for n in nearer if n[0] < x < n[2]]
            ys = (y0 + (j + 0.5) / steps * (y1 - y0) for j in range(steps))
            free += sum(0 <= y <= 1 and not any(n[1] < y < n[3] for n in columns) for y in ys)
    return free / steps**2
