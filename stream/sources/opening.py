"""From what stands in a configuration to a source of frames. One line per kind; nothing else is ever opened."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import unquote

from stream.clock import Clock
from stream.ports import FrameSource

KINDS = "rtsp://, rtsps://, http://, https://, file:// or a path, webcam:0, whip, sim://"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")  # two letters at least: C:\ is a drive


class CameraConfig(Protocol):
    """What is needed of a camera's configuration to open it."""

    @property
    def source(self) -> str:
        """URL, path, device or `whip`."""

    @property
    def transport(self) -> Literal["tcp", "udp"]:
        """How RTSP carries its pictures."""

    @property
    def fps(self) -> float:
        """Frames per second that go to the gate."""

    @property
    def stall_s(self) -> float:
        """Without a picture for so long, a camera is connected anew, s."""

    @property
    def connect_s(self) -> float:
        """How long a camera may take to answer, s."""

    @property
    def loop(self) -> bool:
        """Whether a recording begins again at its end."""

    @property
    def pace(self) -> Literal["own", "fast"]:
        """How a recording is read: as it was made, or as fast as it is consumed."""

    @property
    def name(self) -> str | None:
        """The camera's name in messages."""


def open_source(camera: CameraConfig, clock: Clock) -> FrameSource:
    """The source a configuration names. Opens nothing yet; raises `ValueError`, one sentence, for what it cannot be.

    Call it on the event loop that will iterate the source.
    """
    source = camera.source.strip()
    scheme = _scheme(source)
    name = camera.name or ""
    if scheme in ("rtsp", "rtsps"):
        from stream.sources.rtsp import RtspSource

        return RtspSource(
            source,
            clock,
            transport=camera.transport,
            fps=camera.fps,
            connect_s=camera.connect_s,
            stall_s=camera.stall_s,
            name=name,
        )
    if scheme in ("http", "https"):
        from stream.sources.web import WebSource

        return WebSource(
            source,
            clock,
            fps=camera.fps,
            loop=camera.loop,
            pace=camera.pace,
            connect_s=camera.connect_s,
            stall_s=camera.stall_s,
            name=name,
        )
    if scheme == "webcam":
        from stream.sources.webcam import WebcamSource

        return WebcamSource(
            source, clock, fps=camera.fps, connect_s=camera.connect_s, stall_s=camera.stall_s, name=name
        )
    if scheme == "whip":
        from stream.sources.webrtc import WhipSource

        return WhipSource(clock, fps=camera.fps, stall_s=camera.stall_s, name=name)
    if scheme == "sim":
        from stream.sources.simulated.camera import SimulatedCamera

        return SimulatedCamera.from_url(source, clock)
    from stream.sources.file import FileSource

    return FileSource(
        _path(source),
        clock,
        fps=camera.fps,
        loop=camera.loop,
        pace=camera.pace,
        stall_s=camera.stall_s,
        name=name,
    )


def open_all(cameras: Mapping[str, CameraConfig], clock: Clock) -> dict[str, FrameSource]:
    """The sources of all cameras by id. Raises `ValueError` with a line for each that cannot be."""
    opened, faults = dict[str, FrameSource](), []
    for name, camera in cameras.items():
        try:
            opened[name] = open_source(camera, clock)
        except ValueError as error:
            faults.append(f"cameras.{name}.source: {error}")
    if faults:
        raise ValueError("\n".join(faults))
    return opened


def _scheme(source: str) -> str:
    """What kind of source it is; `file` for anything that looks like a path."""
    if not source:
        raise ValueError(f"The camera has no source. Known are: {KINDS}.")
    if source == "whip":
        return "whip"
    if re.fullmatch(r"/dev/video\d+", source):
        return "webcam"
    found = _SCHEME.match(source)
    if not found:
        return "file"
    scheme = found[1].lower()
    if scheme not in ("rtsp", "rtsps", "http", "https", "file", "webcam", "whip", "sim"):
        raise ValueError(f"The source begins with {scheme}:, which is not known. Known are: {KINDS}.")
    if scheme in ("rtsp", "rtsps", "http", "https", "sim") and not source[len(scheme) :].startswith("://"):
        raise ValueError(f"After {scheme}: two slashes are missing: {scheme}://...")
    return scheme


def _path(source: str) -> Path:
    if source.lower().startswith("file:"):
        source = unquote(re.sub(r"^file:(//(localhost)?(?=/))?", "", source, flags=re.IGNORECASE))
    return Path(source)
