"""What a question may look like. Pure: bytes in, a `Wish` out, or a `BadPayload` with a sentence for its sender.

A question is plain UTF-8 text, or a JSON object:
`{"id", "question", "window_s", "timeout_s", "max_age_ms", "max_tokens", "reply_to", "cameras", "v"}`. Only `question`
is needed, and `cameras` where a question goes to several. Text counts as JSON when it begins with `{` or `[`.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from stream.mqtt.topics import is_camera_id
from stream.request import MOST_TOKENS

QUESTION_BYTES = 8 * 1024
CORRELATION_BYTES = 1024
MOST_CAMERAS = 16

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}")
_KEYS = ("v", "id", "question", "window_s", "timeout_s", "max_age_ms", "max_tokens", "schema", "reply_to", "cameras")


class BadPayload(ValueError):
    """A payload that is no question. The message is for its sender; `code` for programs.

    `name` (its id) and `reply_to` are what could be read before it was refused, so that the refusal finds its way back.
    """

    def __init__(self, code: str, message: str, name: str | None = None, reply_to: str | None = None) -> None:
        super().__init__(message)
        self.code, self.name, self.reply_to = code, name, reply_to


@dataclass(frozen=True, slots=True)
class Wish:
    """A question as its sender wrote it; nothing is known yet about the camera. Times in s and ms as named."""

    question: str
    id: str | None = None
    window_s: float | None = None
    timeout_s: float | None = None
    max_age_ms: int | None = None
    max_tokens: int | None = None
    reply_to: str | None = None
    cameras: tuple[str, ...] = field(default=())


def parse(payload: bytes) -> Wish:
    """Read a question. Raises `BadPayload`: `question_too_long`, `not_utf8`, `empty_question`, `bad_question`."""
    if len(payload) > QUESTION_BYTES:
        raise BadPayload(
            "question_too_long", f"A question may have {QUESTION_BYTES} bytes; this one has {len(payload)}."
        )
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadPayload("not_utf8", f"The question is not UTF-8 text (byte {error.start} is wrong).") from None
    if "\0" in text:
        raise BadPayload("bad_question", "The question holds a zero character.")
    text = text.removeprefix("\ufeff").strip()
    if not text:
        raise BadPayload("empty_question", "The question is empty.")
    return _from_object(_object(text)) if text[0] in "{[" else Wish(question=text)


def _object(text: str) -> Mapping[str, object]:
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)
    except BadPayload:
        raise
    except (ValueError, RecursionError) as error:
        where = f" ({error.msg} at character {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
        raise BadPayload("bad_question", f"The question begins like JSON but cannot be read as JSON{where}.") from None
    if not isinstance(value, dict):
        raise BadPayload("bad_question", 'A question in JSON is an object like {"question": "Is the gate open?"}.')
    return value


def _no_constant(name: str) -> NoReturn:
    raise BadPayload("bad_question", f"{name} is not a number JSON knows.")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadPayload("bad_question", "A key stands twice in the question's JSON.")
    return value


def _from_object(value: Mapping[str, object]) -> Wish:
    id_, reply_to = value.get("id"), value.get("reply_to")
    known_id = id_ if isinstance(id_, str) and _ID.fullmatch(id_) else None
    known_reply = reply_to if isinstance(reply_to, str) else None
    try:
        _check_keys(value)
        return Wish(
            question=_question(value.get("question")),
            id=_identifier(id_),
            window_s=_number(value, "window_s", 0.001, 366 * 86400),
            timeout_s=_number(value, "timeout_s", 0.001, 3600),
            max_age_ms=_count(value, "max_age_ms", 1, 86_400_000),
            max_tokens=_tokens(value),
            reply_to=_optional_text(reply_to, "reply_to"),
            cameras=_cameras(value.get("cameras")),
        )
    except BadPayload as error:
        raise BadPayload(error.code, str(error), known_id, known_reply) from None


def _check_keys(value: Mapping[str, object]) -> None:
    for key in value:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Known keys: {', '.join(_KEYS)}."
            raise BadPayload("bad_question", f"A question has no key {key[:40]!r}.{hint}")
    if value.get("v", 1) != 1:
        raise BadPayload("bad_question", "This service speaks version 1 of the question format.")
    if value.get("schema") is not None:
        raise BadPayload("unsupported", "Answers in a JSON schema are not supported; leave 'schema' out.")


def _question(value: object) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise BadPayload("empty_question", "The question is empty.")
    if not isinstance(value, str):
        raise BadPayload("bad_question", "'question' must be text.")
    if any(0xD800 <= ord(char) < 0xE000 for char in value):
        raise BadPayload("not_utf8", "The question holds half a character (a lone surrogate).")
    if "\0" in value:
        raise BadPayload("bad_question", "The question holds a zero character.")
    return value.strip()


def _identifier(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise BadPayload(
            "bad_id", "'id' must be 1 to 63 letters, digits, _ . : or -, and begin with a letter or a digit."
        )
    return value


def _optional_text(value: object, key: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise BadPayload("bad_question", f"{key!r} must be text.")
    return value


def _number(value: Mapping[str, object], key: str, least: float, most: float) -> float | None:
    number = value.get(key)
    if number is None:
        return None
    fits = isinstance(number, int | float) and not isinstance(number, bool) and least <= number <= most
    if not fits or not isinstance(number, int | float) or not math.isfinite(number):
        raise BadPayload("bad_question", f"{key!r} must be a number from {least:g} to {most:g}.")
    return float(number)


def _count(value: Mapping[str, object], key: str, least: int, most: int) -> int | None:
    number = _number(value, key, least, most)
    if number is not None and number != int(number):
        raise BadPayload("bad_question", f"{key!r} must be a whole number.")
    return None if number is None else int(number)


def _tokens(value: Mapping[str, object]) -> int | None:
    """More than are served means as many as are served, at every door."""
    wanted = value.get("max_tokens")
    if isinstance(wanted, int | float) and wanted > MOST_TOKENS:
        return MOST_TOKENS
    return _count(value, "max_tokens", 1, MOST_TOKENS)


def _cameras(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not value or len(value) > MOST_CAMERAS:
        raise BadPayload("bad_question", f"'cameras' must be a list of 1 to {MOST_CAMERAS} camera ids.")
    if not all(isinstance(name, str) and is_camera_id(name) for name in value):
        raise BadPayload("unknown_camera", "'cameras' holds something that is no camera id (a-z, 0-9, _ and -).")
    return tuple(dict.fromkeys(value))
