"""Addresses of cameras: what libav may open, what people may read, and the secret between the two.

A password in a URL should be percent-encoded, and people paste it as it is. So both are read: the standard way first
(RFC 3986), and where that gives no host, up to the first @ behind which a host stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from stream.redact import redact, register_secret
from stream.sources.errors import SourceError

LONGEST_URL = 4096  # characters
LONGEST_USER_INFO = 127  # bytes once encoded; libav cuts off what is longer and the login fails without a word
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s@:/?#\[\]|,;\\]+)(?::(?P<port>\d{1,5}))?(?=[/?#]|$)")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Address:
    """A URL taken apart. `url` is for libav alone; `shown` is for everybody."""

    scheme: str
    host: str
    port: int | None
    rest: str  # path, query and fragment
    user: str | None = None
    password: str | None = None

    @property
    def url(self) -> str:
        """The URL with credentials percent-encoded, as libav wants it. Never to be shown."""
        at = "" if self.user is None else "@"
        return f"{self.scheme}://{self.login}{at}{self._place}"

    @property
    def login(self) -> str:
        """`user:password`, percent-encoded; empty where there is none. Never to be shown."""
        return ":".join(quote(part, safe="") for part in (self.user, self.password) if part is not None)

    @property
    def shown(self) -> str:
        """The URL without credentials."""
        return redact(f"{self.scheme}://{self._place}")

    @property
    def _place(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"{self.host}{port}{quote(self.rest, safe=_KEPT)}"

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"


_KEPT = "!#$%&'()*+,/:;=?@[]~"  # what may stand in a path or query as it is


def parse(text: str) -> Address:
    """Take a URL apart and make its secrets known to `redact`. Raises `SourceError`."""
    scheme, mark, rest = text.strip().partition("://")
    if not mark:
        raise SourceError("The source is no URL: it needs a scheme such as rtsp:// in front.")
    if len(text) > LONGEST_URL:
        raise SourceError(f"The URL is longer than {LONGEST_URL} characters.")
    if _CONTROL.search(text):
        raise SourceError("The URL holds a control character, such as a line break: remove it.")
    login, host, port, tail = _split(rest)
    user, password = _credentials(login)
    if port is not None and not 0 < port < 65536:
        raise SourceError(f"Port {port} does not exist: ports go from 1 to 65535.")
    address = Address(scheme.lower(), host, port, tail, user, password)
    if len(address.login) > LONGEST_USER_INFO:
        raise SourceError(f"User name and password are too long: {LONGEST_USER_INFO} characters once percent-encoded.")
    return address


def _split(rest: str) -> tuple[str | None, str, int | None, str]:
    """(login, host, port, path and query) of what follows `://`."""
    head = re.split(r"[/?#]", rest, maxsplit=1)[0]
    starts = [head.rfind("@") + 1]  # the standard reading: the last @ before the path
    starts += [at.end() for at in re.finditer("@", rest)]  # a raw / ? or # in the password hides the host
    for start in starts:
        found = _HOST.match(rest, start)
        if found:
            login = rest[: start - 1] if start else None
            port = found["port"]
            return login, _ascii(found["host"]), int(port) if port else None, rest[found.end() :]
    raise SourceError("<unparseable source>: no host is to be found; percent-encode the password (@ is %40, / is %2F).")


def _ascii(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        raise SourceError("The host name in the URL holds letters that no host name can have.") from None


def _credentials(login: str | None) -> tuple[str | None, str | None]:
    if login is None:
        return None, None
    name, colon, word = login.partition(":")
    user, password = _decoded(name), _decoded(word) if colon else None
    if password is not None:
        register_secret(password)
        register_secret(word)
    if ":" in user:
        raise SourceError("A user name cannot contain a colon: HTTP and RTSP logins have no way to say it.")
    return user, password


def _decoded(text: str) -> str:
    """Percent-decoded, unless a lone % says that the text was never encoded."""
    return text if _LONE_PERCENT.search(text) else unquote(text)
