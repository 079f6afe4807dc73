"""`demo`: a simulated camera, published over WHIP into a real service on this machine, and a first question to it.

Nothing is short-cut: pictures go through a WebRTC connection, the question through the web server. What is special is
only that the scene is scripted, so the truth can be printed beside the answer.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stream.cli import ask
from stream.cli.console import Console, Trouble
from stream.cli.log import start_log
from stream.cli.serve import House, Service, load, running
from stream.cli.signals import Stop, stopping
from stream.clock import Clock
from stream.config import Config
from stream.flow import CameraState, Frame
from stream.http.server import bind
from stream.publisher import publish
from stream.sources.simulated.camera import SimulatedCamera

if TYPE_CHECKING:
    from stream.agent import Agent

SCENE = "sim://yard?seed=5&start=79&fps=5"  # lively from the first second: things come, stop, carry, leave
BLOCKS = 3  # closed segments in memory before the first question
PATIENCE_S = 100.0


async def demo(house: House, config: Config, console: Console, scene: str, *, once: bool) -> int:
    """Run until a signal, or with `once` until the first answer; 0 when that was an answer."""
    start_log("warning")
    began_s = time.monotonic()
    with stopping() as stop, tempfile.TemporaryDirectory(prefix="longwatch-") as folder:
        config = _at_home(config, Path(folder), console)
        if not await load(house, config, console, stop):
            return 0
        loaded_s = time.monotonic()
        async with running(house, config) as service, _published(service, scene) as witness:
            console.note(f"Simulated camera {scene}, published over WHIP; live picture and memory at {service.url}/")
            started_s = time.monotonic()
            if not await _remembers(service, witness, console, stop):
                return 0
            watched_s = time.monotonic()
            code = await _first_question(service, witness, console)
            marks = {
                "model loaded": loaded_s,
                "service up": started_s,
                "watched": watched_s,
                "answered": time.monotonic(),
            }
            _timings(console, began_s, marks)
            if once:
                return code
            _try_next(console, service)
            await stop.wait()
            console.note("Ending.")
    return 0


class Witness:
    """A source that remembers what it has shown, so that the truth can be told for exactly that."""

    def __init__(self, camera: SimulatedCamera) -> None:
        self.camera = camera
        self.first_s: float | None = None  # media time, s
        self.last_s = 0.0
        self.publishing: asyncio.Task[None] | None = None

    @property
    def state(self) -> CameraState:
        """The camera's."""
        return self.camera.state

    async def __aiter__(self) -> AsyncIterator[Frame]:
        """The camera's frames."""
        async for frame in self.camera:
            if self.first_s is None:
                self.first_s = frame.time_s
            self.last_s = frame.time_s
            yield frame

    async def aclose(self) -> None:
        """Ends the camera."""
        await self.camera.aclose()


def _at_home(config: Config, folder: Path, console: Console) -> Config:
    """The demo leaves nothing behind and does not mind a taken port."""
    changes: dict[str, object] = {
        "journal": config.journal.model_copy(update={"path": folder / "journal.sqlite"}),
        "state_dir": None,
    }
    try:
        bind(config.server.listen).close()
    except OSError:
        console.note(f"{config.server.listen} is taken by another program; a free port is used instead.")
        changes["server"] = config.server.model_copy(update={"listen": "127.0.0.1:0"})
    if not any(camera.source == "whip" for camera in config.cameras.values()):
        raise Trouble("the demo publishes into a camera with `source: whip`; this configuration has none")
    return config.model_copy(update=changes)


def _camera(service: Service) -> Agent:
    """The camera that the demo publishes into: the first that takes a publisher."""
    from stream.sources.webrtc import WhipSource

    return next(agent for agent in service.station.cameras.values() if isinstance(agent.source, WhipSource))


@asynccontextmanager
async def _published(service: Service, scene: str) -> AsyncIterator[Witness]:
    try:
        witness = Witness(SimulatedCamera.from_url(scene, Clock()))
    except ValueError as error:
        raise Trouble(f"--scene: {error}") from error
    door = f"{service.url}/whip/{_camera(service).camera}"
    witness.publishing = asyncio.create_task(publish(witness, door), name="publish")
    try:
        yield witness
    finally:
        witness.publishing.cancel()
        with suppress(asyncio.CancelledError, ValueError):
            await witness.publishing


async def _remembers(service: Service, witness: Witness, console: Console, stop: Stop) -> bool:
    """Wait until a few segments are in memory. False: the user ended the wait."""
    agent, deadline_s = _camera(service), time.monotonic() + PATIENCE_S
    with console.working("Watching until there is something to remember") as progress:
        async with service.station.events.subscribe() as events:
            async for event in events:
                if event.kind != "tick" or event.camera != agent.camera:
                    continue
                if stop.is_set():
                    return False
                if witness.publishing is not None and witness.publishing.done():
                    raise Trouble(f"publishing ended: {witness.publishing.exception() or 'without a reason'}")
                held = await agent.holdings()
                closed = sum(block.state != "open" for block in held.blocks)
                progress.now(
                    f"Watching: {held.frames_seen} frames seen, {closed} of {BLOCKS} segments in memory", closed
                )
                if closed >= BLOCKS:
                    return True
                if time.monotonic() > deadline_s:
                    state = agent.state
                    raise Trouble(
                        f"after {PATIENCE_S:.0f} s the camera is {state.state} {state.reason} and {held.frames_seen} "
                        "frames were seen; is this machine very busy?"
                    )
    raise Trouble("the service ended before anything was seen")


async def _first_question(service: Service, witness: Witness, console: Console) -> int:
    camera = _camera(service).camera
    text, truth = question_with_truth(witness)
    console.say()
    console.say(f"Question  {text}", "bold")
    console.words("Answer    ")
    answer = await ask.hear(service.url, camera, {"question": text, "source": "cli"}, console.words)
    ask.show(console, answer, spoke=True)
    if truth:
        console.say(f"Truth     {truth}  (the simulator's script; the model never sees it)")
    return 0 if answer.get("status") == "ok" else 1


def question_with_truth(witness: Witness) -> tuple[str, str]:
    """A question about what has been shown, about the past if the scene allows, and its true answer."""
    import numpy as np

    from stream.sources.simulated.quiz import ask_about

    if witness.first_s is None:
        return "What is there now?", ""
    rng = np.random.default_rng(random.randrange(2**31))
    items = ask_about(witness.camera.script, witness.first_s, witness.last_s, rng, 12)
    liked = ("past_colour", "past_where", "order", "seen", "past_count", "what", "colour", "where")
    items = [item for item in items if item.kind in liked and item.answer]
    if not items:
        return "What is there now?", ""
    best = min(items, key=lambda item: (not item.there, liked.index(item.kind)))
    return best.text, best.answer


def _timings(console: Console, began_s: float, marks: dict[str, float]) -> None:
    parts, before = [], began_s
    for name, at in marks.items():
        parts.append(f"{name} {at - before:.1f} s")
        before = at
    console.note(f"  First answer after {before - began_s:.1f} s: {', '.join(parts)}")


def _try_next(console: Console, service: Service) -> None:
    camera = _camera(service).camera
    server = "" if service.url == ask.SERVER else f" --server {service.url}"
    console.say()
    console.say("What to try next")
    console.say(f"  open      {service.url}/")
    console.say(f'  ask       .venv/bin/python run_stream.py ask {camera} "What do you see?"{server}')
    console.say(
        f'            .venv/bin/python run_stream.py ask {camera} "Have you seen a red car?" --since 2m{server}'
    )
    console.say(f"  a client  OpenAI(base_url='{service.url}/v1', api_key='-'), model='{camera}'")
    console.say("  your own  configs/cameras.yaml: RTSP, a phone's browser, MQTT")
    console.say("Ctrl-C ends the demo.")
