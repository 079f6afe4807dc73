"""What may stand in an SDP offer, checked on the bare text before any parser sees it.

An offer comes from a stranger. Size, lines, media sections and candidates are counted first; candidates that name a
host instead of an address are taken out, so that nobody can make this machine look names up (browsers hide their
addresses behind mDNS names, RFC 8828; the connection is found all the same: its first check shows its address).
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from stream.clock import Clock

OFFER_BYTES = 128 * 1024
OFFER_LINES = 2000
LINE_CHARACTERS = 2048
CANDIDATES = 64
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


class OfferRefused(Exception):
    """An offer that is not answered with a session: HTTP status, a code for programs, a sentence for people."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


def checked_offer(text: str, wanted: Literal["sends", "receives"]) -> str:
    """The offer with what we will not look at removed. Raises `OfferRefused` (400, 413, 422).

    `wanted` is what the peer must be ready to do with its one video section.
    """
    lines = _counted_lines(text)
    sections = _sections(lines)
    _check_kinds(sections)
    kept = [line for line in sections[0] if _is_kept(line)]
    for section in sections[1:]:
        direction = _direction(section, sections[0])
        if section[0].startswith("m=video"):
            _check_direction(direction, wanted)
        kept += [line for line in section if _is_kept(line) and line[2:] not in DIRECTIONS]
        kept.append(f"a={direction}")
    return "\r\n".join(kept) + "\r\n"


def _counted_lines(text: str) -> list[str]:
    if len(text) > OFFER_BYTES:
        raise OfferRefused(413, "offer_too_large", f"An SDP offer may have {OFFER_BYTES // 1024} KiB.")
    lines = [line for line in text.splitlines() if line]
    if not lines or lines[0] != "v=0":
        raise OfferRefused(400, "not_an_offer", "The body is not an SDP session description: it must begin with v=0.")
    if len(lines) > OFFER_LINES or max(map(len, lines)) > LINE_CHARACTERS:
        raise OfferRefused(
            400, "offer_too_long", f"An SDP offer may have {OFFER_LINES} lines of {LINE_CHARACTERS} characters."
        )
    if sum(line.startswith("a=candidate:") for line in lines) > CANDIDATES:
        raise OfferRefused(400, "too_many_candidates", f"An SDP offer may name {CANDIDATES} ICE candidates.")
    return lines


def _sections(lines: list[str]) -> list[list[str]]:
    """Session lines first, then one list per media section."""
    sections: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    return sections


def _check_kinds(sections: list[list[str]]) -> None:
    kinds = [section[0][2:].split(" ", 1)[0] for section in sections[1:]]
    if "video" not in kinds:
        raise OfferRefused(422, "no_video", "Offer one video track; there is none in this offer.")
    if kinds.count("video") > 1 or kinds.count("audio") > 1 or len(kinds) > 2 or set(kinds) - {"video", "audio"}:
        raise OfferRefused(
            422, "too_many_tracks", "Offer one video track and at most one audio track, and no data channel."
        )


def _direction(section: list[str], session: list[str]) -> str:
    """The section's direction; RFC 8866: the session's when it has none, and else both ways."""
    for line in (*section, *session):
        if line.startswith("a=") and line[2:] in DIRECTIONS:
            return line[2:]
    return "sendrecv"


def _check_direction(direction: str, wanted: str) -> None:
    if wanted == "sends" and direction not in ("sendonly", "sendrecv"):
        raise OfferRefused(422, "nothing_sent", f"A publisher's video must be sendonly, not {direction}.")
    if wanted == "receives" and direction not in ("recvonly", "sendrecv"):
        raise OfferRefused(422, "nothing_received", f"A viewer's video must be recvonly, not {direction}.")


def _is_kept(line: str) -> bool:
    """False for candidates that are no addresses, and for the end of them: the browser's checks may still add one."""
    if line == "a=end-of-candidates":
        return False
    if not line.startswith("a=candidate:"):
        return True
    fields = line.split()
    return len(fields) >= 8 and _is_address(fields[4])


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def with_bitrate_hints(answer: str, start_kbps: int, min_kbps: int, max_kbps: int) -> str:
    """The answer with bitrate hints for Chromium on each VP8 and H.264 payload type.

    Without them Chromium believes our cautious bandwidth estimate and stays at 640x360 for half a minute and more.
    """
    hints = f"x-google-start-bitrate={start_kbps};x-google-min-bitrate={min_kbps};x-google-max-bitrate={max_kbps}"
    payload_types = set(re.findall(r"^a=rtpmap:(\d+) (?:VP8|H264)/", answer, re.MULTILINE | re.IGNORECASE))
    lines: list[str] = []
    for line in answer.splitlines():
        parameters = re.match(r"a=fmtp:(\d+) ", line)
        hinted = parameters is not None and parameters[1] in payload_types
        if parameters is not None:
            payload_types.discard(parameters[1])
        lines.append(f"{line};{hints}" if hinted else line)
    for index in range(len(lines) - 1, -1, -1):  # VP8 has no fmtp line of its own: give it one, after its rtpmap
        mapping = re.match(r"a=rtpmap:(\d+) ", lines[index])
        if mapping and mapping[1] in payload_types:
            lines.insert(index + 1, f"a=fmtp:{mapping[1]} {hints}")
    return "\r\n".join(lines) + "\r\n"


class Ration:
    """A token bucket: so many at once, so many per second."""

    def __init__(self, clock: Clock, burst: int, per_s: float) -> None:
        """`burst` at once when nobody came lately, `per_s` in the long run."""
        self._clock, self._burst, self._per_s = clock, burst, per_s
        self._left, self._filled_s = float(burst), clock.now_s()

    def take(self) -> float:
        """0 when granted, else seconds until the next one would be."""
        now_s = self._clock.now_s()
        self._left = min(self._burst, self._left + (now_s - self._filled_s) * self._per_s)
        self._filled_s = now_s
        if self._left < 1:
            return (1 - self._left) / self._per_s
        self._left -= 1
        return 0.0
