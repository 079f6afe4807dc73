"""OpenAI's chat completions over a live camera: any client of that API can talk to it, unmodified."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from stream import desk
from stream.http.asking import admit, begun, giving_up, of_answer, whole
from stream.http.body import documented, read
from stream.http.chat_request import Aim, ChatRequest, aim_of, question_of, refuse_unheeded
from stream.http.problems import Problem, openai_error
from stream.http.questions import GONE, span_of
from stream.http.streaming import ClientGone, Streaming, event
from stream.wire import answer_payload

if TYPE_CHECKING:
    from stream.flow import Answer, Piece, Question
    from stream.station import Station

OWNER = "longwatch"


def models_payload(station: Station) -> list[dict[str, Any]]:
    """The real model, then one alias per camera."""
    created = int(station.started_wall_s)
    names = [station.model_id, *station.cameras]
    return [{"id": name, "object": "model", "created": created, "owned_by": OWNER} for name in names]


def desk_request(station: Station, asked: ChatRequest, aim: Aim) -> desk.Request:
    """The desk's form of a chat request. Raises `Problem` 400."""
    return desk.Request(
        aim.camera,
        question_of(asked),
        "http",
        timeout_s=asked.timeout_s,
        span_s=span_of(station.cameras[aim.camera], aim.since, aim.until),
        since_s=aim.last_s,
        max_age_ms=asked.max_age_ms,
        max_tokens=asked.max_completion_tokens or asked.max_tokens,
        temperature=asked.temperature or 0.0,
    )


def head(question: Question, model: str, created: int, kind: str) -> dict[str, Any]:
    """What every object of one answer has in common."""
    return {"id": f"chatcmpl-{question.id}", "object": kind, "created": created, "model": model}


def usage_payload(answer: Answer) -> dict[str, int]:
    """OpenAI's usage."""
    read_, said = answer.usage.prompt_tokens, answer.usage.completion_tokens
    return {"prompt_tokens": read_, "completion_tokens": said, "total_tokens": read_ + said}


def finish_reason(answer: Answer) -> str:
    """`length` when the answer used all the tokens it was given."""
    return "length" if answer.usage.completion_tokens >= answer.question.max_tokens else "stop"


def completion(station: Station, answer: Answer) -> dict[str, Any]:
    """A chat completion with `x_evidence`: the evidence object of the MQTT answers."""
    told = answer_payload(answer, station.cameras[answer.question.camera].epoch)
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(answer)}
    top = head(answer.question, answer.model or station.model_id, int(answer.answered_wall_s), "chat.completion")
    return {**top, "choices": [choice], "usage": usage_payload(answer), "x_evidence": told["evidence"]}


async def chunks(
    station: Station, ticket: desk.Ticket, pieces: AsyncIterator[Piece], *, include_usage: bool
) -> AsyncIterator[bytes]:
    """`data: {chunk}` events, the last with `x_evidence`, then `[DONE]`; an answer that breaks off ends in an error."""
    agent = station.cameras[ticket.question.camera]
    top = head(ticket.question, station.model_id, int(agent.clock.wall_s()), "chat.completion.chunk")
    always: dict[str, Any] = {"usage": None} if include_usage else {}

    def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return event({**top, "choices": [choice], **always, **more})

    yield chunk({"role": "assistant", "content": ""})
    async for piece in pieces:
        yield chunk({"content": piece.text})
    answer = await ticket.answer()
    if answer.status != "ok":
        yield event(openai_error(of_answer(answer)))
        return
    yield chunk({}, finish_reason(answer), x_evidence=answer_payload(answer, agent.epoch)["evidence"])
    if include_usage:
        yield event({**top, "choices": [], "usage": usage_payload(answer)})
    yield event("[DONE]")


def chat_routes(station: Station) -> APIRouter:
    """`/v1/models` and `/v1/chat/completions`."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])

    @router.get("/models", summary="The model, and one alias per camera")
    async def models() -> dict[str, Any]:
        """OpenAI's list."""
        return {"object": "list", "data": models_payload(station)}

    @router.get("/models/{model:path}", summary="One model")
    async def model(model: str) -> dict[str, Any]:
        """OpenAI's object; 404 `model_not_found`."""
        for told in models_payload(station):
            if told["id"] == model:
                return told
        raise Problem(404, "model_not_found", "There is no such model; GET /v1/models lists them.", param="model")

    @router.post(
        "/chat/completions", summary="Ask a camera", response_class=Response, openapi_extra=documented(ChatRequest)
    )
    async def chat(request: Request) -> Response:
        """As OpenAI's, plain or streamed, with `x_evidence`. The camera: `camera`, `camera://<id>`, or `model`."""
        asked = await read(request, ChatRequest)
        refuse_unheeded(asked)
        aim = aim_of(asked, station.cameras.keys(), station.model_id)
        ticket = await admit(station, desk_request(station, asked, aim))
        give_up = giving_up(ticket, None)
        try:
            if not asked.stream:
                return JSONResponse(completion(station, await whole(request, ticket, give_up)))
            pieces = await begun(request, ticket, give_up)
        except ClientGone:
            return Response(status_code=GONE)
        usage = asked.stream_options is not None and bool(asked.stream_options.include_usage)
        return Streaming(chunks(station, ticket, pieces, include_usage=usage), on_end=give_up)

    return router
