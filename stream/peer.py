"""One WebRTC peer of ours, and every setting that aiortc and aioice have no option for. Nothing else reaches into them.

What is changed, once, before the first peer is made, and why:
- `aioice.ice.CONSENT_INTERVAL`, `CONSENT_FAILURES`: a dead peer is noticed in about 6 s instead of 30 s (RFC 7675).
- `aioice.ice.get_host_addresses`: a peer made with `loopback=True` binds to 127.0.0.1 alone; aioice leaves that address
  out by itself, so two programs on one machine without a network could not meet. Other peers see no difference.
- `aiortc.rtcrtpreceiver.get_decoder`: pictures above `PICTURE_PIXELS` are refused before memory is taken for them.
- `aiortc.codecs.vpx` bitrates: the defaults (0.5 to 1.5 Mbit/s) blur small moving things that a question may be about.
- Their logs: decode errors once in ten seconds, not once per broken picture; ICE checks not at all.
"""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Any

import aioice.ice
import av.error
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, rtcrtpreceiver
from aiortc.codecs import vpx
from aiortc.exceptions import OperationError

from stream.offers import OfferRefused

PICTURE_PIXELS = 4096 * 2304
CONNECT_S = 10.0  # from the answer to the first encrypted packet; then the session is given up

_loopback: ContextVar[bool] = ContextVar("loopback", default=False)  # tasks inherit it, so each peer has its own


def new_peer(*, loopback: bool) -> RTCPeerConnection:
    """A peer without STUN or TURN. `loopback` peers bind to 127.0.0.1 and reach only this machine.

    Call it in the task that will negotiate: the choice travels with that task's context.
    """
    _settle()
    _loopback.set(loopback)
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def answer(peer: RTCPeerConnection, offer: str, prepare: Callable[[RTCPeerConnection], None]) -> str:
    """Our answer to a checked offer; `prepare` sets tracks and directions. Raises `OfferRefused` (422)."""
    try:
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        if "a=setup:actpass" in offer:
            # As DTLS client aiortc offers only ECDSA suites, which peers with an RSA certificate refuse: be the server.
            for transceiver in peer.getTransceivers():
                transceiver.receiver.transport._set_role("server")  # noqa: SLF001  (no public way)
        prepare(peer)
        await peer.setLocalDescription(await peer.createAnswer())
    except OperationError as error:
        raise OfferRefused(422, "no_common_codec", "Offer VP8 or H.264 video; this offer has neither.") from error
    except Exception as error:  # aiortc's parser trips over hostile text in many ways: assertions, keys, attributes
        logging.getLogger(__name__).debug("An offer could not be read: %r", error)
        raise OfferRefused(422, "unusable_offer", "The offer is no WebRTC session that can be answered.") from error
    return peer.localDescription.sdp


def vanished(peer: RTCPeerConnection) -> bool:
    """Whether a peer that was connected ended because the other side no longer answered, not by its own word."""
    for transceiver in peer.getTransceivers():
        connection = transceiver.receiver.transport.transport._connection  # noqa: SLF001  (no public way)
        if getattr(connection, "_query_consent_task", connection) is None:  # aioice drops its task when consent expires
            return True
    return False


def backlog(peer: RTCPeerConnection) -> int:
    """Pictures before the decoder and behind it: aiortc's queues have no bound, so somebody must watch them."""
    return max(
        (
            _waiting(receiver, "_RTCRtpReceiver__decoder_queue") + _waiting(receiver.track, "_queue")
            for receiver in peer.getReceivers()
        ),
        default=0,
    )


def _waiting(holder: object, queue: str) -> int:
    waiting = getattr(holder, queue, None)
    return 0 if waiting is None else int(waiting.qsize())


@cache
def _settle() -> None:
    aioice.ice.CONSENT_INTERVAL, aioice.ice.CONSENT_FAILURES = 1, 3
    addresses = aioice.ice.get_host_addresses

    def host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return ["127.0.0.1"] if _loopback.get() else addresses(use_ipv4, use_ipv6)

    aioice.ice.get_host_addresses = host_addresses
    receiving: Any = rtcrtpreceiver  # its names are not meant for us, and its types say so
    decoder_for = receiving.get_decoder
    receiving.get_decoder = lambda codec: _BoundedDecoder(decoder_for(codec))
    vpx.DEFAULT_BITRATE, vpx.MAX_BITRATE = 1_500_000, 4_000_000
    rtcrtpreceiver.logger.addFilter(_Seldom())
    aioice.ice.logger.setLevel(logging.WARNING)


class _BoundedDecoder:
    """A decoder that refuses giant pictures: 16383 x 16383 is legal in VP8 and takes a gigabyte."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._is_vp8 = isinstance(inner, vpx.Vp8Decoder)
        codec = getattr(inner, "codec", None)
        if codec is not None and codec.type == "video":
            codec.options = {"max_pixels": str(PICTURE_PIXELS)}

    def decode(self, encoded: Any) -> list[Any]:
        if self._is_vp8 and _vp8_pixels(encoded.data) > PICTURE_PIXELS:
            raise av.error.InvalidDataError(0, "The picture has too many pixels.")
        pictures: list[Any] = self._inner.decode(encoded)
        return pictures


def _vp8_pixels(data: bytes) -> int:
    """Pixels that a VP8 key frame announces (RFC 6386, section 9.1); 0 for other frames, which keep the size."""
    if len(data) < 10 or data[0] & 1 or data[3:6] != b"\x9d\x01\x2a":
        return 0
    width, height = struct.unpack_from("<HH", data, 6)
    return int((width & 0x3FFF) * (height & 0x3FFF))


class _Seldom(logging.Filter):
    """Lets one record through in ten seconds."""

    def __init__(self, every_s: float = 10.0) -> None:
        super().__init__()
        self._every_s = every_s
        self._next_s = 0.0

    def filter(self, _record: logging.LogRecord) -> bool:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._every_s
        return True
