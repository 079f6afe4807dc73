"""Reading a JSON body without trusting it: strict JSON, an object, then a typed model."""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from stream.http.problems import Problem, of_validation

Model = TypeVar("Model", bound=BaseModel)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return told


def parse_json(raw: bytes) -> dict[str, Any]:
    """An object out of strict JSON: UTF-8, no NaN, no key twice, not nested without end. Raises `Problem` 400."""
    try:
        told = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except UnicodeDecodeError:
        raise Problem(400, "invalid_json", "The body is not UTF-8 text.") from None
    except RecursionError:
        raise Problem(400, "invalid_json", "The body is nested too deeply.") from None
    except json.JSONDecodeError as error:
        message = f"The body is not JSON: {error.msg} at character {error.pos}."
        raise Problem(400, "invalid_json", message) from None
    except ValueError as error:  # ours, from above, or a number with more digits than Python reads
        raise Problem(400, "invalid_json", f"The body is not acceptable JSON: {str(error)[:80]}.") from None
    if not isinstance(told, dict):
        raise Problem(400, "invalid_json", "The body must be a JSON object.")
    return told


def typed(model: type[Model], told: dict[str, Any]) -> Model:
    """`told` as a `model`. Raises `Problem` 400 naming the fields at fault."""
    try:
        return model.model_validate(told)
    except ValidationError as error:
        raise of_validation(error) from None


async def read(request: Request, model: type[Model]) -> Model:
    """The JSON body as a `model`. Its size was limited before (`limits.Limits`). Raises `Problem`.

    The media type is required: a page of another site can post a form or plain text here without being asked, not JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "unsupported_media_type", "Send the body as application/json.")
    try:
        raw = await request.body()
    except ClientDisconnect:
        raise Problem(400, "incomplete_body", "The body ended before it was complete.") from None
    return typed(model, parse_json(raw))


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """What `/openapi.json` says about a body that `read` takes."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema = _inlined(schema, schema.pop("$defs", {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    """References replaced by what they name: these models are small and none holds itself."""
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    name = str(node.get("$ref", "")).rpartition("/")[2]
    if name in definitions:
        return _inlined(definitions[name], definitions)
    return {key: _inlined(value, definitions) for key, value in node.items()}
