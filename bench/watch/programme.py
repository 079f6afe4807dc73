"""From a unit of the plan to its film and its questions. Cheap: nothing is painted, no model is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from bench.watch import asks, films
from bench.watch.asks import Ask, Even
from bench.watch.films import Film
from bench.watch.plan import Plan, Sort, Unit
from bench.watch.standing import Visit, instructions
from bench.watch.stress import under
from stream.sources.simulated.balance import Candidate
from stream.sources.simulated.quiz import KINDS_ASKED, MODES
from stream.sources.simulated.teacher import draw_script

PROBE_EVERY_S = 10
STRESS_MOMENTS = 4
GLIMPSE_KINDS = ("seen", "past_colour", "when")
# What few moments offer is looked for: everything in the present, and these.
PRESENT = tuple(kind for kind in MODES if MODES[kind] == "present")
OCCASIONAL = (*PRESENT, "past_count", "past_number", "who_left")


@dataclass(frozen=True, slots=True)
class Show:
    """A film with all that will be asked about it."""

    film: Film
    asks: list[Ask]
    standing: dict[str, list[Visit]] = field(default_factory=dict)


class Programme:
    """Makes the shows of one plan, in order: answers are kept even over all streams of a sort."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._even: dict[tuple[Sort, str], Even] = {}  # under each stress the same is asked

    def show(self, unit: Unit) -> Show:
        """The show of a unit. Call it for every unit in turn, also for those whose result is known already."""
        rng = np.random.default_rng((unit.seed, 1))
        even = self._even.setdefault((unit.sort, unit.variant), Even())
        plan = self.plan
        if unit.sort in {"short", "ablation"}:
            film = films.draw_short(unit.seed, plan.seconds, plan.fps)
            asked = list(asks.at_moments(film, plan.moments, plan.questions, rng, even, KINDS_ASKED))
            asked += asks.at_occasions(film, OCCASIONAL, rng, even, plan.occasions)
            asked += _forward(film, rng)
            standing = dict[str, list[Visit]]()
            if unit.sort == "short" and unit.number < plan.standing:
                for polls, found in instructions(film, unit.seed, rng, plan.instructions):
                    asked += polls
                    standing[f"{unit.name}: {polls[0].group}"] = found
            return Show(film, asked, standing)
        if unit.sort in {"day", "ablation day"}:
            film = films.day(unit.seed, plan.day_s, plan.fps)
            asked = list(asks.of_a_day(film, plan.day_moments, rng, even))
            ends = [run.last_s for run in film.truth.runs]
            return Show(film, asked + list(asks.drift(film, ends, rng, most=6)))
        if unit.sort == "glimpse":
            return _glimpse(unit, plan, rng)
        return self._stressed(unit, rng, even)

    def _stressed(self, unit: Unit, rng: np.random.Generator, even: Even) -> Show:
        draw = np.random.default_rng(unit.seed)
        setting = under(unit.variant, draw_script(draw))
        start = float(draw.integers(0, 768))
        film = films.short(setting.script, setting.camera, start, self.plan.stress_seconds, self.plan.fps)
        asked = list(asks.at_moments(film, STRESS_MOMENTS, self.plan.questions, rng, even, KINDS_ASKED))
        return Show(film, asked + list(asks.at_occasions(film, PRESENT, rng, even, each=1)))


def _forward(film: Film, rng: np.random.Generator) -> Iterator[Ask]:
    times = [float(t) for t in range(PROBE_EVERY_S, int(film.seconds) + 1, PROBE_EVERY_S)]
    yield from asks.drift(film, times, rng)
    yield from asks.counting(film, times, rng)
    yield from asks.running(film, times, rng)
    yield from asks.in_time(film, times, rng)


def _glimpse(unit: Unit, plan: Plan, rng: np.random.Generator) -> Show:
    """What it was, whether it was there, when, and whether something near to it was: one question each."""
    film = films.glimpse(unit.seed, plan.fps)
    truth, found = film.truth.until(film.seconds), list[Ask]()
    for kind in GLIMPSE_KINDS:
        sides: dict[bool, list[Candidate]] = {True: [], False: []}
        for c in asks.candidates(kind, truth, rng, film.wall_s):
            if c.there or c.flavour == "near":
                sides[c.there].append(c)
        for side in sides.values():
            found += [Ask(truth.now_s, asks.as_item(kind, side[int(i)])) for i in rng.permutation(len(side))[:1]]
    return Show(film, found)
