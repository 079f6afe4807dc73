"""The loop of one camera: it watches, it remembers, it answers.

watch     source -> gate -> mailbox     never waits for the accelerator
perceive  mailbox -> memory             the only writer of memory
ask       memory -> words               on the asker's own task, one device turn per step
pulse     once a second                 state, counts, and "nothing has changed" for the memory
keep      every few minutes             a snapshot, so that a restart forgets nothing
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from stream.album import Album
from stream.clock import Clock
from stream.device import ASK, SEE, Device, DeviceClosed
from stream.flow import CameraState, Evidence, Frame, Holdings, MediaEpoch, Outcome, Piece, Question, Tick, Tokens
from stream.freshness import Freshness
from stream.hub import EventHub
from stream.keeping import Keeping
from stream.losses import Losses
from stream.mailbox import Closed, Mailbox, Overflow
from stream.meters import Meters
from stream.ports import Answerer, FrameSource, Gate, MemoryView, StreamMemory
from stream.sight import Sight
from stream.tally import Tally
from stream.tasks import task_group
from stream.telling import Telling
from stream.timeline import Rate, Timeline

PULSE_S = 1.0
HOLDINGS_EVERY = 5  # pulses between two looks at the memory
LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What a person may choose about a loop."""

    fps: float = 2.0  # frames per second of media time that are offered to the gate
    mailbox_capacity: int = 2
    overflow: Overflow = "drop_oldest"  # "wait" for a file of which every frame is to be seen
    snapshot: Path | None = None  # where the memory is kept over a restart
    snapshot_every_s: float = 300.0
    snapshot_within_s: float = 2.5  # on leaving


class Agent:
    """Watches one camera and answers questions about it: `async with agent.watching(): agent.ask(question)`."""

    def __init__(
        self,
        camera: str,
        source: FrameSource,
        *,
        gate: Gate,
        sight: Sight,
        memory: StreamMemory,
        answerer: Answerer,
        device: Device,
        events: EventHub,
        meters: Meters,
        clock: Clock | None = None,
        album: Album | None = None,
        options: AgentOptions | None = None,
    ) -> None:
        self.camera = camera
        self.source = source
        self.clock = clock or Clock()
        self.options = options or AgentOptions()
        self.album = album or Album(8 * 2**20)
        self.answerer = answerer
        self.latest: Frame | None = None  # as it came, whether looked at or not
        self.ticks: deque[Tick] = deque(maxlen=300)
        self.held: Holdings | None = None  # as of a few seconds ago; `holdings` asks the memory itself
        self.mailbox: Mailbox[Frame] = Mailbox(self.options.mailbox_capacity, self.options.overflow)
        self.freshness = Freshness(self.clock)
        self.finished = asyncio.Event()  # a finite source has ended and all of it is remembered
        self._gate = gate
        self._sight = sight
        self._memory = memory
        self._device = device
        self._timeline = Timeline(self.clock)
        self._rate = Rate(self.options.fps)
        self._meters = meters
        self._tally = Tally(camera, meters)
        self._losses = Losses(camera, meters)
        self._telling = Telling(camera, events, self.clock, self._tally)
        self._keeping = Keeping(self.options.snapshot, memory, device, self._telling)
        self.behind = 0  # frames admitted and not yet seen, dropped or failed
        self._still_s: float | None = None  # media time up to which nothing changed, not yet told to the memory
        self._broken: CameraState | None = None  # our word about a source that raised

    @property
    def state(self) -> CameraState:
        """How the camera is doing; reasons carry no credentials."""
        return self._broken or self.source.state

    @property
    def epoch(self) -> MediaEpoch:
        """Wall-clock time of media time zero."""
        return self._timeline.epoch

    @property
    def patience_s(self) -> float:
        """How old the newest frame may be before something is wrong, at this rate of looking, s."""
        return 2.0 / self.options.fps

    def age_s(self) -> float | None:
        """Age of the newest frame looked at, s; None before the first."""
        return self.freshness.age_s()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Agent]:
        """Watch while the block is open; leaving it stops everything that was started and keeps the memory."""
        await self._restore()
        work: dict[str, Callable[[], Coroutine[object, object, None]]] = {
            "watch": self._watch,
            "perceive": self._perceive,
            "pulse": self._pulse,
            "keep": self._keep,
        }
        try:
            async with aclosing(self.source), task_group() as tasks:
                started = [tasks.create_task(run(), name=f"{name}[{self.camera}]") for name, run in work.items()]
                try:
                    yield self
                finally:
                    for task in started:
                        task.cancel()
        finally:
            await self._keeping.save_within(self.options.snapshot_within_s)

    async def ask(self, question: Question) -> AsyncGenerator[Piece | Outcome, None]:
        """Answer from what has been seen so far; stop iterating (`aclosing`) to stop the answer."""
        view = await self._device.run(self._memory.fork, question, priority=ASK, undo=lambda view: view.close())
        first = True
        try:
            async with aclosing(self._device.iterate(lambda: self.answerer.answer(view))) as pieces:
                async for piece in pieces:
                    said = replace(piece, said_s=self.clock.now_s())
                    if first:
                        self._tally.first_word(said.said_s - question.asked_s)
                        first = False
                    yield said
            yield await self._device.run(self._conclude, view, priority=ASK)
        finally:
            await self._device.finish(view.close)

    async def holdings(self) -> Holdings:
        """What the memory holds now."""
        self.held = await self._device.run(self._memory.holdings, priority=ASK)
        self._meters.set_holdings(self.camera, self.held)
        return self.held

    async def clear(self) -> None:
        """Forget what was seen, on disk as well."""
        try:
            await self._keeping.forget()
        finally:
            self._gate.reset()  # a still scene is to be looked at anew
            self.freshness.forget()
            self.album.clear()
        self._telling.memory("cleared", await self.holdings(), self.epoch)

    # watch

    async def _watch(self) -> None:
        pause_s = 1.0
        while True:
            try:
                async for frame in self.source:
                    self._broken = None
                    pause_s = 1.0
                    await self._arrived(frame)
                break
            except Exception as error:
                # Sources reconnect by themselves; one that raises is broken, but the memory is still worth asking.
                reason = self._telling.fault("source", error)
                self._broken = CameraState("offline", self.clock.wall_s(), reason)
                self._telling.state(self.state)
                await self.clock.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
        self.mailbox.close()
        self._telling.state(self.state)

    async def _arrived(self, frame: Frame) -> None:
        frame = self._timeline.place(frame)
        self.latest = frame
        self._tally.arrived(frame)
        self._telling.state(self.state)
        if not self._rate.wants(frame.time_s):
            self._tally.dropped(1, "sampling")
        elif self._gate.admits(frame):
            lost = self.mailbox.dropped
            self.behind += 1
            await self.mailbox.put(frame)
            lost = self.mailbox.dropped - lost
            self.behind -= lost
            self._tally.dropped(lost, "backpressure")
        else:
            self._tally.gated()
            if not self.behind:
                self.freshness.looked(frame.time_s, frame.arrived_s)
                self._still_s = frame.time_s

    # perceive

    async def _perceive(self) -> None:
        while True:
            try:
                frame = await self.mailbox.get()
            except Closed:
                self.finished.set()
                return
            began_s = self.clock.now_s()
            try:
                tokens = await self._sight.encode(frame)
                still_s, self._still_s = self._still_s, None
                await self._device.run(self._remember, tokens, still_s, priority=SEE)
                self.album.add(frame)
            except DeviceClosed:
                return
            except Exception as error:  # a poisoned frame must not blind the camera for ever
                self._gate.reset()  # what it changed was not seen
                self._tally.failed()
                self._telling.fault("see", error)
            else:
                self._tally.saw(len(tokens.mass), self.clock.now_s() - began_s)
                self.freshness.looked(frame.time_s, frame.arrived_s)
                self.freshness.remember()
            self.behind -= 1

    def _remember(self, tokens: Tokens, still_s: float | None) -> None:
        """On the device thread."""
        self._memory.epoch = self._timeline.epoch
        if still_s is not None and still_s < tokens.span_s[0]:
            self._memory.hold(still_s)
        self._memory.append(tokens)

    def _conclude(self, view: MemoryView) -> Outcome:
        """On the device thread: what the answer rested on, and the memory's note of it."""
        evidence, usage = view.evidence(), view.usage()
        self._memory.used(view)
        if not evidence.frames and evidence.sightings:
            evidence = replace(evidence, frames=_frames_behind(evidence, self._memory.holdings()))
        return Outcome(evidence, usage)

    # pulse and keep

    async def _pulse(self) -> None:
        self._telling.state(self.state)
        for beats in count():
            await self.clock.sleep(PULSE_S)
            try:
                await self._beat(beats)
            except DeviceClosed:
                return
            except Exception as error:
                self._telling.fault("pulse", error)

    async def _beat(self, beats: int) -> None:
        self._telling.state(self.state)
        self._losses.count(self.source)
        if self._still_s is not None and not self.behind and self.freshness.remembered:
            await self._device.run(self._memory.hold, self._still_s, priority=SEE)
        if beats % HOLDINGS_EVERY == 0:
            self._telling.memory("held", await self.holdings(), self.epoch)
        kept = sum(self.held.tokens_by_state.values()) if self.held else 0
        tick = self._tally.tick(self.clock.wall_s(), kept, self.freshness.age_s())
        self.ticks.append(tick)
        self._telling.tick(tick)

    async def _keep(self) -> None:
        while self.options.snapshot is not None:
            await self.clock.sleep(self.options.snapshot_every_s)
            await self._keeping.save()

    async def _restore(self) -> None:
        held = await self._keeping.restore()
        if held is None or held.covered_s is None:
            return
        epoch, newest_s = self._memory.epoch, held.covered_s[1]
        self._timeline.restore(epoch, newest_s)
        self.freshness.restored(newest_s, epoch)


def _frames_behind(evidence: Evidence, holdings: Holdings) -> int:
    """Frames of the blocks that were attended to; a sighting in the instant window is one frame."""
    frames = {block.id: block.frames for block in holdings.blocks}
    blocks = {sighting.block for sighting in evidence.sightings if sighting.block is not None}
    instants = sum(sighting.block is None for sighting in evidence.sightings)
    return instants + sum(frames.get(block, 0) for block in blocks)
