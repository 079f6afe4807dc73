"""What WHIP (RFC 9725) and WHEP share: an offer is posted, a session is made, a session is deleted.

All our candidates stand in the answer and ICE is not restarted, so PATCH is 405. GET tells nothing (204). Errors are
problem+json. Which other sites may call is decided for all routes together in `app.py`.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response

from stream.http.problems import Problem
from stream.offers import OFFER_BYTES, OfferRefused

SDP = "application/sdp"
_RESPONSES: dict[int | str, dict[str, Any]] = {
    201: {"description": "A session; Location names it, the body is the SDP answer.", "content": {SDP: {}}},
    400: {"description": "The body is no SDP offer."},
    404: {"description": "There is no such camera."},
    409: {"description": "The camera cannot take this session now."},
    413: {"description": "The offer is too large."},
    415: {"description": f"The body is not {SDP}."},
    422: {"description": "The offer cannot be answered: wrong tracks, directions or codecs."},
    429: {"description": "Too many offers; see Retry-After."},
    503: {"description": "Too many sessions; see Retry-After."},
}
_SESSION_ALLOWS = "DELETE, GET, HEAD, OPTIONS"
_BODY = {"requestBody": {"required": True, "content": {SDP: {"schema": {"type": "string"}}}}}


class Session(Protocol):
    """A session that an offer led to."""

    @property
    def id(self) -> str:
        """Unguessable name."""

    @property
    def answer_sdp(self) -> str:
        """For the peer."""

    @property
    def etag(self) -> str:
        """Entity tag, quotes included."""


class Switchboard(Protocol):
    """Who makes and ends the sessions of one kind. Methods raise `Problem` 404 for an unknown camera."""

    def check(self, camera: str) -> None:
        """Raises `Problem` when this camera takes no sessions of this kind."""

    async def accept(self, request: Request, camera: str, offer_sdp: str, /, *, loopback: bool) -> Session:
        """Raises `OfferRefused`."""

    async def hang_up(self, camera: str, session_id: str) -> bool:
        """False: never heard of it."""

    def knows(self, camera: str, session_id: str) -> bool:
        """Whether it lives."""


def signalling_routes(kind: str, board: Switchboard) -> APIRouter:
    """`/{kind}/{camera}`, its alias `/{camera}/{kind}`, and `/{kind}/{camera}/{session}`."""
    router = APIRouter(tags=[kind])

    async def offer(request: Request, camera: str) -> Response:
        board.check(camera)
        text = await _read_offer(request)
        try:
            session = await board.accept(request, camera, text, loopback=_is_local(request))
        except OfferRefused as refused:
            raise Problem(
                refused.status, refused.code, refused.message, retry_after_s=refused.retry_after_s
            ) from refused
        root = request.scope.get("root_path", "")
        headers = {
            "Location": f"{root}/{kind}/{camera}/{session.id}",
            "ETag": session.etag,
            "Cache-Control": "no-store",
        }
        return Response(session.answer_sdp, 201, headers, media_type=SDP)

    async def nothing(camera: str) -> Response:
        board.check(camera)
        return Response(None, 204)

    async def endpoint_options(camera: str) -> Response:
        board.check(camera)
        return Response(None, 204, {"Allow": "GET, HEAD, OPTIONS, POST", "Accept-Post": SDP})

    async def session_nothing(camera: str, session: str) -> Response:
        _check_session(board, camera, session)
        return Response(None, 204)

    async def session_options() -> Response:
        return Response(None, 204, {"Allow": _SESSION_ALLOWS})

    async def session_delete(camera: str, session: str) -> Response:
        board.check(camera)
        if not await board.hang_up(camera, session):
            raise _no_session()
        return Response(None, 200)

    async def session_patch(camera: str, session: str) -> Response:
        _check_session(board, camera, session)
        message = "All candidates belong in the offer, and ICE is not restarted here: post a new offer instead."
        raise Problem(405, "no_trickle", message, headers={"Allow": _SESSION_ALLOWS})

    for path, shown in ((f"/{kind}/{{camera}}", True), (f"/{{camera}}/{kind}", False)):
        router.add_api_route(
            path, offer, methods=["POST"], status_code=201, responses=_RESPONSES, openapi_extra=_BODY,
            response_class=Response, include_in_schema=shown, name=f"{kind} offer", summary=f"{kind.upper()} offer",
        )  # fmt: skip
        router.add_api_route(path, nothing, methods=["GET", "HEAD"], status_code=204, include_in_schema=False)
        router.add_api_route(path, endpoint_options, methods=["OPTIONS"], status_code=204, include_in_schema=False)
    path = f"/{kind}/{{camera}}/{{session}}"
    router.add_api_route(
        path, session_delete, methods=["DELETE"], name=f"{kind} end", summary=f"End a {kind.upper()} session",
        response_class=Response, responses={404: {"description": "There is no such session."}},
    )  # fmt: skip
    router.add_api_route(path, session_nothing, methods=["GET", "HEAD"], status_code=204, include_in_schema=False)
    router.add_api_route(path, session_options, methods=["OPTIONS"], status_code=204, include_in_schema=False)
    router.add_api_route(path, session_patch, methods=["PATCH"], include_in_schema=False)
    return router


async def _read_offer(request: Request) -> str:
    """The body, limited while it is read. Raises `Problem` 400, 413, 415."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != SDP:
        raise Problem(415, "unsupported_media_type", f"Send the offer as {SDP}.", headers={"Accept-Post": SDP})
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > OFFER_BYTES:
            raise Problem(413, "offer_too_large", f"An SDP offer may have {OFFER_BYTES // 1024} KiB.")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "not_an_offer", "The offer is not UTF-8 text.") from None


def _is_local(request: Request) -> bool:
    """Whether the peer itself is on this machine; a proxy on this machine says for whom it asks."""
    if request.client is None or {"forwarded", "x-forwarded-for", "via"} & set(request.headers.keys()):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _check_session(board: Switchboard, camera: str, session: str) -> None:
    board.check(camera)
    if not board.knows(camera, session):
        raise _no_session()


def _no_session() -> Problem:
    return Problem(404, "unknown_session", "There is no such session; it may have ended.")
