"""One way to say no: a real status, a code for programs and a sentence for people.

Under `/v1/` the body is OpenAI's error envelope, so that its clients raise their own exceptions; everywhere else it
is problem+json (RFC 9457). Neither ever carries a traceback or echoes what was sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from stream.device import DeviceClosed
from stream.journal import JournalError
from stream.redact import redact

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_CODES = {404: "not_found", 405: "method_not_allowed"}
_SENTENCES = {
    404: "There is nothing at this address; see /docs for the routes.",
    405: "This address does not take that method; see /docs for the routes.",
}


class Problem(Exception):
    """A request that cannot be served. Raise it anywhere below a route."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`status` HTTP status, `param` the field at fault, `retry_after_s` seconds until a retry may help."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = redact(message)
        self.param = param
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))


def openai_error(problem: Problem) -> dict[str, Any]:
    """OpenAI's envelope: `{"error": {message, type, param, code}}`."""
    fallback = "server_error" if problem.status >= 500 else "invalid_request_error"
    kind = _OPENAI_TYPES.get(problem.status, fallback)
    return {"error": {"message": problem.message, "type": kind, "param": problem.param, "code": problem.code}}


def problem_json(problem: Problem) -> dict[str, Any]:
    """RFC 9457 with `code` as extension member."""
    body = {"type": "about:blank", "title": HTTPStatus(problem.status).phrase, "status": problem.status}
    body |= {"detail": problem.message, "code": problem.code}
    return body | ({"param": problem.param} if problem.param else {})


def response_to(path: str, problem: Problem) -> Response:
    """The answer to a request for `path` that met `problem`."""
    openai = path.startswith("/v1/")
    body = openai_error(problem) if openai else problem_json(problem)
    kind = "application/json" if openai else "application/problem+json"
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(json.dumps(body), problem.status, headers, media_type=kind)


def of_validation(error: ValidationError | RequestValidationError) -> Problem:
    """What is wrong with a body or a query, without repeating what was sent."""
    faults = error.errors()
    names = [".".join(str(part) for part in fault["loc"] if part not in ("body", "query")) for fault in faults]
    told = "; ".join(f"{name or 'body'}: {fault['msg']}" for name, fault in zip(names[:4], faults[:4], strict=True))
    more = f" (and {len(faults) - 4} more)" if len(faults) > 4 else ""
    return Problem(400, "invalid_request", f"{told}{more}.", param=names[0] or None)


def of_http(error: HTTPException) -> Problem:
    """A plain 404 or 405 of the router, in our words."""
    said = _SENTENCES.get(error.status_code, str(error.detail))
    code = _CODES.get(error.status_code, "http_error")
    return Problem(error.status_code, code, said, headers=error.headers)


def install(app: FastAPI) -> None:
    """Every error of the app leaves through `response_to`. Unexpected ones are caught by `limits.Limits`."""

    async def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return response_to(request.url.path, error)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return response_to(request.url.path, of_http(error))

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return response_to(request.url.path, of_validation(error))

    async def away(request: Request, error: Exception) -> Response:
        told = str(error) if isinstance(error, JournalError) else "Longwatch is shutting down."
        return response_to(request.url.path, Problem(503, "unavailable", told, retry_after_s=10))

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(JournalError, away)
    app.add_exception_handler(DeviceClosed, away)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, validation)
