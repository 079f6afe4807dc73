"""Why a source gives no pictures: one sentence for a person, one kind for the code that decides what to do next."""

from __future__ import annotations

from typing import Literal

import av

from stream.redact import redact

Kind = Literal["auth", "refused", "not_found", "timeout", "no_video", "unreadable", "lost", "stalled"]


class SourceError(ValueError):
    """A source cannot be read. The text is one sentence, with credentials removed."""

    def __init__(self, sentence: str, kind: Kind = "unreadable") -> None:
        super().__init__(redact(sentence))
        self.kind: Kind = kind


def explain(error: BaseException, shown: str, waited_s: float, patience_s: float) -> SourceError:
    """What an exception of libav means for a person who set this source up.

    `shown` is the address without credentials. `waited_s` tells a silent port from bad data, for which libav raises
    the same exception.
    """
    if isinstance(error, SourceError):
        return error
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return SourceError(f"{shown} refuses the user name or password: check both in the configuration.", "auth")
    if isinstance(error, av.error.HTTPNotFoundError):
        return SourceError(f"{shown} answers but has no such stream (404): check the path in the URL.", "not_found")
    if isinstance(error, av.error.HTTPError | av.error.HTTPClientError | av.error.HTTPServerError):
        return SourceError(f"{shown} answers with an error: {_first_words(error)}.", "refused")
    if isinstance(error, ConnectionRefusedError):
        return SourceError(f"Nothing listens at {shown}: is it switched on, and is the port right?", "refused")
    if isinstance(error, av.error.ExitError | TimeoutError) or waited_s >= 0.9 * patience_s:
        return SourceError(f"{shown} did not answer within {patience_s:g} s.", "timeout")
    if isinstance(error, FileNotFoundError):
        return SourceError(f"There is no file at {shown}: check the path.", "not_found")
    if isinstance(error, IsADirectoryError):
        return SourceError(f"{shown} is a folder, not a video file.", "unreadable")
    if isinstance(error, PermissionError):
        return SourceError(f"{shown} may not be read by this user: check its permissions.", "refused")
    if isinstance(error, av.error.InvalidDataError | EOFError):
        return SourceError(f"{shown} holds no video that can be read: it is empty, damaged or of another kind.")
    if isinstance(error, av.error.ProtocolNotFoundError):
        return SourceError(f"{shown} leads to a protocol that is not allowed here.", "refused")
    if isinstance(error, OSError):
        return SourceError(f"{shown} cannot be reached: check the host name and the network.", "lost")
    return SourceError(f"{shown} cannot be read: {_first_words(error)}.")


def _first_words(error: BaseException) -> str:
    """The short reason of a libav exception, without the URL that follows it."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return redact(str(reason).split(":")[0].splitlines()[0][:120]).rstrip(".")
