"""What is truly to be seen at a moment, and what happened in a stretch of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from stream.sources.simulated.fittings import VARIANTS, fixture_box
from stream.sources.simulated.fixtures import switches
from stream.sources.simulated.kinds import Colour, Fixture, Kind, Scene
from stream.sources.simulated.stories import stops
from stream.sources.simulated.world import CHAPTER_S, Actor, Script, Waypoint, box_of

Happening = Literal["enter", "leave", "stop", "start", "pick_up", "drop", "open", "close", "light_on", "light_off"]
Side = Literal["left", "right"]
SWITCHED: dict[tuple[Fixture, bool], Happening] = {
    ("door", True): "open",
    ("door", False): "close",
    ("light", True): "light_on",
    ("light", False): "light_off",
}
NOBODY = -1  # the actor of what a fixture does
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
    number: str = ""  # on a truck
    mate: tuple[Kind, Colour] | None = None  # what a person carries, or who carries this

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
    """Something that happened. `other_id` is the box of a person's `pick_up` or `drop`.

    What doors and lights do has no actor: `actor_id` is NOBODY, kind and colour are None.
    """

    time_s: float  # media time
    what: Happening
    actor_id: int
    kind: Kind | None
    colour: Colour | None
    other_id: int | None = None


def visible(script: Script, t: float, least: float = 0.05) -> list[Seen]:
    """Everything of which at least the fraction `least` shows at media time `t` (s), far things first.

    With `least` 0 also what stands within the picture, wholly hidden behind something else.
    """
    actors, view = script.actors(t), script.view_x(t)
    turning = (script.view_x(t + 0.01) - view) / 0.01
    names = {actor.id: (actor.kind, actor.colour) for actor, _ in actors}
    boxes = [_moved(box_of(actor, pose), -view) for actor, pose in actors]
    found = []
    for i, ((actor, pose), box) in enumerate(zip(actors, boxes, strict=True)):
        nearer = [boxes[j] for j in range(i + 1, len(actors)) if actors[j][0].kind != "bicycle"]  # one sees through
        shown = shown_share(box, nearer)
        x0, y0, x1, y1 = box
        if shown < least or x1 <= 0 or x0 >= 1:
            continue
        clipped = (max(x0, 0.0), max(y0, 0.0), min(x1, 1.0), min(y1, 1.0))
        moving = abs(pose.vx) > MOVING
        velocity = (pose.vx - turning, pose.vy) if moving else (0.0, 0.0)
        carrier, load = actor.carrier(t), actor.load(t)
        other = load if carrier is None else carrier
        mate = None if other is None else names.get(other)
        found.append(
            Seen(actor.id, actor.kind, actor.colour, clipped, velocity, moving, carrier, shown, actor.number, mate)
        )
    return found


def fixtures_seen(script: Script, t: float, seen: Sequence[Seen], least: float = 0.6) -> dict[Fixture, bool | None]:
    """Whether the door is open and the light on at `t`; None for one of which less than `least` shows.

    `seen` is all that is in the picture at that time.
    """
    before = [s.box for s in seen if s.kind != "bicycle"]
    view, found = script.view_x(t), dict[Fixture, bool | None]()
    for fixture, on in script.fixtures(t).items():
        box = _moved(_place(script.scene, script.seed % VARIANTS, fixture), -view)
        found[fixture] = on if shown_share(box, before) >= least else None
    return found


def everyone(script: Script, t0: float, t1: float) -> dict[int, Actor]:
    """All actors that may be there at any time from t0 to t1 (media time, s), by their ids."""
    chapters = range(int(max(t0, 0.0) // CHAPTER_S), int(max(t1, t0, 0.0) // CHAPTER_S) + 1)
    return {actor.id: actor for index in chapters for actor in script.cast(index)}


def events(script: Script, t0: float, t1: float) -> list[Event]:
    """What happened in [t0, t1) of media time (s), in order. One enters and leaves as one's middle passes the edge."""
    t0 = max(t0, 0.0)
    found = [e for a in everyone(script, t0, t1).values() for e in _life(script, a)]
    for index in range(int(t0 // CHAPTER_S), int(max(t1, t0) // CHAPTER_S) + 1):
        turned = switches(script.seed, script.scene, index, CHAPTER_S)
        found += [Event(s.t, SWITCHED[s.fixture, s.on], NOBODY, None, None) for s in turned]
    return sorted((e for e in found if t0 <= e.time_s < t1), key=lambda e: (e.time_s, e.actor_id, e.what))


def leaving(script: Script, actor: Actor) -> tuple[float, Side]:
    """When (media time, s) and by which edge an actor's middle passes out of the picture for good."""
    t, edge = _crossings(script, actor)[-1]
    return t, "left" if edge == 0 else "right"


def _life(script: Script, actor: Actor) -> list[Event]:
    def event(t: float, what: Happening, other: int | None = None) -> Event:
        return Event(t, what, actor.id, actor.kind, actor.colour, other)

    crossings = _crossings(script, actor)
    enter, leave = crossings[0][0], crossings[-1][0]
    life = [event(enter, "enter"), event(leave, "leave")]
    for start, end in stops(actor):
        life += [event(start, "stop"), event(end, "start")]
    for load in actor.loads:
        if load.start_s > enter:
            life.append(event(load.start_s, "pick_up", load.by))
        if load.end_s < leave:
            life.append(event(load.end_s, "drop", load.by))
    return life


def _crossings(script: Script, actor: Actor) -> list[tuple[float, float]]:
    """(when, which edge) of each time that the middle passes an edge of the picture, as the turning camera sees it."""
    found = []
    for a, b in pairwise(actor.path):
        for edge in (0.0, 1.0):
            before, after = a.x - script.view_x(a.t) - edge, b.x - script.view_x(b.t) - edge
            if before * after < 0:
                found.append((_crossing(script, a, b, edge), edge))
    return sorted(found)


def _crossing(script: Script, a: Waypoint, b: Waypoint, edge: float) -> float:
    """When the straight way from a to b passes an edge. Walkers are faster than the camera turns: once only."""
    pace, t = (b.x - a.x) / (b.t - a.t), a.t
    for _ in range(12 if script.pan else 1):  # the turn changes little on the way: this settles fast
        t = a.t + (edge + script.view_x(t) - a.x) / pace
    return t


@lru_cache(maxsize=256)
def _place(scene: Scene, variant: int, fixture: Fixture) -> Box:
    return fixture_box(scene, variant, fixture)


def _moved(box: Box, by: float) -> Box:
    return box[0] + by, box[1], box[2] + by, box[3]


def shown_share(box: Box, nearer: Sequence[Box], steps: int = 8) -> float:
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
