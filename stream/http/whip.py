"""WHIP in: `POST /whip/{camera}` makes an offer's sender the camera's publisher; `/publish` is a page that offers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from stream.http.problems import Problem
from stream.http.signalling import signalling_routes
from stream.sources.webrtc import WhipSession, WhipSource

if TYPE_CHECKING:
    from stream.station import Station

_PAGE = Path(__file__).parent / "page" / "publish.html"  # what it loads lies beside it, under /page/


def whip_routes(station: Station) -> APIRouter:
    """The WHIP endpoints of the station's cameras and the publish page."""
    router = APIRouter()
    station.meters.webrtc_sessions.labels("publisher").set_function(lambda: _sessions(station))

    @router.get("/publish", include_in_schema=False)
    def page() -> Response:
        return Response(_PAGE.read_bytes(), headers={"Cache-Control": "no-cache"}, media_type="text/html")

    @router.get("/whip", tags=["whip"], summary="Cameras that take a publisher")
    async def publishable() -> dict[str, list[dict[str, str]]]:
        """Cameras with `source: whip`, each with its state and the sentence behind it."""
        return {
            "cameras": [
                {"id": camera, "state": agent.source.state.state, "reason": agent.source.state.reason}
                for camera, agent in station.cameras.items()
                if isinstance(agent.source, WhipSource)
            ]
        }

    router.include_router(signalling_routes("whip", _Publishers(station)))
    return router


def _sessions(station: Station) -> int:
    """Publishers' sessions of all cameras, those that still connect included."""
    return sum(agent.source.sessions for agent in station.cameras.values() if isinstance(agent.source, WhipSource))


class _Publishers:
    """Hands offers to the sources of the cameras."""

    def __init__(self, station: Station) -> None:
        self._station = station

    def check(self, camera: str) -> None:
        self._source(camera)

    async def accept(self, _request: Request, camera: str, offer_sdp: str, /, *, loopback: bool) -> WhipSession:
        return await self._source(camera).accept(offer_sdp, loopback=loopback)

    async def hang_up(self, camera: str, session_id: str) -> bool:
        return await self._source(camera).hang_up(session_id)

    def knows(self, camera: str, session_id: str) -> bool:
        return self._source(camera).knows(session_id)

    def _source(self, camera: str) -> WhipSource:
        agent = self._station.cameras.get(camera)
        if agent is None:
            raise Problem(404, "unknown_camera", "There is no such camera.")
        if not isinstance(agent.source, WhipSource):
            message = "This camera has a source of its own; only one configured with `source: whip` takes a publisher."
            raise Problem(409, "not_publishable", message)
        return agent.source
