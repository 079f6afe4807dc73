"""The settings that aiortc has no option for, each with its proof."""

from __future__ import annotations

import logging
import struct

import aioice.ice
import av
import numpy as np
import pytest
from aiortc import rtcrtpreceiver
from aiortc.codecs import get_capabilities
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from stream import peer
from tests.stream.rtc.house import offering

VP8 = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90000, payloadType=96)


def addresses(sdp: str) -> list[str]:
    return [line.split()[4] for line in sdp.splitlines() if line.startswith("a=candidate:")]


async def test_a_loopback_peer_is_reached_on_loopback_alone() -> None:
    async with offering() as connection:
        assert addresses(connection.localDescription.sdp) == ["127.0.0.1"]


async def test_another_peer_does_not_name_loopback_and_asks_no_stun_server() -> None:
    connection = peer.new_peer(loopback=False)
    connection.addTransceiver("video", "recvonly")
    gatherer = connection.getTransceivers()[0].receiver.transport.transport.iceGatherer
    assert gatherer._connection.stun_server is None
    assert gatherer._connection.turn_server is None
    assert "127.0.0.1" not in aioice.ice.get_host_addresses(True, True)  # what it would bind to; a test need not
    peer.new_peer(loopback=True)
    assert aioice.ice.get_host_addresses(True, True) == ["127.0.0.1"]
    await connection.close()


def key_frame(width: int, height: int) -> bytes:
    encoder = av.CodecContext.create("libvpx", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.options = {"lag-in-frames": "0", "deadline": "realtime"}
    picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
    packets = [bytes(packet) for packet in encoder.encode(picture)]
    data = bytearray(packets[0])
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def test_giant_pictures_are_refused_before_memory_is_taken() -> None:
    peer._settle()
    decoder = rtcrtpreceiver.get_decoder(VP8)  # type: ignore[attr-defined]
    assert len(decoder.decode(JitterFrame(key_frame(64, 48), 0))) == 1
    with pytest.raises(av.FFmpegError, match="too many pixels"):
        decoder.decode(JitterFrame(key_frame(16383, 16383), 0))
    assert len(get_capabilities("video").codecs) >= 2  # the rest of aiortc is as it was


def test_broken_pictures_are_one_line_in_the_log() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "broken", None, None)
    seldom = peer._Seldom(every_s=60)
    assert [seldom.filter(record) for _ in range(5)] == [True, False, False, False, False]
    assert peer._Seldom(every_s=0).filter(record)
