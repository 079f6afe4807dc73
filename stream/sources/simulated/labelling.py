"""What each cell of a grid shows: the truth that a vision tower is trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.sources.simulated.fittings import VARIANTS, Box, fixture_box
from stream.sources.simulated.kinds import COLOURS, KINDS, SIZES, Fixture
from stream.sources.simulated.paint import overlap, placed
from stream.sources.simulated.sprites import digit_boxes
from stream.sources.simulated.world import Actor, Pose, Script, box_of

SUB = 8  # label samples per cell and axis
LABELS = ("kind", "colour", "state", "digit1", "digit2")  # columns
STATES: dict[Fixture, tuple[int, int]] = {"door": (1, 2), "light": (3, 4)}  # class when shut or dark, open or lit
THIRD = 1 / 3  # of a cell that a fixture covers: then the cell shows it
HIDDEN = 0.3  # of a cell covered by actors: then its fixture is unclear
HELD = 0.15  # share of a digit in a cell that names it; with less the cell is unclear
READABLE = 0.8  # of a digit must show


def labels(script: Script, t: float, grid: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What fills each cell of a (rows, columns) grid at media time `t`, without shake.

    Returns:
        (rows, columns, len(LABELS)) int64. kind and colour: 1 + index into KINDS and COLOURS of the actor that covers
        most of the cell, nearer ones hiding farther ones, 0 where there is none. state: 1 door closed, 2 door open,
        3 light off, 4 light on, 0 nothing of the sort, -1 its edge or where actors hide it. digit1 and digit2: 1 + the
        digit of a truck's number in the cells that hold most of it, -1 in those with a sliver of it and where it is
        partly hidden or cut off, 0 elsewhere.
        (rows, columns) float32: the share of the cell which that actor covers.
    """
    actors = script.actors(t)
    owner = _owners(script, t, grid, actors)
    cells = owner.reshape(grid[0], SUB, grid[1], SUB)
    shares = np.stack([(cells == i).mean(axis=(1, 3)) for i in range(1, len(actors) + 1)] or [np.zeros(grid)])
    best, coverage = shares.argmax(axis=0), shares.max(axis=0).astype(np.float32)
    found = np.zeros((*grid, len(LABELS)), np.int64)
    names = [(KINDS.index(a.kind) + 1, COLOURS.index(a.colour) + 1) for a, _ in actors] or [(0, 0)]
    found[..., :2] = np.asarray(names, np.int64)[best]
    found[coverage == 0] = 0
    found[..., 2] = _states(script, t, grid, (owner > 0).reshape(cells.shape).mean(axis=(1, 3)))
    for i, (actor, pose) in enumerate(actors, start=1):
        if actor.number:
            _number(found, actor, pose, script.view_x(t), owner == i)
    strangers = found[..., 0] != KINDS.index("truck") + 1
    found[strangers, 3:] = np.where(found[strangers, 3:] == 0, 0, -1)
    return found, coverage


def _owners(script: Script, t: float, grid: tuple[int, int], actors: list[tuple[Actor, Pose]]) -> NDArray[np.uint8]:
    """(rows * SUB, columns * SUB): 1 + place of the actor that shows there, 0 for none."""
    size = grid[1] * SUB, grid[0] * SUB
    owner = np.zeros((size[1], size[0]), np.uint8)
    for i, (actor, pose) in enumerate(actors, start=1):
        figure, x, y = placed(actor, pose, size, script.style)
        inside = overlap(figure.solid.shape, x - round(script.view_x(t) * size[0]), y, owner.shape)
        if inside:
            (sy, sx), (dy, dx) = inside
            owner[dy, dx][figure.solid[sy, sx]] = i
    return owner


def _states(script: Script, t: float, grid: tuple[int, int], hidden: NDArray[np.float64]) -> NDArray[np.int64]:
    """(rows, columns): the state of the fixture that a cell shows."""
    found = np.zeros(grid, np.int64)
    for fixture, on in script.fixtures(t).items():
        x0, y0, x1, y1 = fixture_box(script.scene, script.seed % VARIANTS, fixture)
        view = script.view_x(t)
        shown = _shares((x0 - view, y0, x1 - view, y1), grid)
        # On a coarse grid it may cover a third of no cell: then the one with most of it shows it.
        whole = x0 >= view and x1 <= 1 + view
        holds = (shown > THIRD) | (whole & (shown == shown.max()))
        found[shown > 0] = -1
        found[holds & (hidden < HIDDEN)] = STATES[fixture][on]
    return found


def _number(found: NDArray[np.int64], actor: Actor, pose: Pose, view: float, mine: NDArray[np.bool_]) -> None:
    """Label the cells that hold a truck's digits. `mine` (rows * SUB, columns * SUB): where the truck shows."""
    grid = found.shape[0], found.shape[1]
    x0, y0, x1, y1 = box_of(actor, pose)
    w, h = SIZES[actor.kind][0] * 320, SIZES[actor.kind][1] * 240
    fine = mine.shape[1] * (x1 - x0) / w, mine.shape[0] * (y1 - y0) / h  # samples per pixel of the figure
    for column, (box, digit) in enumerate(zip(digit_boxes(pose.facing), actor.number, strict=False), start=3):
        left, top = (x0 - view) * mine.shape[1], y0 * mine.shape[0]
        place = [round(left + box[0] * fine[0]), round(top + box[1] * fine[1])]
        end = [round(left + box[2] * fine[0]), round(top + box[3] * fine[1])]
        area = (end[0] - place[0]) * (end[1] - place[1])
        shown = np.zeros_like(mine)
        inside = slice(max(place[1], 0), max(end[1], 0)), slice(max(place[0], 0), max(end[0], 0))
        shown[inside] = mine[inside]
        shares = shown.reshape(grid[0], SUB, grid[1], SUB).sum(axis=(1, 3)) / area
        found[shares > 0, column] = -1
        if shares.sum() >= READABLE:
            found[shares > HELD, column] = int(digit) + 1


def _shares(box: Box, grid: tuple[int, ...]) -> NDArray[np.float64]:
    """(rows, columns): the share of each cell that a box (fractions of the picture) covers."""
    rows, columns = grid
    x, y = np.arange(columns), np.arange(rows)
    across = np.clip(np.minimum(box[2] * columns, x + 1) - np.maximum(box[0] * columns, x), 0, 1)
    down = np.clip(np.minimum(box[3] * rows, y + 1) - np.maximum(box[1] * rows, y), 0, 1)
    covered: NDArray[np.float64] = down[:, None] * across[None, :]
    return covered
