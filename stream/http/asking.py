"""From a request to a ticket of the desk, and from a ticket to words, or to a `Problem` with a real status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from fastapi import Request

from stream import desk
from stream.http.problems import Problem
from stream.http.streaming import ClientGone, unless_gone

if TYPE_CHECKING:
    from stream.flow import Answer, Piece, Status
    from stream.station import Station

_REFUSALS = {  # code of `desk.Refused`: HTTP status
    "unknown_camera": 404,
    "empty_question": 400,
    "question_too_long": 413,
    "bad_request": 400,
    "duplicate_id": 409,
    "cancelled": 409,
    "overloaded": 503,
    "journal_unavailable": 503,
    "shutting_down": 503,
    "restarted": 503,
}
_FAILURES: dict[Status, int] = {
    "stale": 503,
    "no_frames": 503,
    "overloaded": 503,
    "timeout": 504,
    "model_error": 500,
    "rejected": 400,
}
_SOON_S = 2.0  # when nobody knows better: a second for a frame or a free place, and a little air


def of_refusal(refused: desk.Refused) -> Problem:
    """Why a question was not accepted."""
    status = _REFUSALS.get(refused.code, 400)
    retry_s = refused.retry_after_s or (_SOON_S if status == 503 else None)
    code = "camera_not_found" if refused.code == "unknown_camera" else refused.code
    return Problem(status, code, refused.message, retry_after_s=retry_s)


def of_answer(answer: Answer) -> Problem:
    """Why an accepted question has no words."""
    fault = answer.error
    code = fault.code if fault else answer.status
    status = _REFUSALS.get(code, _FAILURES.get(answer.status, 500))
    message = fault.message if fault else f"The question ended as {answer.status}."
    retry_s = _SOON_S if status == 503 else None
    # A question that took too long once takes too long again: tell the OpenAI clients not to repeat it.
    headers = {"X-Should-Retry": "false"} if answer.status == "timeout" else {}
    return Problem(status, code, message, retry_after_s=retry_s, headers=headers)


async def admit(station: Station, request: desk.Request) -> desk.Ticket:
    """The desk's ticket for a question. Raises `Problem`."""
    try:
        return await station.desk.ask(request)
    except desk.Refused as refused:
        raise of_refusal(refused) from None


def giving_up(ticket: desk.Ticket, asked_id: str | None) -> Callable[[], None]:
    """What to do when the client hangs up: take the question back, unless it came with an id of its own.

    Then the client may ask again with the same id, or look the answer up.
    """
    return ticket.cancel if asked_id is None else lambda: None


async def whole(request: Request, ticket: desk.Ticket, give_up: Callable[[], None]) -> Answer:
    """The terminal answer; `give_up` is called when the client hangs up. Raises `Problem`, `ClientGone`."""
    try:
        answer = await unless_gone(request, ticket.answer())
    except BaseException:
        give_up()
        raise
    if answer.status != "ok":
        raise of_answer(answer)
    return answer


async def begun(request: Request, ticket: desk.Ticket, give_up: Callable[[], None]) -> AsyncIterator[Piece]:
    """The pieces of an answer, once the first is there: until then a failure can still have its real status.

    Raises `Problem` for an answer without words, `ClientGone` when the client hung up, after `give_up`.
    """
    pieces = ticket.pieces()
    try:
        first = await unless_gone(request, _first(pieces))
        if first is None:
            await whole(request, ticket, give_up)
    except BaseException:
        give_up()
        raise
    return _from(first, pieces)


async def _first(pieces: AsyncIterator[Piece]) -> Piece | None:
    return await anext(pieces, None)


async def _from(first: Piece | None, rest: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    if first is not None:
        yield first
        async for piece in rest:
            yield piece


__all__ = ["ClientGone", "admit", "begun", "giving_up", "of_answer", "of_refusal", "whole"]
