"""What the house says of itself on the broker: states, what happens, figures, pictures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream.hub import Event
from stream.meters import house_version
from stream.mqtt.common import Common
from stream.mqtt.outbox import Publication
from stream.mqtt.replies import encode
from stream.wire import memory_payload, rfc3339, state_payload, tick_payload

if TYPE_CHECKING:
    from stream.agent import Agent

log = logging.getLogger(__name__)
FPS_OVER = 10  # ticks (s) that a rate is the mean of


@dataclass(frozen=True, slots=True)
class Figures:
    """How the MQTT side itself is doing."""

    protocol: str
    reconnects: int
    dropped_in: int
    dropped_out: int
    ignored: int
    open_questions: int


class Publishing:
    """Turns events of the station into messages. `run` runs as long as the bridge."""

    def __init__(
        self,
        common: Common,
        figures: Callable[[], Figures],
        heard: Callable[[], None],
        *,
        snapshots: bool,
    ) -> None:
        """`heard` is called at every event, before it is published."""
        self._station, self._topics, self._outbox = common.station, common.topics, common.outbox
        self._limits, self._clock, self._figures = common.limits, common.clock, figures
        self._heard, self._snapshots = heard, snapshots
        self._told: dict[str, Mapping[str, object]] = {}  # per camera: the state last published as an event
        self._pictured: dict[str, float] = {}  # per camera: media time of the picture last published, s

    def states(self) -> list[Publication]:
        """Every camera's state as it is now, retained: for a broker that has just (re)appeared."""
        return [one for camera, agent in self._station.cameras.items() for one in self._state(camera, agent)]

    async def run(self) -> None:
        """Publish for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._events(), name="mqtt-events")
            tasks.create_task(self._every(self._limits.stats_every_s, self.publish_stats), name="mqtt-stats")
            if self._snapshots:
                tasks.create_task(
                    self._every(self._limits.snapshot_every_s, self.publish_pictures), name="mqtt-pictures"
                )

    def publish_stats(self) -> None:
        """One message of figures, and each camera's detail anew."""
        for camera, agent in self._station.cameras.items():
            self._outbox.put(self._detail(camera, agent))
        self._outbox.put(Publication(self._topics.stats, encode(self._stats()), qos=0, worth="little"))

    def publish_pictures(self) -> None:
        """Each camera's newest picture, when it is another one than last time."""
        for camera, agent in self._station.cameras.items():
            newest = agent.latest
            found = agent.album.jpeg(newest.time_s) if newest is not None else None
            if found is None or self._pictured.get(camera) == found[1]:
                continue
            jpeg, self._pictured[camera] = found
            if len(jpeg) <= self._limits.snapshot_bytes:
                topic = self._topics.camera(camera, "snapshot")
                self._outbox.put(Publication(topic, jpeg, qos=0, retain=True, media_type="image/jpeg", worth="little"))

    async def _every(self, seconds: float, publish: Callable[[], None]) -> None:
        while True:
            await self._clock.sleep(seconds)
            if not self._outbox.connected:
                continue
            try:
                publish()
            except Exception:  # figures and pictures are not worth an answer that waits behind them
                log.exception("Figures or pictures could not be published over MQTT; trying again next time.")

    async def _events(self) -> None:
        async with self._station.events.subscribe() as events:
            self._tell(self._heard)
            async for event in events:
                self._tell(self._heard)
                self._tell(self._happened, event)

    def _tell(self, publish: Callable[..., None], *what: Event) -> None:
        try:
            publish(*what)
        except Exception:  # one thing left untold must not silence all that comes after it
            log.exception("Something could not be published over MQTT.")

    def _happened(self, event: Event) -> None:
        agent = self._station.cameras.get(event.camera)
        if agent is None:
            return
        if event.kind == "camera_state":
            for publication in self._state(event.camera, agent):
                self._outbox.put(publication)
            before = self._told.get(event.camera)
            self._told[event.camera] = event.data
            self._event(
                event, "update" if before else "new", "online" if event.data.get("online") else "offline", before
            )
        elif event.kind == "memory" and event.data.get("type") == "cleared":
            self._event(event, "new", "memory", None)

    def _event(self, event: Event, type_: str, flat_type: str, before: Mapping[str, object] | None) -> None:
        """To `<n>/events` as before and after, and flat to `<c>/event` for Home Assistant."""
        common = {"kind": event.kind, "camera": event.camera, "at": rfc3339(event.wall_s)}
        stable = f"{event.camera}-state" if event.kind == "camera_state" else f"{event.camera}-{event.id}"
        full = {"v": 1, "id": stable, "type": type_, **common, "before": before, "after": event.data}
        flat = {"event_type": flat_type, **common, "reason": event.data.get("reason", "")}
        self._outbox.put(Publication(self._topics.events, encode(full), worth="now"))
        self._outbox.put(Publication(self._topics.camera(event.camera, "event"), encode(flat), worth="now"))

    def _state(self, camera: str, agent: Agent) -> list[Publication]:
        word = b"online" if agent.state.state == "online" else b"offline"
        topic = self._topics.camera(camera, "status")
        return [
            Publication(topic, word, retain=True, media_type="text/plain", worth="now"),
            self._detail(camera, agent),
        ]

    def _detail(self, camera: str, agent: Agent) -> Publication:
        age_s = agent.age_s()
        payload = {
            **state_payload(agent.state),
            "fps": _fps(agent),
            "last_frame_age_ms": None if age_s is None else round(1000 * age_s),
        }
        topic = self._topics.camera(camera, "status", "detail")
        return Publication(topic, encode(payload), qos=0, retain=True, worth="now")

    def _stats(self) -> dict[str, object]:
        now_s, own = self._clock.wall_s(), self._figures()
        cameras: dict[str, object] = {}
        for camera, agent in self._station.cameras.items():
            cameras[camera] = {
                **state_payload(agent.state),
                "fps": _fps(agent),
                "last_second": tick_payload(agent.ticks[-1]) if agent.ticks else None,
                "memory": memory_payload(agent.held, agent.epoch) if agent.held else None,
            }
        return {
            "v": 1,
            "at": rfc3339(now_s),
            "version": house_version(),
            "model": self._station.model_id,
            "uptime_s": round(now_s - self._station.started_wall_s),
            "cameras": cameras,
            "mqtt": {
                "protocol": own.protocol,
                "reconnects": own.reconnects,
                "dropped": {"in": own.dropped_in, "out": own.dropped_out},
                "ignored": own.ignored,
                "open_questions": own.open_questions,
            },
        }


def _fps(agent: Agent) -> float | None:
    """Frames per second that came, mean of the last ticks."""
    ticks = list(agent.ticks)[-FPS_OVER:]
    return round(sum(tick.frames_in for tick in ticks) / len(ticks), 2) if ticks else None
