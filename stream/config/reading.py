"""A configuration file to a `Config`, or to the list of everything that is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stream.config.document import Document, Place, read_document
from stream.config.schema import Config
from stream.redact import redact, register_secret, secrets_in

SIZE_LIMIT = 1024 * 1024  # bytes; checked before reading
MOST_PROBLEMS = 50  # shown at once


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, and a sentence that says what to do."""

    line: int  # from 1
    key: str  # dotted, for example cameras.front.fps; empty: the whole file
    message: str


class ConfigError(ValueError):
    """All problems of a file, in the order of its lines; credentials are masked."""

    def __init__(self, name: str, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line)[:MOST_PROBLEMS])
        lines = [f"{name}:{p.line}: {p.key + ': ' if p.key else ''}{p.message}" for p in self.problems]
        if len(problems) > MOST_PROBLEMS:
            lines.append(f"{name}: … and {len(problems) - MOST_PROBLEMS} more")
        super().__init__(redact("\n".join(lines)))


def load(path: Path | str, environment: Mapping[str, str] | None = None) -> Config:
    """Read and check a file. Raises `ConfigError` with everything that is wrong with it."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(str(path), [Problem(1, "", f"cannot be read: {error.strerror}")]) from error
    if len(raw) > SIZE_LIMIT:
        raise ConfigError(str(path), [Problem(1, "", f"is larger than {SIZE_LIMIT} bytes; is it the right file?")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(str(path), [Problem(line, "", "is not UTF-8 text")]) from error
    return parse(text, str(path), environment)


def parse(text: str, name: str = "config", environment: Mapping[str, str] | None = None) -> Config:
    """Check a text as `load` checks a file; `name` leads the lines of its errors."""
    document = read_document(text, environment)
    problems = [Problem(document.line(place), _dotted(place), text) for place, text in document.problems]
    if document.data is None:
        raise ConfigError(name, problems or [Problem(1, "", "the file is empty; at least `cameras:` is needed")])
    _register_secrets(document.data)
    config: Config | None = None
    try:
        config = Config.model_validate(document.data)
    except ValidationError as error:
        # A place that is wrong already (an unset variable, say) would only be named twice.
        known = {place for place, _ in document.problems}
        details = error.errors(include_url=False, include_input=False, include_context=True)
        problems += [_problem(detail, document) for detail in details if _place(detail) not in known]
    if config is None or problems:
        raise ConfigError(name, problems)
    return config


def json_schema() -> dict[str, Any]:
    """JSON Schema of the file, for editors and `/api/config/schema.json`."""
    return Config.model_json_schema()


def _place(detail: ErrorDetails) -> Place:
    return tuple(part for part in detail["loc"] if part != "[key]")


def _problem(detail: ErrorDetails, document: Document) -> Problem:
    place = _place(detail)
    if detail["type"] == "extra_forbidden":
        message = _unknown_key(place)
    elif detail["type"] == "missing":
        message = f"{place[-1]!r} is missing"
    elif detail["type"] in ("model_type", "dict_type"):
        message = "keys and values belong here, one per line, indented"
    else:
        message = detail["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
    return Problem(document.line(place), _dotted(place), message)


def _unknown_key(place: Place) -> str:
    key = str(place[-1])
    keys = _keys_at(place[:-1])
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(keys)}"
    return f"unknown key {key!r}; {hint}"


def _keys_at(place: Place) -> list[str]:
    """The keys that are known at a place of the file."""
    kind: Any = Config
    for part in place:
        sections = list(_sections(kind.model_fields[part].annotation)) if part in kind.model_fields else []
        kind = sections[0] if sections else kind
    return list(kind.model_fields)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The section classes inside an annotation: of `MqttConfig | None`, of `dict[str, CameraConfig]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections(argument)


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)


def _register_secrets(data: object) -> None:
    """Before anything can fail: what looks like a password in this file must not reach a log."""
    if isinstance(data, dict):
        for key, value in data.items():
            if "password" in key and not key.endswith("_file") and value is not None:
                register_secret(str(value))
            _register_secrets(value)
    elif isinstance(data, list):
        for value in data:
            _register_secrets(value)
    elif isinstance(data, str) and "://" in data:
        for secret in secrets_in(data):
            register_secret(secret)
        try:
            password = urlsplit(data).password
        except ValueError:  # not a URL after all; whoever opens it will say so
            return
        if password:
            register_secret(password)
            register_secret(unquote(password))
