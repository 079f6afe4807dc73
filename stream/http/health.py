"""Is it alive, is it ready, what does it count, what is it."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from stream.config import json_schema
from stream.meters import house_version
from stream.wire import rfc3339

if TYPE_CHECKING:
    from stream.config import Config
    from stream.station import Station


def components(station: Station, config: Config, *, closing: bool) -> dict[str, dict[str, Any]]:
    """What the service is made of: `ok`, `required` and a word or sentence for each part."""
    found: dict[str, dict[str, Any]] = {
        name: {"ok": part.ready, "required": part.required, "detail": part.detail}
        for name, part in station.readiness().items()
    }
    found["config"] = {"ok": True, "required": True, "detail": "valid"}
    found["server"] = {"ok": not closing, "required": True, "detail": "closing" if closing else "open"}
    if config.mqtt is not None:
        connected = bool(station.meters.registry.get_sample_value("longwatch_mqtt_connected"))
        found["broker"] = {"ok": connected, "required": False, "detail": "connected" if connected else "away"}
    for name, agent in station.cameras.items():
        state = agent.state
        detail = f"{state.state}: {state.reason}" if state.reason else state.state
        found[f"camera:{name}"] = {"ok": state.state == "online", "required": False, "detail": detail}
    return found


def health_routes(station: Station, config: Config) -> APIRouter:
    """`/healthz`, `/readyz`, `/metrics`, `/version`, `/api/config/schema.json`."""
    router = APIRouter(tags=["Service"])

    @router.get("/healthz", summary="Alive")
    async def healthz() -> dict[str, str]:
        """200 while the event loop answers; nothing else is looked at."""
        return {"status": "ok"}

    @router.get("/readyz", summary="Ready for questions")
    async def readyz(request: Request) -> JSONResponse:
        """200, or 503 when a required part is not ok; all parts are told either way."""
        parts = components(station, config, closing=request.app.state.closing.is_set())
        ready = all(part["ok"] for part in parts.values() if part["required"])
        return JSONResponse({"ready": ready, "components": parts}, 200 if ready else 503, {"Cache-Control": "no-store"})

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        """The text format. Labels are ids and fixed words only."""
        station.meters.events_dropped.set(station.events.dropped_total)
        station.meters.device_depth.set(station.device.depth)
        return Response(station.meters.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @router.get("/version", summary="What runs")
    async def version() -> dict[str, Any]:
        """Versions, the model, and since when."""
        return {
            "name": "longwatch",
            "version": house_version(),
            "python": platform.python_version(),
            "model": station.model_id,
            "started_at": rfc3339(station.started_wall_s),
        }

    @router.get("/api/config/schema.json", summary="JSON Schema of the configuration")
    async def schema() -> dict[str, Any]:
        """For editors: `# yaml-language-server: $schema=…`."""
        return json_schema()

    return router
