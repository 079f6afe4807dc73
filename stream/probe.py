"""Can this source be read, and what comes out of it? For the command line and for a person in doubt."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any, Literal

from stream.clock import Clock
from stream.flow import CameraState, Frame
from stream.ports import FrameSource
from stream.redact import redact
from stream.sources.decoded import DecodedSource, within
from stream.sources.opening import open_source
from stream.sources.reader import Reader

WATCH_S = 4.0  # long enough for two key frames of most cameras
LIMIT_S = 60.0  # beside the time-outs of the source: nothing may hold a probe longer


@dataclass(frozen=True, slots=True)
class Finding:
    """One line for a person; `ok` is False for what stands in the way."""

    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class _Trial:
    """The configuration of a camera that is only being tried."""

    source: str
    transport: Literal["tcp", "udp"]
    connect_s: float
    stall_s: float
    fps: float = 0.0  # every picture
    loop: bool = False
    pace: Literal["own", "fast"] = "fast"
    name: str | None = None


@dataclass(slots=True)
class _Seen:
    """What came."""

    started_s: float
    first_s: float | None = None
    first: Frame | None = None
    last: Frame | None = None
    frames: int = 0
    fault: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def note(self, state: CameraState) -> None:
        """A camera that is watched for ever reports its troubles as states and tries again; a probe stops there."""
        if state.state in ("offline", "auth_failed", "stalled") and not self.fault.done():
            self.fault.set_result(state.reason.split(" Next attempt in ")[0])


async def probe(
    url: str,
    clock: Clock | None = None,
    *,
    transport: Literal["tcp", "udp"] = "tcp",
    connect_s: float = 10.0,
    stall_s: float = 10.0,
    watch_s: float = WATCH_S,
) -> list[Finding]:
    """Open a source, watch it for `watch_s` seconds, tell what was found. Never raises for what the source does."""
    clock = clock or Clock()
    if url.strip() == "whip":
        return [Finding(False, "whip is a door that others publish through: start the service and open /publish.")]
    try:
        source = open_source(_Trial(url, transport, connect_s, stall_s), clock)
    except ValueError as error:
        return [Finding(False, redact(error))]
    seen = _Seen(clock.now_s())
    try:
        fault = await _try(source, seen, clock, watch_s)
        findings = _findings(source, seen, fault)
    finally:
        await source.aclose()
    return findings


async def _try(source: FrameSource, seen: _Seen, clock: Clock, watch_s: float) -> str:
    """Watch until enough was seen; the sentence of what went wrong, or nothing."""
    if isinstance(source, DecodedSource):
        source.listen(seen.note)
    watching = asyncio.ensure_future(_watch(source, seen, clock, watch_s))
    try:
        either: set[asyncio.Future[Any]] = {watching, seen.fault}
        await within(clock, LIMIT_S + watch_s, asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED))
        if watching.done():
            watching.result()
            return ""
        return seen.fault.result()
    except ValueError as error:
        return redact(error)
    except TimeoutError:
        return f"Nothing useful came within {LIMIT_S:g} s."
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError, ValueError):
            await watching
        seen.fault.cancel()


async def _watch(source: FrameSource, seen: _Seen, clock: Clock, watch_s: float) -> None:
    async for frame in source:
        now_s = clock.now_s()
        if seen.first is None or seen.first_s is None:
            seen.first, seen.first_s = frame, now_s
        seen.last = frame
        seen.frames += 1
        if frame.time_s - seen.first.time_s >= watch_s or now_s - seen.first_s >= 3 * watch_s:
            return


def _findings(source: FrameSource, seen: _Seen, fault: str) -> list[Finding]:
    reader = source.reader if isinstance(source, DecodedSource) else None
    findings = _opening(reader) if reader else []
    if seen.first is not None and seen.last is not None and seen.first_s is not None:
        findings.append(Finding(True, f"First picture after {seen.first_s - seen.started_s:.2f} s."))
        height, width = seen.first.rgb.shape[:2]
        newest_s = reader.media.last.time_s if reader and reader.media.last else seen.last.time_s
        span_s = newest_s - seen.first.time_s
        findings.append(Finding(True, f"Pictures of {width} x {height} reach the memory."))
        findings += _pace(reader, seen.frames, span_s)
    elif not fault:
        fault = "No picture came."
    if fault:
        findings.append(Finding(False, fault))
    return findings


def _opening(reader: Reader) -> list[Finding]:
    if reader.info is None or reader.opened_s is None:
        return []
    info = reader.info
    size = f"{info.width} x {info.height}, " if info.width else ""
    declared = f"{info.fps:.3g} pictures per second" if info.fps else "no rate"
    kind = f"a recording of {info.duration_s:.1f} s" if info.duration_s else "a live stream"
    return [
        Finding(True, f"{reader.recipe.shown} opened after {reader.opened_s - reader.started_s:.2f} s: {kind}."),
        Finding(True, f"Video {info.codec}, {size}{declared} declared."),
    ]


def _pace(reader: Reader | None, frames: int, span_s: float) -> list[Finding]:
    decoded = reader.counts.decoded if reader else frames
    findings = []
    if decoded > 1 and span_s > 0:
        findings.append(Finding(True, f"{(decoded - 1) / span_s:.3g} pictures per second seen over {span_s:.1f} s."))
    if reader is None:
        return findings
    keys = list(reader.key_times_s)
    if len(keys) > 1:
        every_s = (keys[-1] - keys[0]) / (len(keys) - 1)
        findings.append(Finding(True, f"A key frame every {every_s:.1f} s."))
    elif span_s > 0:
        late = f"Only one key frame in {span_s:.1f} s: after a break the first picture may take longer than that."
        findings.append(Finding(True, late))
    counts = reader.counts
    if counts.corrupt or counts.errors:
        bad = f"{counts.corrupt} of {counts.decoded} pictures damaged, {counts.errors} packets unreadable:"
        findings.append(Finding(False, f"{bad} the network or the camera loses data."))
    return findings
