"""What a request must be before anything of it is kept: small, for us, and from a page we trust.

One ASGI middleware around the whole app: size of headers and body, time for the body, Host (against DNS rebinding: a
stranger's name that resolves to this machine), Origin (against pages of other sites posting here), and the security
headers of every response. It is also the last net: an unexpected exception leaves as a plain 500.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stream.http.problems import Problem, response_to

log = logging.getLogger(__name__)

BODY_BYTES = 1 << 20
SDP_BYTES = 128 << 10
BODY_WITHIN_S = 30.0
HEADER_BYTES = 32 << 10
HEADERS_AT_MOST = 100
TARGET_BYTES = 8 << 10
_SAFE = {"GET", "HEAD", "OPTIONS"}
_SDP_ROOTS = ("/whip", "/whep")


def _own_names() -> frozenset[str]:
    name = socket.gethostname().lower()
    return frozenset({name, f"{name.partition('.')[0]}.local"})


@dataclass(frozen=True)
class Rules:
    """Who may come in. `hosts` are names beside IP addresses and localhost; `origins` full origins of other sites."""

    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    frame_ancestors: tuple[str, ...] = ("'self'",)
    own_names: frozenset[str] = field(default_factory=_own_names)


def host_name(authority: str) -> str | None:
    """The host of `host[:port]`, lower case, without brackets; None when it is not one."""
    try:
        parts = urlsplit(f"//{authority}")
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        return None
    plain = port_fits and not (parts.username or parts.password or parts.path or parts.query or parts.fragment)
    return parts.hostname.rstrip(".") if plain and parts.hostname else None


def host_allowed(authority: str, rules: Rules) -> bool:
    """True for IP addresses, localhost, this machine's name and the configured names: no stranger can own those."""
    name = host_name(authority)
    if not name:
        return False
    if name == "localhost" or name.endswith(".localhost") or name in rules.hosts or name in rules.own_names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def origin_allowed(headers: Headers, rules: Rules) -> bool:
    """True when a request that changes something comes from our own page, an allowed site, or no browser at all."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    # The scheme is not compared: behind a TLS proxy the page is https and we are http.
    return origin in rules.origins or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def security_headers(rules: Rules) -> dict[str, str]:
    """Headers of every response. No inline script or style, nothing from elsewhere."""
    ours = "'self'"
    policy = {
        "default-src": "'none'",
        "script-src": ours,
        "style-src": ours,
        "img-src": f"{ours} blob: data:",
        "media-src": f"{ours} blob: mediastream:",
        "connect-src": ours,
        "manifest-src": ours,
        "base-uri": "'none'",
        "form-action": ours,
        "frame-ancestors": " ".join(rules.frame_ancestors) or "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def refusal(scope: Scope, headers: Headers, rules: Rules) -> Problem | None:
    """Why this request is not let in, judged by its head alone."""
    raw = scope["headers"]
    if len(raw) > HEADERS_AT_MOST or sum(len(name) + len(value) for name, value in raw) > HEADER_BYTES:
        return Problem(431, "headers_too_large", "The request's headers are too many or too long.")
    if len(scope.get("raw_path", b"")) + len(scope.get("query_string", b"")) > TARGET_BYTES:
        return Problem(414, "address_too_long", "The request's address is too long.")
    if len(headers.getlist("host")) != 1:
        return Problem(400, "bad_host", "A request needs exactly one Host header.")
    if not host_allowed(headers["host"], rules):
        message = "This server does not answer to that name. Use its address, or list the name in server.allowed_hosts."
        return Problem(421, "unknown_host", message)
    if scope["method"] not in _SAFE and not origin_allowed(headers, rules):
        message = "Pages of other sites may not do this. List the site in server.allowed_origins to let it."
        return Problem(403, "foreign_origin", message)
    if headers.get("content-encoding", "identity").lower() != "identity":
        return Problem(415, "encoded_body", "Send the body as it is, not compressed.")
    return _too_long(headers, body_limit(scope["path"]))


def body_limit(path: str) -> int:
    """Bytes that a body sent to `path` may have."""
    sdp = path.startswith(_SDP_ROOTS) or path.endswith(_SDP_ROOTS)
    return SDP_BYTES if sdp else BODY_BYTES


def _too_long(headers: Headers, limit: int) -> Problem | None:
    told = headers.get("content-length")
    if told is not None and int(told) > limit:  # h11 has checked that it is a number
        return _body_too_large(limit)
    return None


def _body_too_large(limit: int) -> Problem:
    message = f"The body is longer than {limit // 1024} KiB, the most this address takes."
    return Problem(413, "body_too_large", message)


class Limits:
    """The middleware. See the module."""

    def __init__(self, app: ASGIApp, rules: Rules, body_within_s: float = BODY_WITHIN_S) -> None:
        """`body_within_s`: time for a body to be complete from the first look at it."""
        self.app = app
        self.rules = rules
        self.body_within_s = body_within_s
        self.always = security_headers(rules)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in or refuse it. What still comes of a refused body is thrown away (`protocol`)."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        door = _Door(scope, receive, send, self)
        problem = refusal(scope, Headers(scope=scope), self.rules)
        if problem is not None:
            return await door.refuse(problem)
        try:
            await self.app(scope, door.receive, door.send)
        except Problem as told:  # from reading the body
            await door.refuse(told)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            await door.refuse(Problem(500, "internal_error", "Something went wrong here; the log has the details."))
        return None


class _Door:
    """One request's way in and out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self.scope = scope
        self.limits = limits
        self._receive = receive
        self._send = send
        self._left = body_limit(scope["path"])
        self._until = asyncio.get_running_loop().time() + limits.body_within_s
        self._body_over = False
        self._started = False

    async def receive(self) -> Message:
        """The next message; raises `Problem` when the body is too long or too slow."""
        if self._body_over:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise Problem(408, "body_too_slow", "The body did not arrive in time.") from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _body_too_large(body_limit(self.scope["path"]))
        self._body_over = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Out, with the headers that every response has."""
        if message["type"] == "http.response.start":
            self._started = True
            headers = MutableHeaders(scope=message)
            for name, value in self.limits.always.items():
                headers.setdefault(name, value)
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        """Say no, unless something was already said; then only ending badly is left."""
        if self._started:
            raise RuntimeError("a response broke off") from problem
        await response_to(self.scope["path"], problem)(self.scope, self._receive, self.send)


def rules_of(hosts: Iterable[str], origins: Iterable[str], frame_ancestors: Iterable[str], listen: str) -> Rules:
    """`Rules` from the `server` section; the name it listens on is always answered to."""
    own = host_name(listen.rpartition("@")[2])
    names = {host.lower() for host in hosts} | ({own} if own else set())
    return Rules(frozenset(names), frozenset(origins), tuple(frame_ancestors))
