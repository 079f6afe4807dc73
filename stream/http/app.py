"""All routes under one roof, with the limits around them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from stream.http import problems
from stream.http.cameras import camera_routes
from stream.http.chat import chat_routes
from stream.http.events import event_routes
from stream.http.health import health_routes
from stream.http.limits import Limits, rules_of
from stream.http.questions import question_routes
from stream.http.static import page_routes
from stream.http.whep import whep_routes
from stream.http.whip import whip_routes
from stream.meters import house_version

if TYPE_CHECKING:
    from stream.config import Config
    from stream.station import Station

_ABOUT = "Ask live cameras what they see and saw. The OpenAI client works against `/v1`; name a camera as the model."


def make_app(station: Station, config: Config) -> FastAPI:
    """The web side of a station. `app.state.closing` is set when the server is about to end: streams end then."""
    app = FastAPI(title="Longwatch", version=house_version(), description=_ABOUT, docs_url=None, redoc_url=None)
    app.state.closing = asyncio.Event()
    problems.install(app)
    server = config.server
    for router in (
        page_routes(),
        health_routes(station, config),
        chat_routes(station),
        camera_routes(station, config),
        question_routes(station),
        event_routes(station),
        whip_routes(station),
        whep_routes(station),
    ):
        app.include_router(router)
    if server.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=server.allowed_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "Last-Event-ID"],
            expose_headers=["Location", "ETag", "Accept-Post", "Retry-After", "X-Frame-Timestamp", "X-Frame-Age-Ms"],
        )
    rules = rules_of(server.allowed_hosts, server.allowed_origins, server.frame_ancestors, server.host)
    app.add_middleware(Limits, rules=rules)
    return app
