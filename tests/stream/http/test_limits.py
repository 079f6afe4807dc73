"""What is not let in: strangers' names, foreign pages, bodies without end, headers without end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request

from stream.http.limits import BODY_BYTES, SDP_BYTES, Limits, Rules, body_limit, host_allowed, host_name
from stream.http.protocol import GuardedProtocol
from stream.http.server import serving
from tests.patience import PATIENCE_S
from tests.stream.http.conftest import House, calm

RULES = Rules(frozenset({"cams.example"}), own_names=frozenset({"nas", "nas.local"}))
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("authority", "allowed"),
    [
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("192.168.1.20", True),
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("x.localhost", True),
        ("cams.example:443", True),
        ("cams.example.:443", True),
        ("nas.local", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("cams.example@evil.example", False),
        ("evil.example/localhost", False),
        ("", False),
        (":80", False),
        ("localhost:99999", False),
        ("[::1", False),
    ],
)
def test_names_that_are_answered_to(authority: str, allowed: bool):
    assert host_allowed(authority, RULES) is allowed


def test_host_name_is_bare():
    assert host_name("[::1]:80") == "::1" and host_name("A.b:1") == "a.b" and host_name("a b@c") is None


def test_sdp_has_a_limit_of_its_own():
    assert body_limit("/whip/front") == body_limit("/front/whep") == SDP_BYTES
    assert body_limit("/v1/chat/completions") == BODY_BYTES


async def raw(house: House, request: bytes) -> bytes:
    """The one response to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(request)
    try:
        async with asyncio.timeout(PATIENCE_S):
            top = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in top.lower().splitlines() if line.startswith(b"content-length:"))
            return top + await reader.readexactly(int(length.split(b":")[1]))
    finally:
        writer.close()


async def until_closed(house: House, request: bytes) -> bytes:
    """Everything that comes until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_S)
    finally:
        writer.close()


@calm
@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n", 421, "unknown_host"),
        (b"GET /healthz HTTP/1.0\r\n", 400, "bad_host"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 120, 431, "headers_too_large"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"b" * 40_000 + b"\r\n", 431, "headers_too_large"),
        (b"GET /healthz?" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n", 414, "address_too_long"),
        (CHAT + b"Origin: https://evil.example\r\nContent-Length: 2\r\n", 403, "foreign_origin"),
        (CHAT + b"Origin: null\r\nContent-Length: 2\r\n", 403, "foreign_origin"),
        (CHAT + b"Sec-Fetch-Site: cross-site\r\nContent-Length: 2\r\n", 403, "foreign_origin"),
        (CHAT + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n", 415, "encoded_body"),
        (CHAT + b"Content-Length: 1073741824\r\n", 413, "body_too_large"),
        (b"POST /whip/back HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n", 413, "body_too_large"),
    ],
)
async def test_refused_by_the_head_alone(calm_house: House, head: bytes, status: int, code: str):
    reply = await raw(calm_house, head + b"\r\n")
    top, _, body = reply.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 %d" % status), reply[:200]
    assert b"content-security-policy" in top.lower()
    told = json.loads(body)
    assert (told.get("code") or told["error"]["code"]) == code


@calm
async def test_two_hosts_are_refused(calm_house: House):
    two = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert (await until_closed(calm_house, two)).startswith(b"HTTP/1.1 400")


@calm
async def test_our_own_page_and_a_configured_site_may_post(calm_house: House):
    body = {"question": "What?"}
    for origin in (calm_house.url, f"https://localhost:{calm_house.port}", "https://friend.example"):
        headers = {"Origin": origin, "Accept": "application/json"}
        if "localhost" in origin:
            headers["Host"] = f"localhost:{calm_house.port}"  # as behind a proxy that speaks TLS
        reply = await calm_house.http.post("/api/v1/cameras/front/ask", json=body, headers=headers)
        assert reply.status_code == 200, reply.text
    assert reply.headers["access-control-allow-origin"] == "https://friend.example"
    plain = await calm_house.http.get("/api/v1/cameras", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in plain.headers


@calm
async def test_a_chunked_body_without_end_is_cut_at_the_limit(calm_house: House):
    sent = 0

    async def forever() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b" " * 65536

    headers = {"Content-Type": "application/json"}
    with pytest.raises((httpx.WriteError, httpx.ReadError)):  # this client would go on for ever, so it is cut off
        await calm_house.http.post("/v1/chat/completions", content=forever(), headers=headers)
    assert sent > BODY_BYTES
    assert (await calm_house.http.get("/healthz")).status_code == 200


@calm
async def test_a_long_body_is_refused_and_the_refusal_arrives(calm_house: House):
    async def long() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 65536

    for content in (b" " * 4 * BODY_BYTES, long()):
        headers = {"Content-Type": "application/json"}
        reply = await calm_house.http.post("/v1/chat/completions", content=content, headers=headers)
        assert reply.status_code == 413 and reply.json()["error"]["code"] == "body_too_large"


async def test_a_body_that_does_not_come_is_given_up():
    app = FastAPI()
    app.state.closing = asyncio.Event()

    @app.post("/")
    async def post(request: Request) -> int:
        return len(await request.body())

    app.add_middleware(Limits, rules=RULES, body_within_s=0.2)
    async with serving(app, "127.0.0.1:0") as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
        assert b"408" in await asyncio.wait_for(reader.readline(), PATIENCE_S)
        writer.close()


async def test_headers_that_do_not_come_are_given_up(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(GuardedProtocol, "headers_within_s", 0.2)
    assert await until_closed(house, b"GET /healthz HTTP/1.1\r\nHost: loc") == b""
    assert await until_closed(house, b"") == b""
    monkeypatch.setattr(GuardedProtocol, "headers_within_s", 3.0)  # from here on some headers do come, if slowly
    twice = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTT"
    assert (await until_closed(house, twice)).count(b"200 OK") == 1
    assert (await house.http.get("/healthz")).status_code == 200


@calm
async def test_every_response_has_the_security_headers(calm_house: House):
    for path in ("/", "/healthz", "/api/v1/cameras", "/nothing", "/v1/models", "/metrics"):
        headers = (await calm_house.http.get(path)).headers
        policy = headers["content-security-policy"]
        assert "script-src 'self';" in policy and "unsafe" not in policy and "frame-ancestors 'self'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin" and "server" not in headers


async def test_an_unexpected_error_is_a_bare_500(house: House, monkeypatch: pytest.MonkeyPatch):
    def broken() -> bytes:
        raise RuntimeError("rtsp://admin:canary-s3cret@192.0.2.1")

    monkeypatch.setattr(house.station.meters, "exposition", broken)
    reply = await house.http.get("/metrics")
    assert reply.status_code == 500 and reply.json()["code"] == "internal_error"
    assert "canary" not in reply.text and "Traceback" not in reply.text
