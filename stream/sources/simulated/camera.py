"""The simulated camera as a source of frames: `sim://yard?seed=7&fps=5&speed=1&size=320x240&night=0&style=plain`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

from stream.clock import Clock
from stream.flow import CameraState, Frame
from stream.sources.simulated.kinds import SCENES, STYLES, Scene
from stream.sources.simulated.paint import GOOD, Nuisance, paint
from stream.sources.simulated.world import MOST_PAN, Script
from stream.sources.states import StateKeeper

URL_BYTES = 512
# What may stand in the URL, with its default, and the least and most that is accepted.
OPTIONS: dict[str, tuple[float, float, float]] = {
    "seed": (7, 0, 2**31),
    "fps": (5.0, 0.01, 120.0),  # frames per second of media time
    "speed": (1.0, 0.0, 1e6),  # seconds of media time per second; 0: as fast as it is consumed
    "night": (0, 0, 1),
    "day_s": (0.0, 0.0, 1e7),  # length of a day, s; light then changes by itself. 0: it does not
    "start": (0.0, 0.0, 1e8),  # media time of the first frame, s
    "rain": (0, 0, 1),  # it rains now and then
    "pan": (0.0, 0.0, MOST_PAN),  # how far the camera turns to either side, picture widths
}
SIZE, LEAST_PX, MOST_PX = (320, 240), 32, 1920


class SimulatedCamera:
    """Watches a script. `time_s` of its frames is the script's own time, so that the truth can be looked up.

    At a `speed` above 0 it is live: pictures that nobody fetched in time are skipped, their indices with them. At 0
    every picture waits to be fetched. A second iteration goes on where the first stopped. It never ends by itself.

    Args:
        script: what is to be seen.
        fps: frames per second of media time.
        speed: seconds of media time per second of the clock.
        size: (width, height) of the picture, px.
        start_s: media time of the first frame, s.
        nuisance: the quality of the camera.
    """

    def __init__(
        self,
        script: Script,
        *,
        fps: float = 5.0,
        speed: float = 1.0,
        size: tuple[int, int] = SIZE,
        clock: Clock | None = None,
        start_s: float = 0.0,
        nuisance: Nuisance = GOOD,
    ) -> None:
        self.script = script
        self.fps, self.speed, self.size, self.start_s = fps, speed, size, start_s
        self._clock = clock or Clock()
        self._nuisance = nuisance
        self._next = 0  # index of the next frame
        self._nap: asyncio.Future[None] | None = None
        self._closed = False
        self.states = StateKeeper(f"sim://{script.scene}?seed={script.seed}", self._clock)

    @classmethod
    def from_url(cls, url: str, clock: Clock) -> SimulatedCamera:
        """The camera a URL names. Raises `ValueError` with a sentence for what is unknown or out of range."""
        if len(url.encode()) > URL_BYTES:
            raise ValueError(f"The address of a simulated camera is longer than {URL_BYTES} bytes.")
        parts = urlsplit(url)
        scene = next((s for s in SCENES if s == parts.netloc), None)
        if parts.scheme != "sim" or scene is None or parts.path not in {"", "/"}:
            raise ValueError(f"A simulated camera is sim:// and one of {', '.join(SCENES)}, as sim://yard?seed=7.")
        asked = dict(parse_qsl(parts.query, keep_blank_values=True))
        size = _size(asked.pop("size", "x".join(map(str, SIZE))))
        style = asked.pop("style", STYLES[0])
        unknown = sorted(set(asked) - set(OPTIONS))
        if unknown:
            known = ", ".join([*OPTIONS, "size", "style"])
            raise ValueError(f"A simulated camera has no option {unknown[0][:40]!r}; it has {known}.")
        value = {name: _number(name, asked.get(name)) for name in OPTIONS}
        script = _script(scene, value, style)
        fps, speed, start_s = value["fps"], value["speed"], value["start"]
        return cls(script, fps=fps, speed=speed, size=size, clock=clock, start_s=start_s)

    @property
    def state(self) -> CameraState:
        """`starting`, `online` once somebody watches, `ended` after `aclose`."""
        return self.states.now

    def time_of(self, index: int) -> float:
        """Media time of a frame, s."""
        return self.start_s + index / self.fps

    async def __aiter__(self) -> AsyncIterator[Frame]:
        """Frames at the camera's pace, one `await` each, so that others run also when nothing paces it."""
        began_s, first = self._clock.now_s(), self._next
        while not self._closed:
            due_s = began_s
            if self.speed:
                pace = self.fps * self.speed  # frames per second of the clock
                self._next = max(self._next, first + int((self._clock.now_s() - began_s) * pace))
                due_s += (self._next - first) / pace
            if not await self._wait_until(due_s):
                return
            self.states.change("online")
            rgb = paint(self.script, self.time_of(self._next), self.size, self._nuisance)
            rgb.setflags(write=False)
            frame = Frame(self._next, self.time_of(self._next), self._clock.now_s(), rgb)
            self._next += 1
            yield frame

    async def aclose(self) -> None:
        """Stop at once, also in the middle of a wait; safe to call twice."""
        self._closed = True
        if self._nap is not None:
            self._nap.cancel()
        self.states.change("ended", "The simulated camera was switched off.")

    async def _wait_until(self, due_s: float) -> bool:
        """False when the camera was closed meanwhile."""
        self._nap = asyncio.ensure_future(self._clock.sleep(due_s - self._clock.now_s()))
        try:
            await self._nap
        except asyncio.CancelledError:
            if not self._closed:
                raise
        finally:
            self._nap = None
        return not self._closed


def _script(scene: Scene, value: dict[str, float], style: str) -> Script:
    known = next((s for s in STYLES if s == style), None)
    if known is None:
        raise ValueError(f"style={style[:40]} is none of {', '.join(STYLES)}, which a simulated camera can draw.")
    return Script(
        int(value["seed"]),
        scene,
        not value["night"],
        value["day_s"] or None,
        style=known,
        rain=bool(value["rain"]),
        pan=value["pan"],
    )


def _number(name: str, text: str | None) -> float:
    default, least, most = OPTIONS[name]
    if text is None:
        return default
    whole = name in {"seed", "night", "rain"}
    if not re.fullmatch(r"\d{1,10}" if whole else r"\d{1,10}(\.\d{1,6})?", text) or not least <= float(text) <= most:
        kind = "a whole number" if whole else "a number"
        raise ValueError(
            f"{name}={text[:40]} is not {kind} from {least:g} to {most:g} in the simulated camera's address."
        )
    return float(text)


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not found or not all(LEAST_PX <= int(n) <= MOST_PX for n in found.groups()):
        raise ValueError(
            f"size={text[:40]} is not WIDTHxHEIGHT with both from {LEAST_PX} to {MOST_PX}, as size=320x240."
        )
    return int(found[1]), int(found[2])
