"""Cameras over HTTP: how they are, what they show now, what is remembered of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from stream.http.pictures import BOUNDARY, Pictures
from stream.http.problems import Problem
from stream.http.streaming import Streaming
from stream.redact import redact
from stream.wire import holdings_payload, rfc3339, state_payload, tick_payload, wall_of

if TYPE_CHECKING:
    from stream.agent import Agent
    from stream.config import Config
    from stream.flow import Frame
    from stream.station import Station

JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}
CameraId = Annotated[str, Path(description="The camera's id.", max_length=64)]
Width = Annotated[int | None, Query(description="Pixels; rounded up to a few steps.", ge=16, le=7680)]


def agent_of(station: Station, camera: str) -> Agent:
    """The agent of a camera. Raises `Problem` 404 that names the cameras there are."""
    agent = station.cameras.get(camera)
    if agent is None:
        known = ", ".join(sorted(station.cameras)[:20])
        raise Problem(404, "camera_not_found", f"There is no camera of this id. There is: {known}.", param="camera")
    return agent


def frame_age_s(agent: Agent, frame: Frame) -> float:
    """Seconds since a frame arrived."""
    return max(0.0, agent.clock.now_s() - frame.arrived_s)


def frame_headers(agent: Agent, frame: Frame) -> dict[str, str]:
    """When a picture was taken and how old it is."""
    return {
        "X-Frame-Timestamp": rfc3339(agent.epoch.wall(frame.time_s)),
        "X-Frame-Age-Ms": str(round(1000 * frame_age_s(agent, frame))),
        "Cache-Control": "no-store",
    }


def camera_payload(agent: Agent, config: Config) -> dict[str, Any]:
    """A camera as JSON; credentials of its source are masked."""
    section = config.cameras.get(agent.camera)
    return {
        "id": agent.camera,
        "name": (section.name if section else None) or agent.camera,
        "source": redact(section.source) if section else None,
        "status": state_payload(agent.state),
        "picture": _picture_payload(agent),
        "last_second": tick_payload(agent.ticks[-1]) if agent.ticks else None,
    }


def _picture_payload(agent: Agent) -> dict[str, Any] | None:
    frame = agent.latest
    if frame is None:
        return None
    height, width = frame.rgb.shape[:2]
    at, age_ms = rfc3339(agent.epoch.wall(frame.time_s)), round(1000 * frame_age_s(agent, frame))
    return {"at": at, "age_ms": age_ms, "width": width, "height": height}


def camera_routes(station: Station, config: Config) -> APIRouter:
    """`/api/v1/cameras` and all below a camera but its questions."""
    router = APIRouter(prefix="/api/v1/cameras", tags=["Cameras"])
    pictures = Pictures()

    @router.get("", summary="All cameras")
    async def cameras() -> dict[str, Any]:
        """Each camera with its state, its newest picture's age and its last second."""
        told = [camera_payload(agent, config) for agent in station.cameras.values()]
        return {"cameras": told, "stale_after_ms": config.questions.max_age_ms}

    @router.get("/{camera}", summary="One camera")
    async def one(camera: CameraId) -> dict[str, Any]:
        """State, newest picture's age, last second."""
        return camera_payload(agent_of(station, camera), config)

    @router.get("/{camera}/snapshot.jpg", summary="The newest picture", response_class=Response, responses=JPEG)
    async def snapshot(camera: CameraId, width: Width = None) -> Response:
        """JPEG with `X-Frame-Timestamp` and `X-Frame-Age-Ms`; 503 when it is older than `questions.max_age_ms`."""
        agent = agent_of(station, camera)
        frame, jpeg = await pictures.newest(agent, width)
        age_s = frame_age_s(agent, frame)
        if age_s > max(config.questions.max_age_ms / 1000, agent.patience_s):  # the desk's own rule
            message = f"The newest picture is {age_s:.0f} s old; the camera is {agent.state.state}."
            raise Problem(503, "stale", message, retry_after_s=5, headers=frame_headers(agent, frame))
        return Response(jpeg, headers=frame_headers(agent, frame), media_type="image/jpeg")

    @router.get("/{camera}/live.mjpg", summary="Live pictures (motion JPEG)", response_class=Response)
    async def live(request: Request, camera: CameraId, width: Width = 960) -> Response:
        """multipart/x-mixed-replace, for browsers without WebRTC; 503 when too many watch."""
        agent = agent_of(station, camera)
        pictures.check_room()
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        parts = pictures.parts(agent, width)
        return Streaming(parts, media_type=kind, keepalive=None, until=request.app.state.closing)

    @router.get("/{camera}/thumbnail.jpg", summary="A picture of the past", response_class=Response, responses=JPEG)
    async def thumbnail(
        camera: CameraId,
        time: Annotated[str, Query(description="RFC 3339, for example 2026-01-31T12:00:00Z.", max_length=64)],
        within_s: Annotated[float, Query(ge=0, le=1e9, description="How far off it may be, s.")] = 60.0,
    ) -> Response:
        """The kept picture nearest to a time, as JPEG with `X-Frame-Timestamp`; 404 when none is near."""
        agent = agent_of(station, camera)
        wanted_s = agent.epoch.media(moment(time))
        found = agent.album.jpeg(wanted_s)
        if found is None or abs(found[1] - wanted_s) > within_s:
            raise Problem(404, "no_picture", "No picture of this moment is kept.")
        stamp = rfc3339(agent.epoch.wall(found[1]))
        headers = {"X-Frame-Timestamp": stamp, "Cache-Control": "private, max-age=300"}
        return Response(found[0], headers=headers, media_type="image/jpeg")

    @router.get("/{camera}/memory", summary="What is remembered")
    async def memory(camera: CameraId) -> dict[str, Any]:
        """Blocks with their state and reason, tokens and bytes against the budget; at most a few seconds old."""
        agent = agent_of(station, camera)
        held = agent.held or await agent.holdings()
        return {"camera": camera, **holdings_payload(held, agent.epoch)}

    return router


def moment(stamp: str, param: str = "time") -> float:
    """Unix seconds of an RFC 3339 time. Raises `Problem` 400."""
    try:
        return wall_of(stamp)
    except ValueError:
        message = f"{param} must be an RFC 3339 time with a zone, for example 2026-01-31T12:00:00Z."
        raise Problem(400, "bad_time", message, param=param) from None
