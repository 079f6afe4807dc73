"""The log: lines on stderr, credentials masked, as text for people or JSON for collectors."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Literal

from stream.redact import RedactingFilter, redact

# Each says every packet, request or layer it handles; their warnings still come through.
_TALKATIVE = (
    "uvicorn",
    "uvicorn.error",
    "httpx",
    "httpcore",
    "aioice",
    "aiortc",
    "libav",
    "transformers",
    "huggingface_hub",
    "asyncio",
)


class JsonLines(logging.Formatter):
    """One JSON object per record."""

    def format(self, record: logging.LogRecord) -> str:
        """`at`, `level`, `from`, `text`, and `trace` where there is one."""
        words = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "text": record.getMessage(),
        }
        trace = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        if trace:
            words["trace"] = redact(trace)
        return json.dumps(words, ensure_ascii=False)


def start_log(level: str, form: Literal["text", "json"] = "text") -> None:
    """Everything of this process goes through one handler."""
    handler = logging.StreamHandler()
    handler.addFilter(RedactingFilter())
    lines = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonLines() if form == "json" else lines)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
