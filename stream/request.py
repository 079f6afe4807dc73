"""What somebody asks, and why it may be refused: checked once, at the door, whichever door it was."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stream.flow import Status
from stream.meters import Source

TEXT_LIMIT = 8 * 1024  # bytes of UTF-8
ID_LIMIT = 128  # characters
MOST_TOKENS = 1024  # of an answer; a client that asks for more gets these
LONGEST_S = 3600.0

Code = Literal[
    "unknown_camera",
    "empty_question",
    "question_too_long",
    "bad_request",
    "overloaded",
    "shutting_down",
    "duplicate_id",
    "journal_unavailable",
]


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A question as it comes through a door. `None`: what the configuration says."""

    camera: str
    text: str
    source: Source
    id: str | None = None
    timeout_s: float | None = None
    span_s: tuple[float, float] | None = None  # media time to look at, s
    since_s: float | None = None  # or: the last so many seconds
    max_age_ms: int | None = None  # an older newest frame makes the answer `stale`
    max_tokens: int | None = None
    temperature: float = 0.0
    reply: Mapping[str, str] | None = None  # kept with the question for the door that has to deliver the answer


class Refused(Exception):
    """The question is not accepted: nothing was written, no answer will come but this."""

    def __init__(self, status: Status, code: Code, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status: Status = status
        self.code: Code = code
        self.message = message
        self.retry_after_s = retry_after_s  # s; None: asking again will not help


def check(request: Request) -> str:
    """The question's clean text. Raises `Refused` with a sentence."""
    text = _checked_text(request.text)
    if request.id is not None:
        _check_id(request.id)
    _check_number("timeout_s", request.timeout_s, 0.0, LONGEST_S)
    _check_number("since_s", request.since_s, 0.0, 1e10)
    _check_number("max_age_ms", request.max_age_ms, 0.0, 1e12)
    if request.max_tokens is not None and not request.max_tokens > 0:  # too many are no fault: see `MOST_TOKENS`
        raise _bad("The value of max_tokens must be above 0")
    if not (math.isfinite(request.temperature) and 0 <= request.temperature <= 2):
        raise _bad("The temperature must be between 0 and 2")
    if request.span_s is not None:
        if request.since_s is not None:
            raise _bad("Give a time span or the last seconds, not both")
        start, end = request.span_s
        if not (math.isfinite(start) and math.isfinite(end) and start < end):
            raise _bad("A time span must begin before it ends")
    return text


def new_id() -> str:
    """An id for a question that came without one."""
    return f"q-{secrets.token_hex(8)}"


def _checked_text(text: str) -> str:
    # Characters first: encoding a megabyte to measure it would be work for a stranger.
    if len(text) > TEXT_LIMIT:
        raise _too_long()
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _bad("The question holds half of a character pair and is no valid text") from None
    if size > TEXT_LIMIT:
        raise _too_long()
    clean = "".join(char for char in text if char.isprintable() or char in "\n\t").strip()
    if not clean:
        raise Refused("rejected", "empty_question", "The question is empty.")
    return clean


def _check_id(name: str) -> None:
    if not 1 <= len(name) <= ID_LIMIT or not name.isprintable():
        raise _bad(f"An id is 1 to {ID_LIMIT} printable characters")


def _check_number(name: str, value: float | None, above: float, most: float) -> None:
    if value is not None and not (math.isfinite(value) and above < value <= most):
        raise _bad(f"The value of {name} must be above {above:g} and at most {most:g}")


def _bad(sentence: str) -> Refused:
    return Refused("rejected", "bad_request", f"{sentence}.")


def _too_long() -> Refused:
    return Refused("rejected", "question_too_long", f"A question may be {TEXT_LIMIT} bytes long; shorten it.")
