"""After a crash: everyone who was acknowledged and not answered is told so, and known ids stay known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from stream.flow import Answer, Fault, Latency, MediaEpoch, Question
from stream.ticket import Ticket
from stream.wire import answer_from_payload, answer_payload

if TYPE_CHECKING:
    from stream.journal import Entry, Journal
    from stream.meters import Source

REMEMBER_S = 300.0  # after an answer the same id is the same question for this long
REMEMBER_FAULT_S = 30.0  # after one that says "ask again": long enough for a message that was delivered twice
RESEND_S = 600.0  # an answer that did not arrive is worth this long; later nobody waits for it
REMEMBERED = 1024  # tickets; above it the oldest one is forgotten early


@dataclass(frozen=True, slots=True, eq=False)
class Recovered:
    """A question that a former life accepted, and the answer that is still to be told."""

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


def _unheard(entry: Entry, payload: Mapping[str, Any], epoch: MediaEpoch) -> Recovered:
    """An answer of a former life that did not arrive, as it was."""
    return Recovered(answer_from_payload(payload, epoch), payload, entry.source, entry.reply, entry.seq)


def answered_ticket(entry: Entry, payload: Mapping[str, Any], epoch: MediaEpoch) -> Ticket:
    """A ticket of a former life, with its answer."""
    answer = answer_from_payload(payload, epoch)
    ticket = Ticket(answer.question, cast("Source", entry.source), entry.asked_wall_s, reply=entry.reply)
    ticket.seq = entry.seq
    ticket.accept()
    ticket.settle(answer, payload)
    return ticket


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What a new life knows of the former ones."""

    recovered: tuple[Recovered, ...] = ()  # accepted, never answered; the answer says so
    untold: tuple[Recovered, ...] = ()  # answered, but the broker did not acknowledge the answer
    last_told_s: Mapping[str, float] = field(default_factory=dict)  # per camera: newest answer over MQTT, Unix time, s
    tickets: tuple[Ticket, ...] = ()  # of the last minutes, answered


async def recall(journal: Journal, now_wall_s: float, model_id: str, epoch_of: Callable[[str], MediaEpoch]) -> Past:
    """Read it from the journal. Raises `JournalError`."""
    recovered = tuple(restarted(entry, now_wall_s, model_id) for entry in await journal.unfinished())
    payloads = {told.seq: told.payload for told in recovered}
    last_told_s: dict[str, float] = {}
    tickets: list[Ticket] = []
    for entry in await journal.latest(REMEMBERED):
        if entry.told and entry.answered_wall_s is not None:
            last_told_s[entry.camera] = max(last_told_s.get(entry.camera, 0.0), entry.answered_wall_s)
        payload = payloads.get(entry.seq, entry.answer)
        if payload is not None:
            ticket = answered_ticket(entry, payload, epoch_of(entry.camera))
            if _is_known(ticket, now_wall_s):
                tickets.append(ticket)
    untold = await journal.untold(now_wall_s - RESEND_S, REMEMBERED)
    unheard = tuple(_unheard(entry, entry.answer, epoch_of(entry.camera)) for entry in untold if entry.answer)
    return Past(recovered, unheard, last_told_s, tuple(tickets))


def _is_known(ticket: Ticket, now_wall_s: float) -> bool:
    """True while its id stands for this question: until it is answered, and some time after."""
    if ticket.outcome is None:
        return True
    keep_s = REMEMBER_S if ticket.outcome.status == "ok" else REMEMBER_FAULT_S
    return now_wall_s - ticket.outcome.answered_wall_s <= keep_s


class KnownIds:
    """Tickets of the last minutes by id, so that a message delivered twice is not asked twice.

    Bounded: beyond `REMEMBERED` the oldest that is answered goes. The open ones stay; the desk bounds them.
    """

    def __init__(self) -> None:
        self._tickets: dict[str, Ticket] = {}  # oldest first

    def get(self, name: str, now_wall_s: float) -> Ticket | None:
        """The ticket of an id that is still known."""
        ticket = self._tickets.get(name)
        return ticket if ticket is not None and _is_known(ticket, now_wall_s) else None

    def add(self, ticket: Ticket, now_wall_s: float) -> None:
        """Know one more; the expired go."""
        self._tickets.pop(ticket.question.id, None)  # an expired one: the new one belongs at the end
        for name in [name for name, known in self._tickets.items() if not _is_known(known, now_wall_s)]:
            del self._tickets[name]
        if len(self._tickets) >= REMEMBERED:
            answered = (name for name, known in self._tickets.items() if known.outcome is not None)
            self._tickets.pop(next(answered, ""), None)
        self._tickets[ticket.question.id] = ticket

    def forget(self, name: str) -> None:
        """An id that was refused after all may be used again."""
        self._tickets.pop(name, None)
