"""After a crash: everyone who was acknowledged and not answered is told so, and known ids stay known."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from stream.flow import Answer, Fault, Latency, MediaEpoch, Question
from stream.ticket import Ticket
from stream.wire import answer_from_payload, answer_payload

if TYPE_CHECKING:
    from stream.journal import Entry
    from stream.meters import Source

REMEMBER_S = 300.0  # the same id within this time is the same question
REMEMBERED = 1024  # tickets; above it the oldest one is forgotten early


@dataclass(frozen=True, slots=True, eq=False)
class Recovered:
    """A question that a former life accepted and did not answer, and what it is told now."""

    answer: Answer
    payload: Mapping[str, Any]
    source: str
    reply: Mapping[str, str] | None
    seq: int


def restarted(entry: Entry, now_wall_s: float, model_id: str) -> Recovered:
    """The honest end of a question that a crash cut off."""
    answer = Answer(
        Question(entry.id, entry.text, entry.camera, asked_s=0.0, deadline_s=0.0),
        "rejected",
        error=Fault("restarted", "Longwatch was restarted before it could answer; ask again."),
        latency=Latency(total_ms=max(0.0, 1000 * (now_wall_s - entry.asked_wall_s))),
        model=model_id,
        answered_wall_s=now_wall_s,
        asked_wall_s=entry.asked_wall_s,
    )
    return Recovered(answer, answer_payload(answer, MediaEpoch(0.0)), entry.source, entry.reply, entry.seq)


def answered_ticket(entry: Entry, payload: Mapping[str, Any], epoch: MediaEpoch) -> Ticket:
    """A ticket of a former life, with its answer."""
    answer = answer_from_payload(payload, epoch)
    ticket = Ticket(answer.question, cast("Source", entry.source), entry.asked_wall_s, reply=entry.reply)
    ticket.seq = entry.seq
    ticket.accept()
    ticket.settle(answer, payload)
    return ticket


class KnownIds:
    """Tickets of the last minutes by id, so that a message delivered twice is not asked twice. Bounded."""

    def __init__(self) -> None:
        self._tickets: OrderedDict[str, Ticket] = OrderedDict()

    def get(self, name: str, now_wall_s: float) -> Ticket | None:
        """The ticket of an id that is still known."""
        ticket = self._tickets.get(name)
        return ticket if ticket is not None and now_wall_s - ticket.asked_wall_s <= REMEMBER_S else None

    def add(self, ticket: Ticket, now_wall_s: float) -> None:
        """Know one more; the expired go, and the oldest when there are too many."""
        while self._tickets:
            name, oldest = next(iter(self._tickets.items()))
            if len(self._tickets) < REMEMBERED and now_wall_s - oldest.asked_wall_s <= REMEMBER_S:
                break
            del self._tickets[name]
        self._tickets.pop(ticket.question.id, None)  # an expired one: the new one belongs at the end
        self._tickets[ticket.question.id] = ticket

    def forget(self, name: str) -> None:
        """An id that was refused after all may be used again."""
        self._tickets.pop(name, None)
