"""Questions over plain HTTP: ask and hear the words as they come; read what was asked before, and what it rested on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from stream import desk
from stream.http.asking import admit, begun, giving_up, of_answer, whole
from stream.http.body import documented, read
from stream.http.cameras import CameraId, agent_of, moment
from stream.http.problems import Problem, problem_json
from stream.http.streaming import ClientGone, Streaming, event
from stream.wire import answer_payload, block_payload, rfc3339

if TYPE_CHECKING:
    from stream.agent import Agent
    from stream.flow import Piece
    from stream.journal import Entry
    from stream.station import Station

MAX_TOKENS = 1024
GONE = 499  # nginx's word for a client that hung up; nobody reads it


class Ask(BaseModel):
    """A question to one camera. Only `question` is required."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)
    question: str = Field(min_length=1)
    id: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9._:-]{1,128}$", description="asked once only within 5 min"
    )
    window_s: float | None = Field(
        default=None,
        gt=0,
        le=1e9,
        allow_inf_nan=False,
        validation_alias=AliasChoices("window_s", "since_s"),
        description="look back so far, s; also as `since_s`",
    )
    since: str | None = Field(default=None, alias="from", max_length=64, description="RFC 3339; with `to`")
    until: str | None = Field(default=None, alias="to", max_length=64, description="RFC 3339; default: now")
    timeout_s: float | None = Field(default=None, gt=0, le=3600, allow_inf_nan=False)
    max_age_ms: int | None = Field(default=None, ge=1, le=10**9, description="refuse when the picture is older")
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    temperature: float = Field(default=0.0, ge=0, le=2, allow_inf_nan=False)
    source: Literal["http", "cli", "page"] = Field(default="http", description="who asks; for the metrics")


def span_of(agent: Agent, since: str | None, until: str | None) -> tuple[float, float] | None:
    """Media time between two RFC 3339 times, s; None when none was given. Raises `Problem` 400."""
    if since is None and until is None:
        return None
    if since is None:
        raise Problem(400, "bad_span", "`to` needs a `from`.", param="from")
    start = agent.epoch.media(moment(since, "from"))
    end = agent.epoch.media(moment(until, "to")) if until is not None else agent.epoch.media(agent.clock.wall_s())
    if end <= start:
        raise Problem(400, "bad_span", "`from` must lie before `to`, and in the past.", param="from")
    return start, end


def request_of(agent: Agent, asked: Ask) -> desk.Request:
    """The desk's form of a question. Raises `Problem` 400."""
    span = span_of(agent, asked.since, asked.until)
    if span is not None and asked.window_s is not None:
        raise Problem(400, "bad_span", "Give either `window_s` or `from` and `to`, not both.", param="window_s")
    return desk.Request(
        agent.camera,
        asked.question,
        asked.source,
        id=asked.id,
        timeout_s=asked.timeout_s,
        span_s=span,
        since_s=asked.window_s,
        max_age_ms=asked.max_age_ms,
        max_tokens=asked.max_tokens,
        temperature=asked.temperature,
    )


def entry_payload(entry: Entry, *, cells: bool) -> dict[str, Any]:
    """A line of the journal as JSON; `status` is `pending` until it is answered. Without `cells` lists stay short."""
    told: dict[str, Any] = dict(entry.answer) if entry.answer else {"status": entry.status or "pending"}
    told |= {"id": entry.id, "camera": entry.camera, "question": entry.text, "asked_at": rfc3339(entry.asked_wall_s)}
    told |= {"source": entry.source, "cursor": entry.seq}
    evidence = told.get("evidence")
    if not cells and isinstance(evidence, Mapping):
        sightings = [{key: value for key, value in one.items() if key != "cells"} for one in evidence["sightings"]]
        told["evidence"] = {**evidence, "sightings": sightings}
    return told


def fates(agent: Agent | None, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What has become of the blocks that an answer rested on: their line of the ledger now."""
    evidence = told.get("evidence") or {}
    blocks = dict.fromkeys(one["block"] for one in evidence.get("sightings", []) if one["block"] is not None)
    held = agent.held if agent else None
    ledger = {line.id: line for line in (*held.recent, *held.blocks)} if held else {}
    gone = "no longer in the ledger's last lines"
    return [
        block_payload(ledger[block], agent.epoch)
        if agent and block in ledger
        else {"id": block, "state": "gone", "reason": gone}
        for block in blocks
    ]


async def told_events(station: Station, ticket: desk.Ticket, pieces: AsyncIterator[Piece]) -> AsyncIterator[bytes]:
    """`piece` events, then one `answer`, or one `error` for an answer that broke off."""
    epoch = station.cameras[ticket.question.camera].epoch
    async for piece in pieces:
        yield event({"text": piece.text, "seen_at": rfc3339(epoch.wall(piece.seen_s))}, name="piece")
    answer = await ticket.answer()
    payload = answer_payload(answer, epoch)
    if answer.status == "ok":
        yield event(payload, name="answer")
    else:
        yield event({**problem_json(of_answer(answer)), "answer": payload}, name="error")


def question_routes(station: Station) -> APIRouter:
    """`/api/v1/cameras/{camera}/ask` and `/api/v1/questions`."""
    router = APIRouter(prefix="/api/v1", tags=["Questions"])

    @router.post(
        "/cameras/{camera}/ask", summary="Ask a camera", response_class=Response, openapi_extra=documented(Ask)
    )
    async def ask(request: Request, camera: CameraId) -> Response:
        """Server-sent events `piece`, then `answer` or `error`; one JSON answer with `Accept: application/json`."""
        agent = agent_of(station, camera)
        asked = await read(request, Ask)
        ticket = await admit(station, request_of(agent, asked))
        give_up = giving_up(ticket, asked.id)
        try:
            if "application/json" in request.headers.get("accept", ""):
                return JSONResponse(answer_payload(await whole(request, ticket, give_up), agent.epoch))
            pieces = await begun(request, ticket, give_up)
        except ClientGone:
            return Response(status_code=GONE)
        return Streaming(told_events(station, ticket, pieces), on_end=give_up)

    @router.get("/questions", summary="Questions asked before")
    async def history(
        camera: Annotated[str | None, Query(max_length=64)] = None,
        after: Annotated[int | None, Query(ge=0, lt=2**63, description="A cursor: oldest first from there.")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 20,
    ) -> dict[str, Any]:
        """Newest first; with `after` oldest first from that cursor on. Heat maps are in the single question."""
        if after is None:
            entries = (await station.journal.latest(limit, camera))[::-1]
        else:
            entries = await station.journal.history(after, limit, camera)
        return {"questions": [entry_payload(entry, cells=False) for entry in entries]}

    @router.get("/questions/{question}", summary="One question, explained")
    async def explain(question: str) -> dict[str, Any]:
        """The answer with its evidence, heat maps and all, and what has become of the blocks it rested on."""
        entry = await station.journal.entry_of(question[:256])
        if entry is None:
            raise Problem(404, "unknown_question", "No question of this id is in the journal.", param="question")
        told = entry_payload(entry, cells=True)
        return {**told, "blocks": fates(station.cameras.get(entry.camera), told)}

    return router
