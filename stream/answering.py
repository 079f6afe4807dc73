"""From an accepted question to its answer: what goes wrong on the way becomes the answer's status."""

from __future__ import annotations

import asyncio
import logging
import traceback
from contextlib import aclosing
from typing import TYPE_CHECKING

from stream.device import DeviceClosed
from stream.flow import Answer, Fault, Latency, Outcome, Question, Status, Usage
from stream.redact import redact

if TYPE_CHECKING:
    from stream.agent import Agent
    from stream.clock import Clock
    from stream.meters import Meters
    from stream.ticket import Ticket

log = logging.getLogger("stream.desk")
SENTENCE_LIMIT = 500  # characters of an error
SHUTTING_DOWN = Fault("shutting_down", "Longwatch is shutting down; ask again when it is back.")


class Answering:
    """Answers at most `max_concurrent` questions at a time; the others wait for a slot, first come, first served."""

    def __init__(self, clock: Clock, meters: Meters, model_id: str, max_concurrent: int) -> None:
        self._clock = clock
        self._meters = meters
        self._model_id = model_id
        self._slots = asyncio.Semaphore(max_concurrent)

    async def answer(self, ticket: Ticket, agent: Agent) -> Answer:
        """The answer, whatever it is; raises nothing but a cancel."""
        question = ticket.question
        try:
            # Before the slot: a dead camera must not hold the places of the living.
            left_s = question.deadline_s - self._clock.now_s()
            if not await agent.freshness.first_frame(min(ticket.max_age_s, 0.9 * left_s)):
                sentence = f"{question.camera!r} has not delivered a frame yet: {_doing(agent)}"
                return self.verdict(ticket, "no_frames", fault=Fault("no_frames", sentence))
            async with self._slots:
                ticket.started_s = self._clock.now_s()
                return await self._fresh_words(ticket, agent)
        except DeviceClosed:
            return self.verdict(ticket, "rejected", fault=SHUTTING_DOWN)
        except Exception as error:
            return self.failed(ticket, error, agent.freshness.age_s())

    def failed(self, ticket: Ticket, error: Exception, age_s: float | None = None) -> Answer:
        """The answer when something broke: all of it to the log, a sentence to the asker."""
        trace = redact("".join(traceback.format_exception(error)).rstrip())
        log.warning("Question %s to %s failed.\n%s", ticket.question.id, ticket.question.camera, trace)
        self._meters.model_requests.labels("error").inc()
        if getattr(error, "status", "") == "overloaded":  # memory has no room for one more question now
            return self.verdict(ticket, "overloaded", fault=Fault("overloaded", redact(str(error))), age_s=age_s)
        sentence = redact(f"The model could not answer: {type(error).__name__}: {error}")[:SENTENCE_LIMIT]
        return self.verdict(ticket, "model_error", fault=Fault("model_error", sentence), age_s=age_s)

    async def _fresh_words(self, ticket: Ticket, agent: Agent) -> Answer:
        age_s = agent.freshness.age_s()
        if age_s is not None and age_s > ticket.max_age_s and not _about_the_past(ticket.question, agent):
            newest = f"The newest frame of {ticket.question.camera!r} is {age_s:.1f} s old"
            fault = Fault("stale", f"{newest} (limit {ticket.max_age_s:g} s): {_doing(agent)}")
            return self.verdict(ticket, "stale", fault=fault, age_s=age_s)
        outcome = await self._words(ticket, agent)
        if not ticket.text.strip():
            self._meters.model_requests.labels("empty").inc()
            fault = Fault("empty_answer", "The model said nothing; ask in other words.")
            return self.verdict(ticket, "model_error", fault=fault, age_s=age_s)
        self._meters.model_requests.labels("ok").inc()
        return self.verdict(ticket, "ok", outcome=outcome, age_s=age_s)

    async def _words(self, ticket: Ticket, agent: Agent) -> Outcome | None:
        outcome: Outcome | None = None
        async with aclosing(agent.ask(ticket.question)) as words:
            async for word in words:
                if isinstance(word, Outcome):
                    outcome = word
                else:
                    ticket.say(word)
        return outcome

    def verdict(
        self,
        ticket: Ticket,
        status: Status,
        *,
        fault: Fault | None = None,
        outcome: Outcome | None = None,
        age_s: float | None = None,
    ) -> Answer:
        """The terminal answer as of now; `age_s`: of the newest frame it could see, s."""
        now_s, asked_s = self._clock.now_s(), ticket.question.asked_s
        started_s = now_s if ticket.started_s is None else ticket.started_s
        first_s = ticket.first_said_s
        return Answer(
            question=ticket.question,
            status=status,
            text=ticket.text.strip() if status == "ok" else None,
            error=fault,
            evidence=outcome.evidence if outcome else None,
            latency=Latency(
                queue_ms=1000 * (started_s - asked_s),
                first_token_ms=None if first_s is None else 1000 * (first_s - asked_s),
                total_ms=1000 * (now_s - asked_s),
            ),
            usage=outcome.usage if outcome else Usage(),
            model=self._model_id,
            newest_frame_age_ms=None if age_s is None else 1000 * age_s,
            answered_wall_s=self._clock.wall_s(),
            asked_wall_s=ticket.asked_wall_s,
        )


def _doing(agent: Agent) -> str:
    """State and reason as the end of a sentence."""
    state = agent.state
    return redact(f"it is {state.state}, {state.reason}" if state.reason else f"it is {state.state}.")[:SENTENCE_LIMIT]


def _about_the_past(question: Question, agent: Agent) -> bool:
    """Freshness is no matter: the video is over, or the asked-for time was all seen."""
    if agent.state.state == "ended":
        return True
    newest_s = agent.freshness.newest_s
    return question.span_s is not None and newest_s is not None and question.span_s[1] < newest_s
