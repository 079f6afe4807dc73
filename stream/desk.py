"""Where questions are taken in: checked, admitted, journalled, answered by one terminal answer each.

A question is accepted when it is on the disk, and from then on it gets exactly one answer: also when it is cancelled,
when the model fails, when the time is up, when the house shuts down, and, after a crash, at the next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from stream.admission import check_load, make_ticket
from stream.answering import SHUTTING_DOWN, Answering
from stream.config import QuestionsConfig
from stream.flow import Answer, Fault, MediaEpoch
from stream.journal import Journal, JournalError
from stream.recovery import KnownIds, Past, Recovered, recall
from stream.redact import redact
from stream.request import Refused, Request, check
from stream.tasks import task_group
from stream.ticket import Ticket
from stream.wire import answer_payload, rfc3339
from stream.writing import Writing

if TYPE_CHECKING:
    from stream.agent import Agent
    from stream.clock import Clock
    from stream.hub import EventHub
    from stream.meters import Meters

__all__ = ["Desk", "Recovered", "Refused", "Request", "Ticket"]
log = logging.getLogger(__name__)
ACCEPT_S = 5.0  # for a question to be on the disk; then it is refused
DRAIN_S = 2.0  # at shutdown, for answers that are being said; as much again for the last words to be written
FLUSH_S = 1.0  # and then for answers that were told while the disk failed


class Desk:
    """Takes questions for all cameras while `running()` is open."""

    def __init__(
        self,
        cameras: Mapping[str, Agent],
        journal: Journal,
        events: EventHub,
        meters: Meters,
        *,
        clock: Clock,
        limits: QuestionsConfig | None = None,
        model_id: str = "",
    ) -> None:
        self.limits = limits or QuestionsConfig()
        self.past = Past()
        self._cameras = cameras
        self._journal = journal
        self._events = events
        self._meters = meters
        self._clock = clock
        self._model_id = model_id
        self._answering = Answering(clock, meters, model_id, self.limits.max_concurrent)
        self._open: dict[Ticket, asyncio.Task[None]] = {}
        self._known = KnownIds()
        self._writing = Writing(journal)
        self._answer_s = 1.0  # a running mean of how long answering takes, for `retry_after_s`
        self._tasks: asyncio.TaskGroup | None = None
        self._draining: asyncio.Task[None] | None = None

    @property
    def accepting(self) -> bool:
        """True while questions are taken."""
        return self._tasks is not None

    @property
    def open_questions(self) -> int:
        """Accepted or being accepted, and not yet answered."""
        return len(self._open)

    @property
    def running_questions(self) -> int:
        """Being answered now; the others wait."""
        return sum(ticket.started_s is not None for ticket in self._open)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Desk]:
        """Take questions while the block is open; leaving it answers all that are open."""
        await self._recover()
        async with task_group() as tasks:
            self._tasks = tasks
            late = tasks.create_task(self._writing.keep_trying(), name="late-answers")
            try:
                yield self
            finally:
                try:
                    self.close()
                    await self.closed()
                finally:
                    late.cancel()

    def close(self) -> None:
        """Take no more questions, and let those that are open come to their end; `closed` waits for that.

        May be called before the block is left, so that all doors close together.
        """
        if self._tasks is not None:
            self._tasks = None
            self._draining = asyncio.create_task(self._drain(), name="last-words")

    async def closed(self) -> None:
        """Wait until every open question has its answer, after `close`."""
        if self._draining is not None:
            await self._draining

    async def ask(self, request: Request) -> Ticket:
        """Accept a question: when this returns, it is on the disk and will be answered. Raises `Refused`.

        The same id, camera and text is the same question until it is answered and five minutes after, or half a
        minute when the answer is none: its ticket comes back.
        """
        try:
            known = self._known_ticket(request)
            ticket = known or self._admit(request)
            try:
                await ticket.accepted()
            except asyncio.CancelledError:
                if known is None:  # whoever asks a second time may not take back the first one's question
                    ticket.cancel()
                raise
        except Refused as refused:
            self._meters.refused(request.source, refused.code)
            raise
        return ticket

    @property
    def recovered(self) -> tuple[Recovered, ...]:
        """Questions that a former life accepted and did not answer; told now that they were cut off."""
        return self.past.recovered

    # admission

    def _known_ticket(self, request: Request) -> Ticket | None:
        ticket = self._known.get(request.id, self._clock.wall_s()) if request.id else None
        if ticket is None:
            return None
        if (ticket.question.camera, ticket.question.text) != (request.camera, check(request)):
            sentence = "This id was used for another question a moment ago; take a new one."
            raise Refused("rejected", "duplicate_id", sentence)
        return ticket

    def _admit(self, request: Request) -> Ticket:
        if self._tasks is None:
            raise Refused("rejected", "shutting_down", SHUTTING_DOWN.message, retry_after_s=10.0)
        agent = self._cameras.get(request.camera)
        if agent is None:
            cameras = ", ".join(sorted(self._cameras)[:20])
            name = request.camera[:64]
            raise Refused("rejected", "unknown_camera", f"There is no camera {name!r}. The cameras here: {cameras}.")
        text = check(request)
        check_load(request.camera, self._open, self.limits, self._answer_s)
        ticket = make_ticket(request, text, agent, self._clock, self.limits)
        self._known.add(ticket, ticket.asked_wall_s)
        self._open[ticket] = self._tasks.create_task(self._serve(ticket, agent), name=f"answer[{ticket.question.id}]")
        self._measure()
        return ticket

    # answering

    async def _serve(self, ticket: Ticket, agent: Agent) -> None:
        answering: asyncio.Task[Answer] | None = None
        try:
            if not await self._accept(ticket, agent):
                return
            answering = asyncio.create_task(self._answering.answer(ticket, agent), name=f"words[{ticket.question.id}]")
            answer = await self._first_of(ticket, agent, answering)
            await self._settle(ticket, answer, agent.epoch)
        except Exception as error:  # a mistake of ours must not take the other questions along
            answer = self._answering.failed(ticket, error)
            if not ticket.done:
                await self._settle(ticket, answer, agent.epoch)
        finally:
            ticket.refuse(Refused("rejected", "shutting_down", SHUTTING_DOWN.message))  # nothing, once accepted
            # The place is free only when the fork is given back, which may take the device a turn.
            if answering is not None and not answering.done():
                await asyncio.wait({answering})
            self._open.pop(ticket, None)
            self._measure()

    async def _accept(self, ticket: Ticket, agent: Agent) -> bool:
        question = ticket.question
        writing = asyncio.create_task(
            self._journal.accept(question, source=ticket.source, asked_wall_s=ticket.asked_wall_s, reply=ticket.reply)
        )
        try:
            left_s = question.deadline_s - self._clock.now_s()
            await asyncio.wait({writing}, timeout=min(left_s, ACCEPT_S))
            slow = not writing.done()
            if slow:
                self._turn_away(ticket, "The journal's disk is too slow; ask again in a moment.")
            ticket.seq = await writing  # its place is taken until the disk lets go of it
        except JournalError as error:
            self._turn_away(ticket, redact(error))
            return False
        finally:
            writing.cancel()  # nothing, once it is done
        if slow:  # written after all: with the word its asker was given, so that no later life has another one
            fault = Fault("journal_unavailable", "The question was not on the disk in time.")
            answer = self._answering.verdict(ticket, "rejected", fault=fault)
            await self._writing.write(ticket.seq, answer_payload(answer, agent.epoch))
            self._journal.told(ticket.seq)
            return False
        ticket.accept()
        asked = {
            "id": question.id,
            "question": question.text,
            "source": ticket.source,
            "asked_at": rfc3339(ticket.asked_wall_s),
        }
        self._events.emit("question", question.camera, ticket.asked_wall_s, asked)
        return True

    def _turn_away(self, ticket: Ticket, why: str) -> None:
        self._known.forget(ticket.question.id)
        ticket.refuse(Refused("rejected", "journal_unavailable", why, retry_after_s=30.0))

    async def _first_of(self, ticket: Ticket, agent: Agent, answering: asyncio.Task[Answer]) -> Answer:
        """The answer, or why it is not waited for: cancelled, or the time is up."""
        question = ticket.question
        alarm = asyncio.create_task(self._clock.sleep(question.deadline_s - self._clock.now_s()), name="deadline")
        try:
            waits: set[asyncio.Future[Any]] = {answering, alarm, ticket.stopped}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
            answered = answering.done()
            answering.cancel()  # nothing, once it is done
        if answered:
            return answering.result()
        if ticket.stopped.done():
            return self._answering.verdict(ticket, "rejected", fault=ticket.stopped.result())
        allowed_s = question.deadline_s - question.asked_s
        where = "in the queue" if ticket.started_s is None else "while answering"
        fault = Fault("timeout", f"The {allowed_s:g} s for this question ran out {where}.")
        return self._answering.verdict(ticket, "timeout", fault=fault, age_s=agent.freshness.age_s())

    # settling

    async def _settle(self, ticket: Ticket, answer: Answer, epoch: MediaEpoch) -> None:
        payload = answer_payload(answer, epoch)
        await self._writing.write(ticket.seq, payload)
        ticket.settle(answer, payload)
        self._publish(answer, payload, ticket.source)

    def _publish(self, answer: Answer, payload: Mapping[str, Any], source: str) -> None:
        self._events.emit("answer", answer.question.camera, answer.answered_wall_s, payload)
        self._meters.answered(source, answer)
        if answer.status == "ok":
            self._answer_s += 0.2 * ((answer.latency.total_ms - answer.latency.queue_ms) / 1000 - self._answer_s)

    def _measure(self) -> None:
        running = self.running_questions
        self._meters.inflight.set(running)
        self._meters.queue_depth.set(len(self._open) - running)

    # start and end

    async def _recover(self) -> None:
        """Tell those whom a former life left without an answer, and learn the ids of the last minutes."""
        now_s = self._clock.wall_s()
        try:
            self.past = await recall(self._journal, now_s, self._model_id, self._epoch_of)
        except JournalError as error:
            log.error("%s", redact(error))
            return
        for told in self.past.recovered:
            await self._writing.write(told.seq, told.payload)
            self._publish(told.answer, told.payload, told.source)
        for ticket in self.past.tickets:
            self._known.add(ticket, now_s)

    def _epoch_of(self, camera: str) -> MediaEpoch:
        agent = self._cameras.get(camera)
        return agent.epoch if agent else MediaEpoch(0.0)

    async def _drain(self) -> None:
        """Those who wait are told at once; those who are being answered get a moment to end."""
        for ticket in self._open:
            if ticket.started_s is None:
                ticket.cancel(SHUTTING_DOWN.code, SHUTTING_DOWN.message)
        for grace_s in (DRAIN_S, DRAIN_S):
            if self._open:
                await asyncio.wait(set(self._open.values()), timeout=grace_s)
            for ticket in self._open:
                ticket.cancel(SHUTTING_DOWN.code, SHUTTING_DOWN.message)
        for task in list(self._open.values()):  # a device that hangs: the answers are out, only forks are still held
            task.cancel()
        await self._writing.flush(FLUSH_S)  # or the next life would tell the same askers that they were cut off
