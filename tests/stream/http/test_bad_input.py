"""Bodies that are no JSON, or JSON that nobody means: each a clear 4xx in the right envelope, and nothing asked."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
import pytest

from tests.stream.http.conftest import House

pytestmark = pytest.mark.asyncio(loop_scope="module")
JSON = {"Content-Type": "application/json"}
MESSAGE = b'"messages": [{"role": "user", "content": "x"}]'

FRONT = b'{"model": "front", '
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Bad:
    """A body that is refused, and how."""

    name: str
    body: bytes
    status: int
    code: str
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


def says(content: bytes) -> bytes:
    return FRONT + b'"messages": [{"role": "user", "content": ' + content + b"}]}"


CASES = [
    Bad("empty", b"", 400, "invalid_json"),
    Bad("random", bytes(range(256)), 400, "invalid_json"),
    Bad("not utf-8", b'{"model": "\xff"}', 400, "invalid_json"),
    Bad("half", b'{"model": "front"', 400, "invalid_json"),
    Bad("array", b"[]", 400, "invalid_json"),
    Bad("number", b"7", 400, "invalid_json"),
    Bad("deep", b'{"messages": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400, "invalid_json"),
    Bad("deep objects", b'{"a": ' * 20_000 + b"1" + b"}" * 20_000, 400, "invalid_json"),
    Bad("nan", FRONT + b'"temperature": NaN, ' + MESSAGE + b"}", 400, "invalid_json"),
    Bad("infinity", FRONT + b'"temperature": -Infinity, ' + MESSAGE + b"}", 400, "invalid_json"),
    Bad("huge float", FRONT + b'"temperature": 1e999, ' + MESSAGE + b"}", 400, "invalid_request"),
    Bad("huge int", FRONT + b'"max_tokens": ' + b"9" * 10_000 + b", " + MESSAGE + b"}", 400, "invalid_json"),
    Bad("duplicate", FRONT + b'"model": "back", ' + MESSAGE + b"}", 400, "invalid_json"),
    Bad("1 MB question", says(b'"' + b"x" * 1_000_000 + b'"'), 413, "question_too_long"),
    Bad("over the limit", b" " * (2 << 20), 413, "body_too_large"),
    Bad("form", b"model=front", 415, "unsupported_media_type", FORM),
    Bad("text", b"{}", 415, "unsupported_media_type", {"Content-Type": "text/plain"}),
    Bad("no type", b"{}", 415, "unsupported_media_type", {}),
    Bad("gzip bomb", gzip.compress(b" " * (64 << 20)), 415, "encoded_body", {**JSON, "Content-Encoding": "gzip"}),
    Bad("wrong role", FRONT + b'"messages": [{"role": "boss", "content": "x"}]}', 400, "invalid_request"),
    Bad("lone surrogate", says(rb'"\ud800"'), 400, ""),  # pydantic or the desk, whoever sees it first
    Bad("only zeros", says(rb'"\u0000"'), 400, "empty_question"),
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/cameras/front/ask"])
@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.name)
async def test_bad_bodies(calm_house: House, path: str, bad: Bad):
    openai, body = path.startswith("/v1"), bad.body
    if not openai:
        body = body.replace(b'"messages": [{"role": "user", "content": ', b'"question": ').replace(b"}]}", b"}")
    async with httpx.AsyncClient(base_url=calm_house.url, timeout=100) as http:
        reply = await http.post(path, content=body, headers=bad.headers)
    assert 400 <= reply.status_code < 500, reply.text[:300]
    told = reply.json()["error"] if openai else reply.json()
    if openai:
        assert reply.status_code == bad.status and bad.code in told["code"]
    assert told["code"] and (told.get("message") or told["detail"]).endswith(".")
    assert len(reply.text) < 1500 and "Traceback" not in reply.text  # never an echo of what was sent
    assert calm_house.station.desk.open_questions == 0
    assert await calm_house.station.journal.latest(5) == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/chat/completions", 405),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/api/v1/cameras/front", 405),
        ("GET", "/api/v1/cameras/..%2f..%2fetc", 404),
        ("GET", "/page/..%2fapp.py", 404),
        ("GET", "/page/%2e%2e/app.py", 404),
        ("GET", "/page/nothing.js", 404),
        ("GET", "/api/v1/questions?limit=0", 400),
        ("GET", "/api/v1/questions?limit=x", 400),
        ("GET", "/api/v1/events?after=-1", 400),
        ("GET", "/api/v1/cameras/front/snapshot.jpg?width=1e9", 400),
        ("GET", "/api/v1/cameras/front/live.mjpg?width=0", 400),
        ("GET", "/api/v1/cameras/front/thumbnail.jpg", 400),
        ("GET", "/api/v1/questions/" + "x" * 4000, 404),
    ],
)
async def test_bad_addresses(calm_house: House, method: str, path: str, status: int):
    reply = await calm_house.http.request(method, path)
    assert reply.status_code == status, reply.text
    told = reply.json()["error"] if path.startswith("/v1") else reply.json()
    assert told["code"] and len(reply.text) < 1500
