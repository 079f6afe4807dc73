"""One stream from its first frame to its last question, through the real pipeline."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench.watch.asks import Ask
from bench.watch.films import Film
from bench.watch.plan import Unit
from bench.watch.scoring import Answered
from bench.watch.standing import Visit
from bench.watch.systems import LONGWATCH, POLLED, Heard, Panel
from models.vision.torch_tower import TorchVision
from stream.flow import Frame, Tokens
from stream.gate import ChangeGate

AT_ONCE = 8


TIERS = ("hot", "warm", "cold")


@dataclass(frozen=True, slots=True)
class Kept:
    """What the deployed memory holds at a stream's end."""

    media_s: float  # media time of the stream
    frames: int  # shown
    admitted: int  # by the gate
    cells: int  # tokens of one frame
    raw_tokens: float  # of all frames at full rate over the media time
    committed: int  # tokens that were ever written to memory
    held: int  # tokens in all tiers at the end
    words: int  # of these, words of time stamps; the others are visual tokens
    in_reach: int  # of those held, at hand
    most_bytes: int  # held at once, at the times of questions


@dataclass(frozen=True, slots=True)
class Outcome:
    """All there is to know of a stream that was watched."""

    unit: str
    sort: str
    seconds: float  # that it took, by the clock on the wall
    cpu_s: float  # of one core
    answered: list[Answered]
    kept: Kept
    standing: dict[str, list[Visit]] = field(default_factory=dict)  # by group: what there was to say
    at_once: tuple[int, int] = (0, 0)  # questions asked eight at a time, and how many answers equalled those alone


def watch(
    unit: Unit, film: Film, asks: Sequence[Ask], standing: dict[str, list[Visit]], panel: Panel, encoder: TorchVision
) -> Outcome:
    """Show a film frame by frame; put each question as soon as the frame of its time has been seen."""
    started, worked, due = time.perf_counter(), time.process_time(), sorted(asks, key=lambda a: a.time_s)
    gate, answered, most_bytes, admitted = ChangeGate(), list[Answered](), 0, 0
    together = _moment_for_all(due) if LONGWATCH in panel.seats else None
    at_once = 0, 0
    for time_s, tokens, passed in frames(film, panel, encoder, gate):
        admitted += passed
        panel.see(time_s, tokens, admitted=passed)
        if not due or due[0].time_s > time_s:
            continue
        now = [a for a in due if a.time_s <= time_s]
        due = due[len(now) :]
        if together is not None and now[0].time_s == together:
            at_once = _all_at_once(panel, now, time_s)
        for a in now:
            answered.append(answered_by(unit, film, a, _hear(panel, a, time_s)))
        most_bytes = max(most_bytes, sum(panel.holdings().bytes_by_part.values()))
    kept = _kept(film, panel, admitted, most_bytes)
    took = time.perf_counter() - started, time.process_time() - worked
    return Outcome(unit.name, unit.sort, *took, answered, kept, standing, at_once)


def frames(
    film: Film, panel: Panel, encoder: TorchVision, gate: ChangeGate
) -> Iterator[tuple[float, Tokens | None, bool]]:
    """(media time, tokens, whether the gate let it pass) of each frame, painted as it comes."""
    needs_all = any(seat.ungated for seat in panel.seats.values())
    for index, shot in enumerate(film.shots):
        if shot.still:
            panel.hold(shot.time_s)
        frame = Frame(index, shot.time_s, shot.time_s, film.picture(index))
        passed = gate.admits(frame)
        yield shot.time_s, encoder.encode([frame])[0] if passed or needs_all else None, passed


def _hear(panel: Panel, a: Ask, now_s: float) -> dict[str, Heard]:
    polled = a.task == "standing"
    return panel.ask(a.item, now_s, POLLED if polled else panel.systems)


def _moment_for_all(asks: Sequence[Ask]) -> float | None:
    """The last moment with eight ordinary questions, or with as many as there are anywhere."""
    counts: dict[float, int] = {}
    for a in asks:
        counts[a.time_s] = counts.get(a.time_s, 0) + (not a.task)
    most = min(AT_ONCE, max(counts.values(), default=0))
    return max((t for t, count in counts.items() if count >= most), default=None) if most > 1 else None


def _all_at_once(panel: Panel, asks: Sequence[Ask], now_s: float) -> tuple[int, int]:
    """(questions, how many of them were answered in company as they are alone)."""
    texts = [a.item.text for a in asks if not a.task][:AT_ONCE]
    memory = panel.seats[LONGWATCH].memory
    in_company = panel.asker.at_once(memory, texts, now_s)
    alone = [panel.asker.ask(memory, text, now_s).text for text in texts]
    return len(texts), sum(a == b for a, b in zip(in_company, alone, strict=True))


def answered_by(unit: Unit, film: Film, a: Ask, heard: dict[str, Heard]) -> Answered:
    """A question with its truth and what was heard."""
    item = a.item
    return Answered(
        kind=item.kind,
        mode="forward" if a.task and a.task != "drift" else item.mode,
        text=item.text,
        answer=item.answer,
        said={name: one.text for name, one in heard.items()},
        now_s=a.time_s,
        wall_s=film.wall_s,
        time_s=item.time_s,
        age_s=item.lag_s if item.there or item.span is not None else None,
        task=a.task,
        group=f"{unit.name}: {a.group}" if a.group else "",
        unit=unit.name,
        variant=unit.variant,
        sort=unit.sort,
        occluded=a.occluded,
        out_of_depth=next(iter(heard.values())).out_of_depth,
        first_ms={name: one.first_ms for name, one in heard.items()},
        reach={name: one.reach for name, one in heard.items()},
    )


def _kept(film: Film, panel: Panel, admitted: int, most_bytes: int) -> Kept:
    held, cells = panel.holdings(), panel.cells
    alive = {state: held.tokens_by_state[state] for state in TIERS}
    return Kept(
        media_s=film.seconds,
        frames=len(film.shots),
        admitted=admitted,
        cells=cells,
        raw_tokens=film.seconds * film.fps * cells,
        committed=sum(held.tokens_by_state.values()),
        held=sum(alive.values()),
        words=panel.words * sum(block.state in TIERS for block in held.blocks),
        in_reach=alive["hot"],
        most_bytes=max(most_bytes, sum(held.bytes_by_part.values())),
    )
