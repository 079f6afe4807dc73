"""Questions that come over MQTT, from the message to the one terminal answer.

    message -> envelope (what, where to, until when) -> desk -> ticket -> answer on its routes

Nothing here waits in the way of the next message: `receive` decides at once, each question runs in a task of its own,
and both their number and their rate are bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from stream.desk import Refused, Request, Ticket
from stream.flow import Fault, Status
from stream.mqtt.broker import Incoming
from stream.mqtt.common import Common
from stream.mqtt.limits import Bucket
from stream.mqtt.outbox import Publication
from stream.mqtt.payload import CORRELATION_BYTES, BadPayload, Wish, parse
from stream.mqtt.pulse import Pulse
from stream.mqtt.replies import Route, encode, refusal, to_everyone, to_route
from stream.mqtt.saying import Saying
from stream.mqtt.topics import Destination, is_camera_id
from stream.request import LONGEST_S

log = logging.getLogger(__name__)
_SHUTTING = "Longwatch is shutting down; ask again when it is back."


@dataclass(frozen=True, slots=True)
class Envelope:
    """A question with the way back."""

    wish: Wish
    route: Route
    until_s: float | None  # monotonic clock; after it nobody waits for the answer any more
    several: bool = False  # asked of several cameras: each question gets an id of its own, `<id>.<camera>`


class Refusal(Exception):
    """Not asked, and why; `route` is where to say so besides `<c>/answer`."""

    def __init__(self, status: Status, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status: Status = status
        self.fault = Fault(code, message)
        self.retry_after_s = retry_after_s


@dataclass(slots=True, eq=False)
class _Open:
    """A question under way, and everyone who waits for its answer."""

    ticket: Ticket
    routes: set[Route] = field(default_factory=set)


class Asking:
    """Receives ask messages and puts every word about them into the outbox."""

    def __init__(
        self,
        common: Common,
        pulse: Pulse,
        saying: Saying,
        *,
        partial: bool = False,
        reply_topics: Sequence[str] = (),
    ) -> None:
        self._station, self._topics, self._outbox = common.station, common.topics, common.outbox
        self._limits, self._clock, self._pulse = common.limits, common.clock, pulse
        self._saying = saying
        self._partial, self._reply_topics = partial, tuple(reply_topics)
        self.ignored = 0  # retained commands, and refusals beyond their rate
        self._closing = False
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._open: dict[str, _Open] = {}  # by question id
        self._per_camera: Counter[str] = Counter()
        self._rates: dict[str, Bucket] = {}
        self._refusals = Bucket(self._limits.refusals_per_s, self._limits.refusals_burst, self._clock.now_s())

    @property
    def open_questions(self) -> int:
        """Questions taken in and not yet answered."""
        return len(self._tasks)

    def receive(self, message: Incoming, to: Destination) -> None:
        """Take in one message; never waits, never raises for what is in it."""
        if message.retain:
            self.ignored += 1  # a question of yesterday, kept by the broker: nobody waits for it
            return
        wish, route = Wish(question=""), Route()
        try:
            wish, route, fault = self._open_envelope(message)
            if fault is not None:
                raise fault
            envelope = Envelope(wish, route, self._until(message), several=to.verb == "ask_many")
            for camera in self._cameras(to, wish):
                self._start(camera, envelope)
        except Refusal as refused:
            self._refuse(refused, to.camera, wish, route)

    async def close(self) -> None:
        """Take no more in, and let the open ones end; what has not ended by then is cancelled, with a word about it."""
        self._closing = True
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=self._limits.closing_s)
        for one in list(self._open.values()):
            one.ticket.cancel("shutting_down", _SHUTTING)
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=self._limits.last_word_s)
        for task in list(self._tasks):
            task.cancel()

    def _open_envelope(self, message: Incoming) -> tuple[Wish, Route, Refusal | None]:
        """What can be read, the way back as far as it may be used, and what is wrong."""
        fault: Refusal | None = None
        try:
            wish = parse(message.payload)
        except BadPayload as error:
            wish = Wish(question="", id=error.name, reply_to=error.reply_to)
            fault = Refusal("rejected", error.code, str(error))
        topic = message.response_topic if message.response_topic is not None else wish.reply_to
        wrong = self._topics.response_fault(topic, self._reply_topics) if topic is not None else None
        if wrong is not None:
            return wish, Route(), Refusal("rejected", "bad_response_topic", wrong)
        if len(message.correlation or b"") > CORRELATION_BYTES:
            sentence = (
                f"Correlation Data may have {CORRELATION_BYTES} bytes; this has {len(message.correlation or b'')}."
            )
            return wish, Route(topic), Refusal("rejected", "correlation_too_long", sentence)
        return wish, Route(topic, message.correlation), fault

    def _until(self, message: Incoming) -> float | None:
        if self._pulse.is_old(message.arrived_s):
            slept = f"This service did not run for {self._pulse.slept_s:.0f} s while you asked; ask again."
            raise Refusal("rejected", "expired", slept)
        if message.expiry_s is None:
            return None
        until_s = message.arrived_s + message.expiry_s
        if until_s <= self._clock.now_s():
            raise Refusal("rejected", "expired", "The question had expired when it was read.")
        return until_s

    def _cameras(self, to: Destination, wish: Wish) -> tuple[str, ...]:
        if to.verb == "ask":
            if wish.cameras and wish.cameras != (to.camera,):
                raise Refusal(
                    "rejected", "bad_question", f"'cameras' belongs on {self._topics.ask}; leave it out here."
                )
            return (to.camera,)
        if not wish.cameras:
            known = ", ".join(list(self._station.cameras)[:16])
            raise Refusal("rejected", "unknown_camera", f"Name the cameras: a JSON key 'cameras' with some of {known}.")
        return wish.cameras

    def _start(self, camera: str, envelope: Envelope) -> None:
        """Admit to one camera, or say why not."""
        try:
            self._admit(camera)
        except Refusal as refused:
            self._refuse(refused, camera, envelope.wish, envelope.route)
            return
        task = asyncio.create_task(self._ask(camera, envelope), name=f"mqtt-ask[{camera}]")
        self._tasks[task] = camera
        self._per_camera[camera] += 1
        task.add_done_callback(self._ended)

    def _admit(self, camera: str) -> None:
        if self._closing:
            raise Refusal("rejected", "shutting_down", _SHUTTING)
        if camera not in self._station.cameras:
            known = ", ".join(list(self._station.cameras)[:16])
            raise Refusal("rejected", "unknown_camera", f"There is no camera of this name; there are: {known}.")
        rate, now_s = self._rates.get(camera), self._clock.now_s()
        if rate is None:
            rate = self._rates[camera] = Bucket(self._limits.asks_per_s, self._limits.asks_burst, now_s)
        if not rate.take(now_s):
            too_fast = f"More than {self._limits.asks_per_s:g} questions per second to one camera."
            raise Refusal("overloaded", "rate_limited", too_fast, rate.wait_s)
        if self._per_camera[camera] >= self._limits.open_questions:
            busy = f"{self._limits.open_questions} questions to this camera are open already."
            raise Refusal("overloaded", "overloaded", busy, 1.0)

    def _ended(self, task: asyncio.Task[None]) -> None:
        camera = self._tasks.pop(task)
        self._per_camera[camera] -= 1
        if not task.cancelled() and task.exception() is not None:
            log.error("A question over MQTT ended without an answer.", exc_info=task.exception())

    async def _ask(self, camera: str, envelope: Envelope) -> None:
        wish, route = envelope.wish, envelope.route
        timeout_s = wish.timeout_s
        if envelope.until_s is not None:
            # A sender may let his message live for a day; nobody is made to wait that long for an answer.
            left_s = min(LONGEST_S, max(0.001, round(envelope.until_s - self._clock.now_s(), 3)))
            timeout_s = left_s if timeout_s is None else min(timeout_s, left_s)
        request = Request(
            camera=camera,
            text=wish.question,
            source="mqtt",
            id=f"{wish.id}.{camera}" if wish.id and envelope.several else wish.id,
            timeout_s=timeout_s,
            since_s=wish.window_s,
            max_age_ms=wish.max_age_ms,
            max_tokens=wish.max_tokens,
            reply=route.kept(),
        )
        try:
            ticket = await self._station.desk.ask(request)
        except Refused as error:
            refused = Refusal(error.status, error.code, error.message, error.retry_after_s)
            self._refuse(refused, camera, wish, route, counted=True)
            return
        await self._follow(camera, ticket, route)

    async def _follow(self, camera: str, ticket: Ticket, route: Route) -> None:
        """Publish the words as they come, if wanted, and the one answer. A repeated question joins the first one."""
        name = ticket.question.id
        under_way = self._open.get(name)
        if under_way is not None:
            under_way.routes.add(route)
            return
        one = self._open[name] = _Open(ticket, {route})
        try:
            if self._partial:
                await self._words(camera, ticket)
            answer = await ticket.answer()
        finally:
            del self._open[name]
        if ticket.payload is not None:
            answered_s = answer.answered_wall_s
            self._saying.answer(camera, ticket.payload, one.routes, seq=ticket.seq, answered_s=answered_s)

    async def _words(self, camera: str, ticket: Ticket) -> None:
        topic, seq = self._topics.camera(camera, "answer", "partial"), 0
        async for piece in ticket.pieces():
            delta = {"id": ticket.question.id, "seq": seq, "delta": piece.text}
            self._outbox.put(Publication(topic, encode(delta), qos=0, worth="little"))
            seq += 1

    def _refuse(self, why: Refusal, camera: str, wish: Wish, route: Route, *, counted: bool = False) -> None:
        """Say so, unless so many are refused that saying so would be a flood of its own."""
        if not counted:
            self._station.meters.refused("mqtt", why.fault.code)
        if not self._refusals.take(self._clock.now_s()):
            self.ignored += 1
            return
        payload = refusal(
            camera=camera[:64],
            text=wish.question or None,
            name=wish.id,
            status=why.status,
            fault=why.fault,
            retry_after_s=why.retry_after_s,
            model=self._station.model_id,
            wall_s=self._clock.wall_s(),
        )
        for publication in to_route(route, payload):
            self._outbox.put(publication)
        if is_camera_id(camera):
            self._outbox.put(to_everyone(self._topics, camera, payload))
