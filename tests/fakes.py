"""Small honest stand-ins with known truth: a source, an encoder, a memory and an answerer without torch.

`EchoMemory` remembers the colour of every frame it was given, so an answer can be checked against what was shown.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from stream.agent import Agent, AgentOptions
from stream.album import Album
from stream.clock import Clock
from stream.config import QuestionsConfig
from stream.desk import Desk
from stream.device import Device
from stream.flow import (
    Answer,
    BlockRecord,
    CameraState,
    Evidence,
    Fault,
    Frame,
    Holdings,
    MediaEpoch,
    Piece,
    Question,
    Sighting,
    Tokens,
    Usage,
)
from stream.gate import KeepAll
from stream.hub import EventHub
from stream.journal import Journal
from stream.meters import Meters
from stream.ports import FrameSource, Gate
from stream.sight import Sight
from stream.station import Station
from tests.patience import PATIENCE_S

T = TypeVar("T")
COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200), "grey": (90, 90, 90)}
GRID = (2, 2)  # cells


def picture(colour: str, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """(H, W, 3) uint8 of one colour, read-only."""
    rgb = np.empty((*size, 3), np.uint8)
    rgb[:] = COLOURS[colour]
    rgb.setflags(write=False)
    return rgb


def colour_of(rgb: np.ndarray) -> str:
    """The name of the colour that fills a picture."""
    mean = rgb.reshape(-1, 3).mean(0)
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))


def frame(index: int, time_s: float, colour: str = "red", arrived_s: float = 0.0) -> Frame:
    """One frame of one colour."""
    return Frame(index=index, time_s=time_s, arrived_s=arrived_s, rgb=picture(colour))


class ScriptedSource:
    """Shows what a test tells it to: `await source.show("red")`. Truth is `shown`.

    With `script` it plays by itself: one (time_s, colour) after another, as fast as it is consumed, then it ends.
    """

    def __init__(
        self, script: Sequence[tuple[float, str]] = (), clock: Clock | None = None, *, ends: bool = True
    ) -> None:
        self.clock = clock or Clock()
        self.shown: list[tuple[float, str]] = []
        self.closed = False
        self._script = list(script)
        self._ends = ends and bool(script)
        self._frames: asyncio.Queue[Frame | Exception | None] = asyncio.Queue(1000)
        self._state = CameraState("starting", self.clock.wall_s())
        self._index = 0

    @property
    def state(self) -> CameraState:
        return self._state

    def become(self, state: str, reason: str = "", **counts: int) -> None:
        """Change the camera's state, as a source does that loses its connection."""
        self._state = CameraState(cast("Any", state), self.clock.wall_s(), reason, **counts)

    def show(self, colour: str, time_s: float | None = None) -> Frame:
        """One more frame; without a time, half a second after the last."""
        if time_s is None:
            time_s = self.shown[-1][0] + 0.5 if self.shown else 0.0
        shown = frame(self._index, time_s, colour, self.clock.now_s())
        self._index += 1
        self.shown.append((time_s, colour))
        self._frames.put_nowait(shown)
        return shown

    def fail(self, error: Exception) -> None:
        """Raise out of the iteration, as a broken source would."""
        self._frames.put_nowait(error)

    def end(self) -> None:
        """No more frames."""
        self._frames.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Frame]:
        script, self._script = self._script, []
        for time_s, colour in script:
            if self.closed:
                return
            self._online()
            self.shown.append((time_s, colour))
            yield frame(self._index, time_s, colour, self.clock.now_s())
            self._index += 1
            await asyncio.sleep(0)
        while not self.closed and not self._ends:
            item = await self._frames.get()
            if item is None:
                break
            if isinstance(item, Exception):
                raise item
            self._online()
            yield item
        self.become("ended")

    def _online(self) -> None:
        if self._state.state != "online":
            self._state = replace(self._state, state="online", since_wall_s=self.clock.wall_s(), reason="")

    async def aclose(self) -> None:
        self.closed = True


class CountingEncoder:
    """Four tokens per frame, the mean colour of each quarter; counts its calls. `gate`: a turn waits for it."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate: threading.Event | None = None
        self.poison: str | None = None  # a colour that cannot be encoded

    def encode(self, frames: Sequence[Frame]) -> list[Tokens]:
        if self.gate is not None:
            assert self.gate.wait(PATIENCE_S), "the test never opened the encoder's gate"
        if any(colour_of(shown.rgb) == self.poison for shown in frames):
            raise ValueError(f"cannot encode {self.poison}")
        self.batches.append(len(frames))
        return [self._tokens(shown) for shown in frames]

    def _tokens(self, shown: Frame) -> Tokens:
        height, width = (side // 2 * 2 for side in shown.rgb.shape[:2])
        quarters = shown.rgb[:height, :width].reshape(2, height // 2, 2, width // 2, 3).mean((1, 3)).reshape(4, 3)
        places = np.array([(0, y, x) for y in range(2) for x in range(2)], np.int32)
        return Tokens(
            embeds=cast("Any", quarters.astype(np.float32)),
            places=cast("Any", places),
            mass=cast("Any", np.ones(4, np.float32)),
            grid=GRID,
            span_s=(shown.time_s, shown.time_s),
        )


class EchoView:
    """What an `EchoMemory` held when it was forked."""

    def __init__(self, question: Question, seen: tuple[tuple[float, str], ...], close: Any) -> None:
        self.question = question
        self.seen = seen
        self.seen_s = seen[-1][0] if seen else 0.0
        self.closed = False
        self.said = 0
        self._close = close

    def evidence(self) -> Evidence:
        reach = [(time_s, colour) for time_s, colour in self.seen if self._asked_for(time_s)]
        cells = ((0.25, 0.25), (0.25, 0.25))
        sightings = (Sighting((reach[0][0], reach[-1][0]), 1.0, cells, block=0),) if reach else ()
        covered = (self.seen[0][0], self.seen[-1][0]) if self.seen else None
        return Evidence(sightings, covered, newest_frame_s=self.seen_s)

    def _asked_for(self, time_s: float) -> bool:
        span = self.question.span_s
        return span is None or span[0] <= time_s <= span[1]

    def usage(self) -> Usage:
        return Usage(prompt_tokens=4 * len(self.seen), completion_tokens=self.said)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._close(self)


class EchoMemory:
    """Remembers the colours of the last `most` frames. Written and read on one thread only, and checks it."""

    def __init__(self, most: int = 1000) -> None:
        self.epoch = MediaEpoch(0.0)
        self.seen: list[tuple[float, str]] = []
        self.held: list[float] = []
        self.frames_seen = 0
        self.forks: set[EchoView] = set()
        self.answers_noted = 0
        self._most = most
        self._thread: int | None = None

    def _check_thread(self) -> None:
        self._thread = self._thread or threading.get_ident()
        assert self._thread == threading.get_ident(), "the memory was touched from two threads"

    def append(self, tokens: Tokens) -> None:
        self._check_thread()
        mean = np.asarray(tokens.embeds).mean(0)
        self.seen.append((tokens.span_s[1], min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))))
        del self.seen[: -self._most]
        self.frames_seen += 1

    def hold(self, until_s: float) -> None:
        self._check_thread()
        assert not self.held or until_s >= self.held[-1], "time ran backwards"
        self.held.append(until_s)

    def fork(self, question: Question) -> EchoView:
        self._check_thread()
        view = EchoView(question, tuple(self.seen), self.forks.discard)
        self.forks.add(view)
        return view

    def used(self, view: EchoView) -> None:
        self._check_thread()
        assert not view.closed
        self.answers_noted += 1

    def holdings(self) -> Holdings:
        self._check_thread()
        covered = (self.seen[0][0], self.seen[-1][0]) if self.seen else None
        tokens = 4 * len(self.seen)
        block = BlockRecord(0, "hot", covered or (0.0, 0.0), len(self.seen), tokens, float(tokens), None, "all of it")
        return Holdings(
            blocks=(block,) if self.seen else (),
            bytes_by_part={"hot": 16 * tokens},
            budget_bytes=16 * 4 * self._most,
            tokens_by_state={"hot": tokens},
            patches_seen=4.0 * self.frames_seen,
            patches_by_state={"hot": float(tokens), "dropped": 4.0 * self.frames_seen - tokens},
            codes_alive=len({colour for _, colour in self.seen}),
            frames_seen=self.frames_seen,
            covered_s=covered,
        )

    def clear(self) -> None:
        self._check_thread()
        self.seen.clear()

    def snapshot(self, path: Path) -> None:
        self._check_thread()
        part = path.with_name(f"{path.name}.part")
        part.write_text(json.dumps({"epoch": self.epoch.wall_s, "seen": self.seen, "frames": self.frames_seen}))
        part.replace(path)

    def restore(self, path: Path) -> None:
        self._check_thread()
        try:
            kept = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path} is not a snapshot") from error
        self.epoch = MediaEpoch(kept["epoch"])
        self.seen = [(time_s, colour) for time_s, colour in kept["seen"]]
        self.frames_seen = kept["frames"]


class EchoAnswerer:
    """Says what was seen, one colour per piece: "I saw red green." `gate`: every word waits for it.

    "fail" in a question raises in the middle; "silence" says nothing; "slowly" takes a turn per word without end
    until `max_tokens`.
    """

    model_id = "echo"

    def __init__(self) -> None:
        self.gate: threading.Event | None = None
        self.closed = 0

    def answer(self, view: EchoView) -> Iterator[Piece]:
        try:
            for word in self._words(view):
                if self.gate is not None:
                    assert self.gate.wait(PATIENCE_S), "the test never opened the answerer's gate"
                view.said += 1
                yield Piece(word, view.seen_s)
        finally:
            self.closed += 1

    def _words(self, view: EchoView) -> Iterator[str]:
        text = view.question.text
        if "silence" in text:
            return
        yield "I saw"
        if "fail" in text:
            raise RuntimeError("the model broke: rtsp://user:canary@host/1")
        if "slowly" in text:
            for _ in range(view.question.max_tokens - 1):
                yield " so"
            return
        before = None
        for time_s, colour in view.seen:
            if colour != before and view._asked_for(time_s):
                yield f" {colour}"
                before = colour
        yield "."


def the(value: T | None) -> T:
    """What must be there."""
    assert value is not None
    return value


def fault_of(answer: Answer) -> Fault:
    """Why there is no answer; fails when there is one."""
    assert answer.error is not None, f"no error, but {answer.text!r}"
    return answer.error


def picture_at(album: Album, time_s: float) -> tuple[bytes, float]:
    """The JPEG nearest to a media time and its own time, s; fails when there is none."""
    found = album.jpeg(time_s)
    assert found is not None
    return found


class FakeParts:
    """What a `fake_station` is made of, by camera, for tests that look inside."""

    def __init__(self) -> None:
        self.sources: dict[str, ScriptedSource] = {}
        self.memories: dict[str, EchoMemory] = {}
        self.answerer = EchoAnswerer()
        self.encoder = CountingEncoder()


def make_station(
    folder: Path,
    cameras: Sequence[str] = ("front",),
    *,
    clock: Clock | None = None,
    limits: QuestionsConfig | None = None,
    gate: Gate | None = None,
    options: AgentOptions | None = None,
    snapshots: bool = False,
    sources: Mapping[str, FrameSource] | None = None,
) -> tuple[Station, FakeParts]:
    """A whole station without torch, not yet running. The journal lies in `folder`."""
    clock = clock or Clock()
    parts = FakeParts()
    device, meters, events = Device(), Meters("echo"), EventHub()
    sight = Sight(device, parts.encoder)
    agents: dict[str, Agent] = {}
    options = options or AgentOptions(fps=60.0)
    for name in cameras:
        source = parts.sources[name] = ScriptedSource(clock=clock)
        memory = parts.memories[name] = EchoMemory()
        agents[name] = Agent(
            name,
            sources[name] if sources and name in sources else source,
            gate=gate or KeepAll(),
            sight=sight,
            memory=cast("Any", memory),
            answerer=cast("Any", parts.answerer),
            device=device,
            events=events,
            meters=meters,
            clock=clock,
            album=Album(2**20),
            options=replace(options, snapshot=folder / f"{name}.memory") if snapshots else options,
        )
    journal = Journal(folder / "journal.sqlite", clock=clock)
    desk = Desk(agents, journal, events, meters, clock=clock, limits=limits, model_id="echo")
    return Station(agents, desk, journal, events, meters, device, "echo", clock), parts


@asynccontextmanager
async def fake_station(
    folder: Path, cameras: Sequence[str] = ("front",), *, show: str | None = "red", **knobs: Any
) -> AsyncIterator[tuple[Station, FakeParts]]:
    """A whole running station without torch; every camera has already shown (and remembers) one frame, `show`."""
    station, parts = make_station(folder, cameras, **knobs)
    async with station.running():
        if show is not None:
            for name in cameras:
                parts.sources[name].show(show)
                assert await seen(station, name, 1)
        yield station, parts


async def seen(station: Station, camera: str, frames: int) -> bool:
    """Wait until a camera's memory was given so many frames."""
    agent = station.cameras[camera]
    async with asyncio.timeout(PATIENCE_S):
        while (await agent.holdings()).frames_seen < frames:  # noqa: ASYNC110 - a memory tells nobody what it was given
            await asyncio.sleep(0.001)
    return True


async def until(condition: Callable[[], object]) -> None:
    """Wait (wall clock) until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - for conditions that nobody announces
            await asyncio.sleep(0.001)


async def caught_up(station: Station, camera: str, parts: FakeParts) -> None:
    """Wait until every frame that was shown has arrived and was seen, refused, dropped or failed."""
    agent, source = station.cameras[camera], parts.sources[camera]
    await until(lambda: agent.latest is not None and agent.latest.index == len(source.shown) - 1 and not agent.behind)


async def settle() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(200):
        await asyncio.sleep(0)
