"""What goes back to who asked: answers, their short form for Home Assistant, refusals. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stream.flow import Answer, Fault, MediaEpoch, Question, Status
from stream.mqtt.discovery import STATE_CHARS
from stream.mqtt.outbox import Publication
from stream.mqtt.topics import Topics
from stream.wire import answer_payload

Json = Mapping[str, object]
_SHORT = ("v", "id", "camera", "question", "status", "answer", "asked_at", "answered_at", "model", "error")
_SHORT_EVIDENCE = ("from", "to", "frames", "newest_frame_age_ms", "memory_from", "out_of_depth")


@dataclass(frozen=True, slots=True)
class Route:
    """Where an answer goes besides `<c>/answer`. No topic: nowhere."""

    topic: str | None = None
    correlation: bytes | None = None

    def kept(self) -> dict[str, str]:
        """For the journal: after a crash the answer still finds its way."""
        kept = {"topic": self.topic} if self.topic else {}
        if self.correlation is not None:
            kept["correlation"] = base64.b64encode(self.correlation).decode("ascii")
        return kept

    @classmethod
    def of(cls, kept: Mapping[str, str] | None) -> Route:
        """Back from the journal."""
        if not kept:
            return cls()
        try:
            correlation = base64.b64decode(kept["correlation"], validate=True) if "correlation" in kept else None
        except (binascii.Error, ValueError):
            correlation = None
        return cls(kept.get("topic"), correlation)


def encode(payload: Json) -> bytes:
    """JSON as it goes over the wire."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _slim(payload: Json) -> Callable[[], bytes] | None:
    """The same answer without heat maps, which make most of its bytes; None when there are none to leave out."""
    evidence = payload.get("evidence")
    if not isinstance(evidence, Mapping) or not evidence.get("sightings"):
        return None

    def without_cells() -> bytes:
        bare = [{key: one[key] for key in one if key != "cells"} for one in evidence["sightings"]]
        return encode({**payload, "evidence": {**evidence, "sightings": bare}})

    return without_cells


def to_route(route: Route, payload: Json) -> list[Publication]:
    """The answer for one asker."""
    if route.topic is None:
        return []
    return [Publication(route.topic, encode(payload), correlation=route.correlation, slim=_slim(payload))]


def to_everyone(topics: Topics, camera: str, payload: Json) -> Publication:
    """The answer on `<c>/answer`, for 3.1.1 clients and listeners."""
    return Publication(topics.camera(camera, "answer"), encode(payload), slim=_slim(payload))


def to_home_assistant(topics: Topics, camera: str, payload: Json) -> Publication:
    """The short form, retained: a state of at most 255 characters, the rest as attributes."""
    short: dict[str, object] = {"state": state_of(payload)}
    short |= {key: payload[key] for key in _SHORT if key in payload}
    evidence = payload.get("evidence")
    if isinstance(evidence, Mapping):
        short["evidence"] = {key: evidence[key] for key in _SHORT_EVIDENCE if key in evidence}
    return Publication(topics.camera(camera, "answer", "last"), encode(short), retain=True)


def state_of(payload: Json) -> str:
    """What fits into an entity's state: the answer, shortened at a word; the status word where there is none."""
    text = payload.get("answer")
    if not isinstance(text, str) or not text.strip():
        return str(payload.get("status"))
    text = " ".join(text.split())
    if len(text) <= STATE_CHARS:
        return text
    cut = text[: STATE_CHARS - 1]
    at_word = cut.rfind(" ")
    return (cut[:at_word] if at_word > STATE_CHARS // 2 else cut).rstrip() + "…"


def refusal(
    *,
    camera: str,
    text: str | None,
    name: str | None,
    status: Status,
    fault: Fault,
    retry_after_s: float | None,
    model: str,
    wall_s: float,
) -> dict[str, object]:
    """The answer JSON of a question that was not accepted: the same shape, `status` rejected or overloaded."""
    question = Question(id=name or "", text=text or "", camera=camera, asked_s=0.0, deadline_s=0.0)
    answer = Answer(question, status, error=fault, model=model, answered_wall_s=wall_s, asked_wall_s=wall_s)
    payload = answer_payload(answer, MediaEpoch(0.0))
    payload["id"], payload["question"] = name, text
    if retry_after_s is not None:
        payload["error"] = {"code": fault.code, "message": fault.message, "retry_after_s": round(retry_after_s, 1)}
    return payload
