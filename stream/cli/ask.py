"""`ask`: a question to a running service; its words as they come, then what they rest on."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import httpx

from stream.cli import evidence
from stream.cli.console import Console, Trouble, harmless
from stream.redact import redact

SERVER = "http://127.0.0.1:8080"
LARGEST_EVENT_BYTES = 4 << 20


async def ask(
    console: Console,
    server: str,
    camera: str,
    question: str,
    *,
    since_s: float | None = None,
    timeout_s: float | None = None,
    as_json: bool = False,
) -> int:
    """Ask and print; 0 when there was an answer, 1 when its status says why not."""
    asked: dict[str, Any] = {"question": question, "source": "cli"}
    asked |= {"window_s": since_s} if since_s is not None else {}
    asked |= {"timeout_s": timeout_s} if timeout_s is not None else {}
    spoke = False

    def speak(words: str) -> None:
        nonlocal spoke
        spoke = True
        console.words(words)

    answer = await hear(server, camera, asked, (lambda _: None) if as_json else speak)
    if as_json:
        console.say(json.dumps(answer, ensure_ascii=False))
    else:
        show(console, answer, spoke=spoke)
    return 0 if answer.get("status") == "ok" else 1


async def hear(server: str, camera: str, asked: dict[str, Any], speak: Callable[[str], None]) -> dict[str, Any]:
    """Ask, hand on the words as they come, and give back the answer. Raises `Trouble` when there is none."""
    async with aclosing(exchange(server, camera, asked)) as events:
        async for kind, data in events:
            if kind == "piece":
                speak(str(data.get("text", "")))
            elif kind == "answer":
                return data
            elif kind == "error":
                if isinstance(data.get("answer"), dict):
                    return dict(data["answer"])
                raise Trouble(said(data) or "the service could not answer")
    raise Trouble("the service hung up before the answer was there; is it shutting down?")


def show(console: Console, answer: dict[str, Any], *, spoke: bool) -> None:
    """The end of an answer: its words unless they were spoken already, its status, its evidence."""
    if answer.get("status") == "ok":
        console.say("" if spoke else harmless(str(answer.get("answer") or "")))
    else:
        if spoke:
            console.say()
        console.fail(f"no answer ({answer.get('status')}): {said(answer.get('error') or {}) or 'no reason was given'}")
    for line in evidence.lines(answer):
        console.note(line)


def said(problem: Any) -> str:
    """The sentence of a problem+json body, of an error envelope, or of an answer's error."""
    if isinstance(problem, dict):
        inner = problem.get("error", problem)
        for key in ("detail", "message", "title"):
            if isinstance(inner, dict) and isinstance(inner.get(key), str):
                return str(inner[key])
    return ""


async def exchange(server: str, camera: str, asked: dict[str, Any]) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    """Post a question; gives (event, data) pairs. Raises `Trouble` when the service is not there or refuses."""
    url = f"{server.rstrip('/')}/api/v1/cameras/{quote(camera, safe='')}/ask"
    limits = httpx.Timeout(10.0, read=None)  # the service sends keep-alives and has a deadline of its own
    try:
        async with (
            httpx.AsyncClient(timeout=limits, trust_env=False) as http,
            http.stream("POST", url, json=asked, headers={"Accept": "text/event-stream"}) as reply,
        ):
            if reply.status_code != 200:
                raise Trouble(await _refusal(reply))
            async for event in _events(reply):
                yield event
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Trouble(
            f"nothing answers at {redact(server)}. Start the service (make demo, or longwatch serve --config FILE), "
            "or say where it is with --server."
        ) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Trouble(f"--server {redact(server)} is no address; write for example {SERVER}") from error
    except httpx.HTTPError as error:
        raise Trouble(f"the connection to {redact(server)} broke: {redact(error) or type(error).__name__}") from error


async def _refusal(reply: httpx.Response) -> str:
    body = bytearray()
    async for chunk in reply.aiter_bytes():
        body += chunk
        if len(body) > 64 << 10:
            break
    try:
        sentence = said(json.loads(body))
    except ValueError:
        sentence = ""
    return sentence or f"the service answered with status {reply.status_code}"


async def _events(reply: httpx.Response) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    """Server-sent events of a body; comments are keep-alives."""
    kind, data = "message", ""
    async for line in reply.aiter_lines():
        if line.startswith("event:"):
            kind = line[6:].strip()
        elif line.startswith("data:"):
            data += line[5:].strip()
            if len(data) > LARGEST_EVENT_BYTES:
                raise Trouble("the service sent an event without end; is there a Longwatch at this address?")
        elif not line and data:
            try:
                yield kind, json.loads(data)
            except ValueError as error:
                raise Trouble("the service sent an event that is not JSON; is there a Longwatch there?") from error
            kind, data = "message", ""
