"""Somebody who watches an RTSP camera on a task of its own."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable

import pytest

from stream.clock import Clock
from stream.flow import CameraState, Frame
from stream.sources.rtsp import RtspSource
from tests.servers.hasty import until


class Watcher:
    """Watches a source on a task of its own and remembers what came and what was said."""

    def __init__(self, source: RtspSource) -> None:
        self.source = source
        self.frames: list[Frame] = []
        self.states: list[CameraState] = []
        source.listen(self.states.append)

    async def watch(self) -> None:
        async for frame in self.source:
            self.frames.append(frame)

    async def until(self, what: Callable[[], object], limit_s: float = 60.0) -> None:
        """Wait for it; fail with what happened instead."""
        try:
            await until(what, limit_s)
        except TimeoutError:
            said = [(s.state, s.reason) for s in self.states[-8:]]
            pytest.fail(f"did not happen; {len(self.frames)} frames, {self.source.counts}, states {said}")

    async def more(self, frames: int = 5) -> None:
        """Wait for so many more frames."""
        wanted = len(self.frames) + frames
        await self.until(lambda: len(self.frames) >= wanted)

    def said(self, state: str) -> bool:
        """Whether it is in this state now."""
        return self.source.state.state == state

    @property
    def times(self) -> list[float]:
        return [frame.time_s for frame in self.frames]


@contextlib.asynccontextmanager
async def watching(url: str, clock: Clock, **settings: object) -> AsyncIterator[Watcher]:
    knobs: dict[str, object] = {"fps": 0.0, "connect_s": 5.0, "stall_s": 5.0, "rng": random.Random(1)} | settings
    source = RtspSource(url, clock, **knobs)  # type: ignore[arg-type]
    watcher = Watcher(source)
    task = asyncio.create_task(watcher.watch())
    try:
        yield watcher
    finally:
        await source.aclose()
        await asyncio.wait_for(task, 30)
