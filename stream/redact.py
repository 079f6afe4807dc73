"""Keeps secrets out of everything a person or a program can read: logs, errors, metrics, payloads.

Two nets, because each misses what the other holds. `redact` knows the shapes in which credentials travel (user info
of a URL, telling query keys, authorization headers); `register_secret` names values that must never appear anywhere,
whatever their shape. libav writes the full URL with user and password into every exception text, so nothing that
comes from it is shown before it has passed here.
"""

from __future__ import annotations

import logging
import re
import threading
import traceback
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote

MASK = "***"
SHORTEST_SECRET = 4  # letters; masking a shorter value everywhere would blank out ordinary words
MOST_SECRETS = 1024  # the oldest leaves first; a house has a few dozen

# Greedy to the last @ of the word: a raw password may itself hold @, / or ?, and hiding too much costs nothing.
_USER_INFO = re.compile(r"(?<=://)\S*@")
_KEYS = (  # bounded: what strangers send comes through here too, and must not cost its length squared
    r"(?:[\w.-]{0,64}(?:token|secret|passw\w*|pwd|passphrase|api[_-]?key|signature|credential|loginpas)[\w.-]{0,64}"
    r"|pass|psw|key|sig)"
)
_TELLING = r"(?:[\w.-]{0,64}auth[\w.-]{0,64}|user|usr|username|login|loginuse|" + _KEYS + ")"
_QUERY = re.compile(rf"(?i)([?&;]{_TELLING}=)[^&\s\"'<>#]+")
# Many recorders take user and password in the path: rtsp://host/user=admin_password=..._channel=1_stream=0.sdp. A
# value ends where the next key begins and not at any _, for a password may hold one. Only inside URLs, for our own
# sentences say `max_tokens=64`.
_URL = re.compile(r"://\S+")
_PATH_VALUE = r"(?:(?!_[A-Za-z0-9]+=)[^&/\s\"'<>#?])+"
_PATH = re.compile(rf"(?i)([/_]{_TELLING}=){_PATH_VALUE}")
_KEPT = re.compile(rf"(?i)(?:[?&;]{_KEYS}=([^&\s\"'<>#]+)|[/_]{_KEYS}=({_PATH_VALUE}))")
_HEADER = re.compile(r"(?i)\b(authorization\s*[:=]\s*)(?:(basic|digest|bearer)\s+)?[^\r\n]+")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")


class _Vault:
    """The values that must never be shown, and one pattern that finds them all. Any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: dict[str, None] = {}  # a dict keeps order, so that the bound can let the oldest go
        self.pattern: re.Pattern[str] | None = None

    def add(self, forms: set[str]) -> None:
        with self._lock:
            if forms <= self._secrets.keys():
                return
            self._secrets.update(dict.fromkeys(forms))
            while len(self._secrets) > MOST_SECRETS:
                del self._secrets[next(iter(self._secrets))]
            # Longest first: a secret that begins with another one must not be left half open.
            self.pattern = re.compile("|".join(re.escape(s) for s in sorted(self._secrets, key=len, reverse=True)))


_vault = _Vault()


def register_secret(secret: str) -> None:
    """Mask this value in every text from now on, also percent-encoded; shorter than four letters is left alone."""
    forms = {secret, unquote(secret), quote(secret, safe=""), quote(secret), quote_plus(secret)}
    _vault.add({form for form in forms if len(form.strip()) >= SHORTEST_SECRET})


def secrets_in(url: str) -> Iterator[str]:
    """The passwords, keys and tokens in a URL's path and query. No user names: `admin` is an ordinary word."""
    for found in _KEPT.finditer(url):
        yield found[1] or found[2]


def redact(text: object) -> str:
    """The text of anything (also an exception) with credentials replaced by `***`."""
    clean = str(text)
    pattern = _vault.pattern
    if pattern is not None:
        clean = pattern.sub(MASK, clean)
    clean = _USER_INFO.sub(f"{MASK}@", clean)
    clean = _QUERY.sub(rf"\g<1>{MASK}", clean)
    clean = _URL.sub(lambda url: _PATH.sub(rf"\g<1>{MASK}", url[0]), clean)
    clean = _HEADER.sub(rf"\g<1>{MASK}", clean)
    return _BEARER.sub(rf"\g<1> {MASK}", clean)


class RedactingFilter(logging.Filter):
    """Put on every handler: what passes has no credentials left in message, arguments or traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # arguments that do not fit: show what there is, never raise here
            message = f"{record.msg} {record.args}"
        record.msg, record.args = redact(message), None
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = redact("".join(traceback.format_exception(record.exc_info[1])).rstrip())
            record.exc_info = None  # a handler that formats it anew would let the secret out again
        elif record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True
