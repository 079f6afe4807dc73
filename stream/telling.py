"""What a camera tells the house: its state when it changes, a fault when it is new, its memory now and then."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from stream.redact import redact
from stream.wire import memory_payload, state_payload, tick_payload

if TYPE_CHECKING:
    from stream.clock import Clock
    from stream.flow import CameraState, Holdings, MediaEpoch, Tick
    from stream.hub import EventHub
    from stream.tally import Tally

log = logging.getLogger("stream.agent")
CAUSES_KEPT = 64  # distinct faults that are told; more are only counted
SENTENCE_LIMIT = 500  # characters of a fault


class Telling:
    """Publishes for one camera; each thing once."""

    def __init__(self, camera: str, events: EventHub, clock: Clock, tally: Tally) -> None:
        self._camera = camera
        self._events = events
        self._clock = clock
        self._tally = tally
        self._told: tuple[object, ...] | None = None
        self._causes: set[str] = set()

    def state(self, state: CameraState) -> None:
        """Publish a state that differs from the one told last."""
        told = (state.state, state.reason, state.reconnects, state.stalls)
        if told != self._told:
            self._told = told
            self._tally.state(state)
            self._events.emit("camera_state", self._camera, self._clock.wall_s(), state_payload(state))

    def fault(self, where: str, error: Exception) -> str:
        """Log and publish a fault the first time it occurs; afterwards counters tell. Returns its sentence."""
        sentence = redact(f"{where}: {type(error).__name__}: {error}")[:SENTENCE_LIMIT]
        if sentence not in self._causes and len(self._causes) < CAUSES_KEPT:
            self._causes.add(sentence)
            log.warning("%s: %s", self._camera, sentence)
            fault = {"type": "fault", "message": sentence, "errors": self._tally.errors}
            self._events.emit("memory", self._camera, self._clock.wall_s(), fault)
        return sentence

    def memory(self, kind: str, held: Holdings, epoch: MediaEpoch) -> None:
        """Publish what is held, in sums."""
        payload = {"type": kind, **memory_payload(held, epoch)}
        self._events.emit("memory", self._camera, self._clock.wall_s(), payload)

    def tick(self, tick: Tick) -> None:
        """Publish a second of life."""
        self._events.emit("tick", self._camera, tick.wall_s, tick_payload(tick))
