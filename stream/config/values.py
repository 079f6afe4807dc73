"""What every section is made of: itself, and values that people write otherwise than programs want them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_SIZE = re.compile(r"(?i)\s*(\d+(?:\.\d+)?)\s*(b|kb|kib|mb|mib|gb|gib|tb|tib)?\s*")
_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
SECRET_FILE_LIMIT = 64 * 1024  # bytes; a secret is short, and whatever is longer is another file


def parse_bytes(value: object) -> int:
    """`256MiB`, `1.5 GB` or a plain number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError("a size cannot be negative")
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("write a size such as 256MiB, 1.5GB or a number of bytes")
    return int(float(match[1]) * _UNITS[(match[2] or "b").lower()])


Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE.pattern[4:]}]}),
]

Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Section(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def parse_address(value: str) -> tuple[str, int]:
    """`127.0.0.1:8080`, `[::1]:8080`, `localhost:0` to host and port."""
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("write host:port, for example 127.0.0.1:8080")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    if ":" in host:
        raise ValueError("an IPv6 address stands in brackets, for example [::1]:8080")
    return host, int(port)


def read_secret(path: Path) -> str:
    """The content of a secret's file without the line end. Raises `ValueError` with a sentence."""
    try:
        with path.open("rb") as file:
            raw = file.read(SECRET_FILE_LIMIT + 1)
    except OSError as error:
        raise ValueError(f"the secret file {path} cannot be read: {error.strerror}") from error
    if len(raw) > SECRET_FILE_LIMIT:
        raise ValueError(f"the secret file {path} is longer than {SECRET_FILE_LIMIT} bytes; is it the right one?")
    try:
        secret = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"the secret file {path} is not UTF-8 text") from error
    if not secret:
        raise ValueError(f"the secret file {path} is empty")
    return secret
