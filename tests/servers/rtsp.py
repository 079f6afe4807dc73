"""An RTSP camera for tests: H.264 over TCP (interleaved) or UDP, Basic and Digest login, and faults on demand.

In a test: `async with RtspCamera(clip()) as camera: camera.url()`. As a process that can be killed:
`python tests/servers/rtsp.py --port 8554`; it prints `ready PORT` and takes faults as lines on its standard input,
such as `stalled 1`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import functools
import hashlib
import io
import random
import re
import secrets
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import av

CLIPS = Path(__file__).resolve().parents[1] / "clips"  # of real cameras; LICENCES.md there says whose
RTP_START = 900_000  # ticks of 1/90000 s; libav takes 0 for "not set"
SSRC = 0x1A2B3C4D
LARGEST = 1400  # bytes of H.264 in one packet
Unit = tuple[bytes, ...]  # the NAL units of one picture


@functools.lru_cache(maxsize=16)
def clip(
    name: str = "person-bicycle-car-detection-preview.mp4",
    size: tuple[int, int] = (320, 180),
    pictures: int = 40,
    gop: int = 12,
) -> tuple[Unit, ...]:
    """Access units of a real clip, coded as cameras do: no B-frames, one slice per picture, SPS and PPS in band."""
    sink = io.BytesIO()
    with av.open(str(CLIPS / name)) as source, av.open(sink, "w", format="h264") as out:
        stream: Any = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size = gop
        stream.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "x264-params": "sliced-threads=0:aud=1:scenecut=0:bframes=0:threads=1:repeat-headers=1",
        }
        for index, picture in enumerate(source.decode(video=0)):
            if index == pictures:
                break
            small = picture.reformat(*size, "yuv420p", threads=1)
            small.pts = index
            small.pict_type = av.video.frame.PictureType.NONE
            out.mux(stream.encode(small))
        out.mux(stream.encode(None))
    return tuple(_units(sink.getvalue()))


def _units(data: bytes) -> list[Unit]:
    """Cut an Annex-B stream at its access unit delimiters (NAL type 9)."""
    pictures = re.split(rb"\x00\x00\x00\x01(?=\x09)", data)
    return [tuple(nal for nal in re.split(rb"\x00\x00\x00?\x01", picture) if nal) for picture in pictures if picture]


def is_key(unit: Unit) -> bool:
    """Whether decoding can begin here (NAL type 5)."""
    return any(nal[0] & 31 == 5 for nal in unit)


@dataclass
class Faults:
    """What the camera does wrong; change it while it runs."""

    stalled: bool = False  # the connection stays, the pictures stop
    mute: bool = False  # accepts connections and never answers
    drop: float = 0.0  # share of packets that are lost
    garble: float = 0.0  # share of packets with wrong bytes in them
    burst_s: float = 0.0  # pictures come together, once in so many seconds
    sound_only: bool = False  # a microphone: nothing but sound is on offer
    late_key: int = 0  # pictures after PLAY before the first key frame
    frozen_stamps: bool = False  # every picture has the same time
    status: str = ""  # answer DESCRIBE with this instead, such as "503 Service Unavailable"


@dataclass
class RtspCamera:
    """A camera that loops a clip. The fields may be changed while it runs."""

    units: tuple[Unit, ...]
    fps: float = 25.0
    login: tuple[str, str] | None = None
    scheme: str = "digest"  # or "basic"
    port: int = 0
    path: str = "/cam"
    stamp: int = RTP_START  # RTP time of the next picture: add to it and the camera's clock has jumped
    faults: Faults = field(default_factory=Faults)
    connections: int = 0  # accepted so far
    plays: int = 0  # PLAY requests so far
    clients: set[asyncio.StreamWriter] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._nonce = secrets.token_hex(8)
        self._tasks: set[asyncio.Task[None]] = set()
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.vanish()

    async def listen(self) -> None:
        """Be reachable, again at the same port if there was one."""
        self._server = await asyncio.start_server(self._client, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def vanish(self) -> None:
        """Be gone, as after a power cut: connections reset, port closed."""
        self._server.close()
        self.reset_clients()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def reset_clients(self) -> None:
        """Cut all connections (TCP reset); new ones are welcome."""
        for client in list(self.clients):
            client.transport.abort()

    def url(self, login: str | None = None, path: str | None = None) -> str:
        """The camera's URL, with the right login unless another one is given (as it stands in a URL)."""
        if login is None and self.login:
            login = ":".join(quote(part, safe="") for part in self.login)
        at = f"{login}@" if login else ""
        return f"rtsp://{at}127.0.0.1:{self.port}{self.path if path is None else path}"

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.clients.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        talk = _Conversation(self, reader, writer)
        try:
            await talk.run()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            talk.close()
            self._tasks.discard(task)
            self.clients.discard(writer)
            writer.close()

    def admits(self, method: str, authorization: str) -> bool:
        """Whether the login is right, in whichever of the two schemes it came."""
        if not self.login:
            return True
        user, password = self.login
        kind, _, rest = authorization.partition(" ")
        if kind == "Basic" and self.scheme == "basic":
            return base64.b64decode(rest) == f"{user}:{password}".encode()
        if kind == "Digest" and self.scheme == "digest":
            said = dict(re.findall(r'(\w+)="([^"]*)"', rest))
            who = _md5(f"{user}:test:{password}")
            what = _md5(f"{method}:{said.get('uri', '')}")
            return said.get("response") == _md5(f"{who}:{said.get('nonce', '')}:{what}")
        return False

    @property
    def challenge(self) -> str:
        """What a stranger is asked for."""
        if self.scheme == "basic":
            return 'WWW-Authenticate: Basic realm="test"'
        return f'WWW-Authenticate: Digest realm="test", nonce="{self._nonce}"'


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class _Conversation:
    """One client, from its first request to its last."""

    def __init__(self, camera: RtspCamera, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.camera = camera
        self.reader = reader
        self.writer = writer
        self.session = secrets.token_hex(4)
        self.player: asyncio.Task[None] | None = None
        self.udp: asyncio.DatagramTransport | None = None
        self.channel = 0

    def close(self) -> None:
        """Stop playing."""
        if self.player:
            self.player.cancel()
        if self.udp:
            self.udp.close()

    async def run(self) -> None:
        """Answer requests until the client leaves."""
        while self.camera.faults.mute:
            if not await self.reader.read(4096):
                return
        while True:
            first = await self.reader.readexactly(1)
            if first == b"$":  # the client's RTCP in between
                _, length = struct.unpack(">BH", await self.reader.readexactly(3))
                await self.reader.readexactly(length)
                continue
            head = (first + await self.reader.readuntil(b"\r\n\r\n")).decode()
            request, *lines = head.split("\r\n")
            method, uri, _ = request.split(" ", 2)
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
            await self.reader.readexactly(int(headers.get("content-length", 0)))
            status, extra, body = await self._answer(method, uri, headers)
            sized = [f"Content-Length: {len(body)}"] if body else []
            answer = [f"RTSP/1.0 {status}", f"CSeq: {headers.get('cseq', 0)}", *extra, *sized, "", body]
            self.writer.write("\r\n".join(answer).encode())
            await self.writer.drain()
            if method == "TEARDOWN":
                return
            if method == "PLAY" and status.startswith("200"):
                self.camera.plays += 1
                self.player = asyncio.create_task(self._play())

    async def _answer(self, method: str, uri: str, headers: dict[str, str]) -> tuple[str, list[str], str]:
        """(status, header lines, body)"""
        camera, session = self.camera, f"Session: {self.session};timeout=60"
        path = "/" + uri.split("://", 1)[-1].partition("/")[2].split("/track")[0].rstrip("/")
        if method == "OPTIONS":
            return "200 OK", ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"], ""
        if not camera.admits(method, headers.get("authorization", "")):
            return "401 Unauthorized", [camera.challenge], ""
        if path != camera.path:
            return "404 Not Found", [], ""
        if method == "DESCRIBE":
            if camera.faults.status:
                return camera.faults.status, [], ""
            return "200 OK", [f"Content-Base: {uri}/", "Content-Type: application/sdp"], self._description()
        if method == "SETUP":
            return await self._set_up(headers.get("transport", ""), session)
        if method == "PLAY":
            return "200 OK", [session, f"RTP-Info: url={uri};seq=0;rtptime={camera.stamp & 0xFFFFFFFF}"], ""
        return "200 OK", [session], ""

    async def _set_up(self, transport: str, session: str) -> tuple[str, list[str], str]:
        inside = re.search(r"interleaved=(\d+)", transport)
        if inside:
            self.channel = int(inside[1])
            way = f"RTP/AVP/TCP;unicast;interleaved={self.channel}-{self.channel + 1};ssrc={SSRC:08X}"
            return "200 OK", [f"Transport: {way}", session], ""
        outside = re.search(r"client_port=(\d+)", transport)
        if not outside:
            return "461 Unsupported Transport", [], ""
        there = ("127.0.0.1", int(outside[1]))
        loop = asyncio.get_running_loop()
        self.udp, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=there)
        port = self.udp.get_extra_info("sockname")[1]
        way = f"RTP/AVP;unicast;client_port={there[1]}-{there[1] + 1};server_port={port}-{port + 1};ssrc={SSRC:08X}"
        return "200 OK", [f"Transport: {way}", session], ""

    def _description(self) -> str:
        lines = ("v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=test", "c=IN IP4 0.0.0.0", "t=0 0", "a=control:*")
        return "\r\n".join((*lines, *(self._sound() if self.camera.faults.sound_only else self._picture()))) + "\r\n"

    def _sound(self) -> tuple[str, ...]:
        return "m=audio 0 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=control:track0"

    def _picture(self) -> tuple[str, ...]:
        nals = [nal for unit in self.camera.units if is_key(unit) for nal in unit]
        sps = next(nal for nal in nals if nal[0] & 31 == 7)
        pps = next(nal for nal in nals if nal[0] & 31 == 8)
        sets = ",".join(base64.b64encode(nal).decode() for nal in (sps, pps))
        return (
            "m=video 0 RTP/AVP 96",
            "a=rtpmap:96 H264/90000",
            f"a=fmtp:96 packetization-mode=1;profile-level-id={sps[1:4].hex()};sprop-parameter-sets={sets}",
            f"a=framerate:{self.camera.fps}",
            "a=control:track0",
        )

    async def _play(self) -> None:
        """Send pictures at their time until cancelled. The camera's clock goes on between clients."""
        loop = asyncio.get_running_loop()
        camera, faults = self.camera, self.camera.faults
        units, at, sequence = camera.units, 1 if faults.late_key else 0, 0
        begun, sent = loop.time(), 0
        while not self.writer.is_closing():
            due = begun + sent / camera.fps
            if faults.burst_s:
                due = begun + ((due - begun) // faults.burst_s + 1) * faults.burst_s
            await asyncio.sleep(max(0.0, due - loop.time()))
            sent += 1
            if units is not camera.units:  # another clip, from a key frame on
                units, at = camera.units, 0
            unit = units[at % len(units)]
            if sent <= faults.late_key and is_key(unit):  # pass over the key frames
                unit = next(u for u in units[at % len(units) :] + units if not is_key(u))
            at += 1
            stamp = camera.stamp
            if not faults.frozen_stamps:
                camera.stamp += round(90_000 / camera.fps)
            if faults.stalled or faults.sound_only:  # silent, too: what would be said is never asked for
                continue
            for packet in _packets(unit, stamp):
                sequence += 1
                self._send(packet, sequence)
            if self.writer.transport.get_write_buffer_size() > 4 << 20:  # a client that does not read
                self.writer.transport.abort()

    def _send(self, packet: tuple[bool, int, bytes], sequence: int) -> None:
        marked, stamp, payload = packet
        faults = self.camera.faults
        if random.random() < faults.drop:
            return
        if random.random() < faults.garble:
            middle = len(payload) // 2
            payload = payload[:middle] + secrets.token_bytes(min(16, len(payload) - middle)) + payload[middle + 16 :]
        head = struct.pack(">BBHII", 0x80, 96 | marked << 7, sequence & 0xFFFF, stamp & 0xFFFFFFFF, SSRC)
        if self.udp:
            self.udp.sendto(head + payload)
        else:
            self.writer.write(struct.pack(">cBH", b"$", self.channel, len(head + payload)) + head + payload)


def _packets(unit: Unit, stamp: int) -> list[tuple[bool, int, bytes]]:
    """RTP payloads of one picture (RFC 6184): whole NAL units, or fragments (FU-A) of large ones."""
    out: list[tuple[bool, int, bytes]] = []
    for nal in unit:
        if len(nal) <= LARGEST:
            out.append((False, stamp, nal))
            continue
        indicator, kind = nal[0] & 0xE0 | 28, nal[0] & 0x1F
        pieces = [nal[start : start + LARGEST] for start in range(1, len(nal), LARGEST)]
        for index, piece in enumerate(pieces):
            edges = (0x80 if index == 0 else 0) | (0x40 if index == len(pieces) - 1 else 0)
            out.append((False, stamp, bytes([indicator, edges | kind]) + piece))
    out[-1] = (True, *out[-1][1:])  # the marker: the picture is complete
    return out


async def _serve(arguments: argparse.Namespace) -> None:
    login = tuple(arguments.login.split(":", 1)) if arguments.login else None
    name = {"name": arguments.clip} if arguments.clip else {}
    camera = RtspCamera(clip(**name), login=login, port=arguments.port, fps=arguments.fps)
    async with camera:
        print(f"ready {camera.port}", flush=True)
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := (await lines.readline()).decode().split():
            now = getattr(camera.faults, line[0])
            setattr(camera.faults, line[0], type(now)(float(line[1]) if not isinstance(now, str) else line[1]))


def main() -> None:
    """Be a camera until the standard input closes or somebody kills us."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--login", help="user:password")
    parser.add_argument("--clip", help="file name of a clip")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
