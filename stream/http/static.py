"""The files of the dashboard, from the package itself: no build step, nothing from elsewhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from stream.http.problems import Problem

PAGE = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_AT = {"/": "index.html", "/docs": "docs.html"}


@dataclass(frozen=True, slots=True)
class File:
    """One file, read once."""

    content: bytes
    media_type: str
    etag: str


def load(folder: Path = PAGE) -> dict[str, File]:
    """All files of the page by name. The names are the only ones served: no path is ever built from a request."""
    files: dict[str, File] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            files[path.name] = File(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:20]}"')
    return files


def page_routes() -> APIRouter:
    """`/`, `/docs` and `/page/{name}`."""
    router = APIRouter(include_in_schema=False)
    files = load()

    def send(request: Request, name: str) -> Response:
        file = files.get(name)
        if file is None:
            raise Problem(404, "not_found", "The page has no such file.")
        headers = {"ETag": file.etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers={**headers, "Content-Type": file.media_type})

    @router.api_route("/page/{name}", methods=["GET", "HEAD"])
    async def page(request: Request, name: str) -> Response:
        return send(request, name)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return send(request, _AT["/"])

    @router.api_route("/docs", methods=["GET", "HEAD"])
    async def docs(request: Request) -> Response:
        return send(request, _AT["/docs"])

    return router
