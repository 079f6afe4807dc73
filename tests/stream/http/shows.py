"""A station for looking at: a yard with an hour of memory in all its tiers, whose answers are the scene's own truth."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from stream.agent import Agent, AgentOptions
from stream.clock import Clock
from stream.config import Config, QuestionsConfig, parse
from stream.desk import Desk
from stream.device import Device
from stream.flow import BlockRecord, CameraState, Evidence, Frame, Holdings, Piece, Question, Sighting, Tokens
from stream.gate import ChangeGate
from stream.hub import EventHub
from stream.journal import Journal
from stream.meters import Meters
from stream.sight import Sight
from stream.sources.simulated.kinds import PLURALS
from stream.sources.simulated.labelling import labels
from stream.sources.simulated.paint import paint
from stream.sources.simulated.truth import visible
from stream.sources.simulated.world import Script
from stream.station import Station
from tests.fakes import EchoMemory, EchoView

HOUR_S = 3600.0
GRID = (12, 16)
BLOCK_S = 8.0
SIZE = (480, 360)


class Yard:
    """A source of two pictures per second whose media time begins an hour in."""

    def __init__(self, script: Script, clock: Clock, started_s: float = HOUR_S) -> None:
        self.script = script
        self._clock = clock
        self._now_s = started_s
        self.awake = asyncio.Event()  # cleared: no more frames come
        self.awake.set()
        self._state = CameraState("online", clock.wall_s())

    @property
    def state(self) -> CameraState:
        return self._state

    def frame(self, time_s: float) -> Frame:
        rgb = paint(self.script, time_s, SIZE)
        rgb.setflags(write=False)
        return Frame(round(time_s * 2), time_s, self._clock.now_s(), rgb)

    async def __aiter__(self) -> AsyncIterator[Frame]:
        while True:
            await self.awake.wait()
            yield await asyncio.to_thread(self.frame, self._now_s)
            self._now_s += 0.5
            await self._clock.sleep(0.5)

    async def aclose(self) -> None:
        pass


class Quiet:
    """A source that never shows anything."""

    def __init__(self, state: CameraState) -> None:
        self.state = state

    async def __aiter__(self) -> AsyncIterator[Frame]:
        await asyncio.Event().wait()
        yield cast("Frame", None)

    async def aclose(self) -> None:
        pass


class GreyEncoder:
    """One token per frame: the page needs pictures, not understanding."""

    def encode(self, frames: list[Frame]) -> list[Tokens]:
        return [self._tokens(frame) for frame in frames]

    def _tokens(self, frame: Frame) -> Tokens:
        mean = frame.rgb.reshape(-1, 3).mean(0, keepdims=True).astype(np.float32)
        places, mass = np.zeros((1, 3), np.int32), np.ones(1, np.float32)
        return Tokens(cast("Any", mean), cast("Any", places), cast("Any", mass), GRID, (frame.time_s, frame.time_s))


class LayeredMemory(EchoMemory):
    """Holds an hour: the first half thinned to COLD, then WARM with a gap, then HOT up to the frame now."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script

    def fork(self, question: Question) -> EchoView:
        view = super().fork(question)
        view.evidence = lambda: self._evidence(view)  # type: ignore[method-assign]
        return view

    def holdings(self) -> Holdings:
        now_s = self.seen[-1][0] if self.seen else HOUR_S
        spans = [("cold", 40.0 * i, 40.0 * i + 16) for i in range(44)]
        spans += [("warm", s, s + BLOCK_S) for s in np.arange(1800, 2960, BLOCK_S) if not 2200 < s < 2330]
        spans += [("hot", s, s + BLOCK_S) for s in np.arange(2960, now_s - BLOCK_S, BLOCK_S)]
        spans.append(("open", spans[-1][2], now_s))
        reasons = {"cold": "thinned by age", "warm": "moved aside for newer blocks", "hot": "newest", "open": "segment"}
        blocks = tuple(
            BlockRecord(i, cast("Any", state), (float(a), float(b)), 16, 32, 16 * 192.0, 0.5, reasons[state])
            for i, (state, a, b) in enumerate(spans)
        )
        tokens = {
            state: 32 * sum(block.state == state for block in blocks) for state in ("hot", "warm", "cold", "open")
        }
        parts = {
            "hot": 61 << 20,
            "warm": 52 << 20,
            "cold": 9 << 20,
            "instant": 6 << 20,
            "base": 2 << 20,
            "map": 1 << 20,
        }
        return Holdings(
            blocks=blocks,
            bytes_by_part=parts,
            budget_bytes=256 << 20,
            tokens_by_state=tokens,
            patches_seen=2 * 192 * now_s,
            patches_by_state={},
            codes_alive=211,
            frames_seen=round(2 * now_s),
            covered_s=(0.0, now_s),
        )

    def _evidence(self, view: EchoView) -> Evidence:
        now_s = view.seen_s
        told = [(now_s - 1.5, now_s, 0.46, None, ""), (3240.0, 3248.0, 0.28, 410, "")]
        told += [(2400.0, 2408.0, 0.17, 220, "warm"), (600.0, 616.0, 0.09, 15, "cold")]
        sightings = tuple(
            Sighting((a, b), weight, self._cells((a + b) / 2), block, cast("Any", recalled))
            for a, b, weight, block, recalled in told
        )
        return Evidence(sightings, (0.0, now_s), (), now_s, frames=34)

    def _cells(self, time_s: float) -> tuple[tuple[float, ...], ...]:
        _, covered = labels(self.script, time_s, GRID)
        glow = covered + 0.02
        return tuple(tuple(float(share) for share in row) for row in glow / glow.sum())


class TruthTeller:
    """Says what is visible, word by word; a word takes `word_s` of the device thread. "slowly" takes all tokens."""

    model_id = "longwatch-yard"

    def __init__(self, script: Script, word_s: float) -> None:
        self.script = script
        self._pause = threading.Event()
        self._word_s = word_s

    def answer(self, view: EchoView) -> Iterator[Piece]:
        if "fail" in view.question.text:
            raise RuntimeError("the model broke")
        seen = visible(self.script, view.seen_s)
        things = " and ".join(f"a {one.colour} {one.kind}" for one in seen) or "nothing but the yard"
        told = f"There is {things}. Before that, two {PLURALS['person']} crossed from the left."
        for word in told.split(" ") if "slowly" not in view.question.text else ["so"] * view.question.max_tokens:
            self._pause.wait(self._word_s)
            view.said += 1
            yield Piece(f"{word} ", view.seen_s)


@asynccontextmanager
async def showcase(folder: Path, word_s: float = 0.05) -> AsyncIterator[tuple[Station, Config]]:
    """The yard, running, with an hour behind it; a second camera is offline."""
    config = parse(
        "cameras:\n"
        "  yard: {source: 'sim://yard?seed=7', name: Yard}\n"
        "  gate: {source: 'rtsp://user:canary-secret@192.0.2.1/1', name: Back gate}\n"
        "questions: {max_age_ms: 2000}\n"  # pictures: answers have the desk's own, longer limit
    )
    clock, script = Clock(), Script(seed=7)
    device, meters, events = Device(), Meters("longwatch-yard"), EventHub(first_id=1000)
    sight, answerer = Sight(device, cast("Any", GreyEncoder())), TruthTeller(script, word_s)
    offline = CameraState("offline", clock.wall_s(), "The camera at 192.0.2.1 does not answer; trying again in 30 s.")
    agents: dict[str, Agent] = {}
    for name, source in (("yard", Yard(script, clock)), ("gate", Quiet(offline))):
        agents[name] = Agent(
            name,
            cast("Any", source),
            gate=ChangeGate(),
            sight=sight,
            memory=cast("Any", LayeredMemory(script) if name == "yard" else EchoMemory()),
            answerer=cast("Any", answerer),
            device=device,
            events=events,
            meters=meters,
            clock=clock,
            options=AgentOptions(fps=2.0),
        )
    for time_s in (608.0, 2404.0, *np.arange(3200.0, HOUR_S, 8.0)):
        agents["yard"].album.add(Yard(script, clock).frame(float(time_s)))
    journal = Journal(folder / "journal.sqlite")
    limits = QuestionsConfig(
        max_age_ms=600_000, timeout_s=100, max_tokens=1024
    )  # a test machine may be busy for a long time
    desk = Desk(agents, journal, events, meters, clock=clock, limits=limits, model_id="longwatch-yard")
    station = Station(agents, desk, journal, events, meters, device, "longwatch-yard", clock)
    async with station.running():
        yield station, config
