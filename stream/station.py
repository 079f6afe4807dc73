"""All cameras, one desk, one journal: what runs between start and stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from stream.agent import Agent
from stream.clock import Clock
from stream.desk import Desk
from stream.device import Device
from stream.hub import EventHub
from stream.journal import Journal
from stream.meters import Meters
from stream.redact import redact

log = logging.getLogger(__name__)
DEVICE_S = 1.0  # and for the device to end its turn
LEAVE_S = 2.5  # at shutdown, for the agents to stop and to write what they remember


@dataclass(frozen=True, slots=True)
class Component:
    """One line of `/readyz`."""

    ready: bool
    required: bool  # False: the service does its work without it
    detail: str = ""


@dataclass(eq=False)
class Station:
    """`async with station.running(): …` starts everything and ends it within ten seconds.

    The doors (HTTP, MQTT) are opened inside the block, around it stands nothing but the process.
    """

    cameras: Mapping[str, Agent]
    desk: Desk
    journal: Journal
    events: EventHub
    meters: Meters
    device: Device
    model_id: str
    clock: Clock = field(default_factory=Clock)
    started_wall_s: float = 0.0  # Unix time, s; set when it starts

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Station]:
        """Watch and answer while the block is open. Leaving it answers or refuses every open question."""
        self.started_wall_s = self.started_wall_s or self.clock.wall_s()
        async with AsyncExitStack() as stack:
            stack.callback(self.events.close)
            stack.push_async_callback(self._put_down)
            await self.journal.open()
            await stack.enter_async_context(self._watching())
            await stack.enter_async_context(self.desk.running())
            yield self

    @property
    def accepting(self) -> bool:
        """True while questions are taken."""
        return self.desk.accepting

    def readiness(self) -> dict[str, Component]:
        """What works and what does not, by component."""
        online = [name for name, agent in self.cameras.items() if agent.state.state in ("online", "ended")]
        missing = sorted(set(self.cameras) - set(online))
        return {
            "questions": Component(self.accepting, required=True, detail="" if self.accepting else "shutting down"),
            "model": Component(bool(self.model_id), required=True, detail=self.model_id),
            "journal": Component(not self.journal.fault, required=True, detail=redact(self.journal.fault)),
            "cameras": Component(
                ready=not missing, required=False, detail=f"no frames from {', '.join(missing)}" if missing else ""
            ),
        }

    @property
    def ready(self) -> bool:
        """All that is required works."""
        return all(component.ready for component in self.readiness().values() if component.required)

    async def _put_down(self) -> None:
        """Nobody uses these any more, and neither needs the other."""
        await asyncio.gather(self.journal.close(), self._close_device())

    async def _close_device(self) -> None:
        if not await self.device.close(DEVICE_S):
            log.error("The device is still busy with a turn; it is left behind.")

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        """Every agent on a task of its own, so that they start and leave side by side."""
        leave = asyncio.Event()
        begun = {name: asyncio.Event() for name in self.cameras}
        watching = [
            asyncio.create_task(self._watch(agent, begun[name], leave), name=f"agent[{name}]")
            for name, agent in self.cameras.items()
        ]
        try:
            for event in begun.values():  # what was remembered is read back before the first question is taken
                await event.wait()
            yield
        finally:
            leave.set()
            if watching:
                _, late = await asyncio.wait(watching, timeout=LEAVE_S)
                for task in late:
                    log.error("%s did not stop in %g s and is left behind.", task.get_name(), LEAVE_S)
                    task.cancel()

    async def _watch(self, agent: Agent, begun: asyncio.Event, leave: asyncio.Event) -> None:
        try:
            async with agent.watching():
                begun.set()
                await leave.wait()
        except Exception:  # one camera's bug must not take the others along
            log.exception("Camera %s has stopped", agent.camera)
        finally:
            begun.set()
