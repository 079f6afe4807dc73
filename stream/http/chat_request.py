"""What an OpenAI client sends, and which camera, question and span it means."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from stream.http.problems import Problem
from stream.request import MOST_TOKENS

MESSAGES = 512
MAX_TOKENS = 1_000_000  # what may be asked for, as clients do by default; the desk gives `MOST_TOKENS` at most
SCHEME = "camera"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|min|m|h|d)")
# Settings that would change the answer, and that nothing here heeds: refused rather than ignored. The values that
# mean "nothing special" pass, since many clients send them always.
_UNHEEDED: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "stop": ([],),
    "logprobs": (False,),
    "logit_bias": ({},),
    "audio": (),
    "modalities": (["text"],),
}


_IGNORED = ("top_p", "seed", "frequency_penalty", "presence_penalty")  # they shape the words, not what is answered
_HONESTY = (
    f"Of the conversation only the last message is read. {', '.join(f'`{name}`' for name in _IGNORED)} and fields that "
    "are not listed here are accepted and have no effect. "
    f"{', '.join(f'`{name}`' for name in _UNHEEDED)} are refused with 400 when they ask for anything special."
)
_TOKENS_TOLD = f"a limit above {MOST_TOKENS} counts as {MOST_TOKENS}; default: `questions.max_tokens`"


class Part(BaseModel):
    """One part of a message: text, or a camera named as a video."""

    model_config = ConfigDict(strict=True)
    type: str
    text: str | None = None
    video_url: VideoUrl | None = None


class VideoUrl(BaseModel):
    """`camera://front?last=30s`: never fetched."""

    model_config = ConfigDict(strict=True)
    url: str = Field(max_length=1024)


class Message(BaseModel):
    """One message of the conversation; the last one of the user is the question."""

    model_config = ConfigDict(strict=True)
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None


class StreamOptions(BaseModel):
    """As OpenAI's."""

    model_config = ConfigDict(strict=True)
    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """OpenAI's chat completion request, with `camera`, `window_s`, `timeout_s` and `max_age_ms` beside it."""

    model_config = ConfigDict(strict=True, extra="allow", json_schema_extra={"description": _HONESTY})
    model: str | None = Field(default=None, max_length=256, description="the model's id, or a camera's")
    messages: list[Message] = Field(min_length=1, max_length=MESSAGES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS, description=_TOKENS_TOLD)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS, description=_TOKENS_TOLD)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    camera: str | list[str] | None = Field(default=None, description="which camera; one")
    window_s: float | None = Field(default=None, gt=0, le=1e9, allow_inf_nan=False, description="look back so far, s")
    timeout_s: float | None = Field(default=None, gt=0, le=3600, allow_inf_nan=False)
    max_age_ms: int | None = Field(default=None, ge=1, le=10**9)


@dataclass(frozen=True, slots=True)
class Aim:
    """Which camera a question goes to, and the stretch of time it is about."""

    camera: str
    last_s: float | None = None
    since: str | None = None  # RFC 3339
    until: str | None = None


def refuse_unheeded(asked: ChatRequest) -> None:
    """Raises `Problem` 400 for a setting that would be ignored."""
    for name, harmless in _UNHEEDED.items():
        value = (asked.model_extra or {}).get(name)
        if value is not None and not any(value == fine and type(value) is type(fine) for fine in harmless):
            raise Problem(400, "unsupported_parameter", f"`{name}` is not supported here; leave it out.", param=name)


def question_of(asked: ChatRequest) -> str:
    """The text of the user's last message. Raises `Problem` 400 for pictures, and when there is no text."""
    last = asked.messages[-1]
    if last.role != "user":
        raise Problem(400, "no_question", "The last message must be the user's.", param="messages")
    if isinstance(last.content, str):
        return last.content
    parts = last.content or []
    strange = [part.type for part in parts if part.type not in ("text", "video_url")]
    if strange:
        message = "Only text and video_url parts are understood: the pictures come from the camera."
        raise Problem(400, "unsupported_content", message, param="messages")
    return "\n".join(part.text for part in parts if part.type == "text" and part.text)


def aim_of(asked: ChatRequest, cameras: Collection[str], model_id: str) -> Aim:
    """Which camera is meant: `camera`, a `camera://` part, or `model`; they must agree. Raises `Problem` 400, 404."""
    urls = [_aim_of_url(url) for url in _video_urls(asked)]
    named = [asked.camera] if isinstance(asked.camera, str) else list(asked.camera or ())
    named += [aim.camera for aim in urls]
    if asked.model is not None and asked.model in cameras:
        named.append(asked.model)
    elif asked.model is not None and asked.model != model_id:
        message = "There is no such model. GET /v1/models lists the model and one alias per camera."
        raise Problem(404, "model_not_found", message, param="model")
    names = list(dict.fromkeys(named))
    if not names and len(cameras) == 1:
        names = list(cameras)
    if not names:
        message = "Name a camera: as the model, in the field `camera`, or as a video_url camera://<id>."
        raise Problem(400, "camera_required", message, param="camera")
    if len(names) > 1 or len(urls) > 1:
        message = "The request names more than one camera or span; a question goes to one."
        raise Problem(400, "camera_contradiction", message, param="camera")
    if names[0] not in cameras:
        message = "There is no camera of this id. GET /v1/models lists one alias per camera."
        raise Problem(404, "camera_not_found", message, param="camera")
    span = urls[0] if urls else Aim(names[0])
    if asked.window_s is not None and (span.last_s or span.since):
        raise Problem(400, "bad_span", "Give the span in the URL or as `window_s`, not both.", param="window_s")
    return Aim(names[0], asked.window_s or span.last_s, span.since, span.until)


def _video_urls(asked: ChatRequest) -> list[str]:
    content = asked.messages[-1].content
    parts = content if isinstance(content, list) else []
    return [part.video_url.url for part in parts if part.type == "video_url" and part.video_url]


def _aim_of_url(url: str) -> Aim:
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), max_num_fields=8)
    except ValueError:
        raise _bad_url() from None
    options = dict(query)
    if parts.scheme != SCHEME or parts.path not in ("", "/") or "@" in parts.netloc or parts.fragment:
        raise _bad_url()
    if (
        len(options) != len(query)
        or not options.keys() <= {"last", "from", "to"}
        or ("last" in options and len(options) > 1)
    ):
        raise _bad_url()
    last_s = None
    if "last" in options:
        told = _DURATION.fullmatch(options["last"])
        last_s = float(told[1]) * _UNITS[told[2]] if told else 0.0
        if last_s <= 0:
            raise _bad_url()
    return Aim(parts.netloc, last_s, options.get("from"), options.get("to"))


def _bad_url() -> Problem:
    message = "A video_url names a camera: camera://<id>, with ?last=30s or ?from=<RFC 3339>&to=<RFC 3339> if you like."
    return Problem(400, "bad_camera_url", message, param="messages")
