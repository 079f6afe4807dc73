"""The one file that decodes: a thread per connection that can be abandoned at any moment.

libav gives no handle to interrupt a blocked read, and closing a container from another thread crashes the process
while frames flow. So the thread reads with a short time-out, looks at a flag in between, and closes what it opened
itself; whoever has lost patience turns away and the thread ends when it next can. Being a daemon, it holds up nobody.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import av
import numpy as np

from stream.clock import Clock
from stream.flow import Frame
from stream.sources.backlog import Backlog
from stream.sources.errors import SourceError, explain
from stream.sources.handover import Handover
from stream.sources.media_clock import MediaClock, Moment
from stream.sources.states import Counts

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

POLL_S = 0.5  # the longest a thread stays in a read before it looks whether it is still wanted
MOST_PIXELS = 7680 * 4320  # a picture larger than 8K is an attack or a mistake
HELD = 2  # frames between the thread and the loop
KEY_FRAMES = 8  # remembered, to tell their distance
BY_SEGMENTS = frozenset({"hls", "dash"})
WITHOUT_CLOCK = frozenset({"mpjpeg"})  # formats whose stamps libav makes up from an assumed rate


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to open a source and what to take from it. Knows the full URL, so it has no text form."""

    url: str = field(repr=False)  # for libav; may hold credentials
    shown: str  # the same for people
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    format: str | None = None
    open_s: float = 10.0
    read_s: float = POLL_S
    resumable: bool = True  # a read that timed out may be taken up again; False: it breaks the stream
    fps: float = 2.0  # frames per second of media time; 0: every picture
    longest_side: int = 1280  # pixels; larger pictures are scaled down while they are converted
    kind: Literal["live", "stored", "ask"] = "live"  # ask: live, unless what is opened turns out to be stored
    loop: bool = False  # begin again at the end


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a source says about its pictures before the first one."""

    format: str
    codec: str
    width: int
    height: int
    fps: float | None  # as declared; None: not said
    duration_s: float | None  # None: endless, or not known

    @property
    def stored(self) -> bool:
        """Whether it waits for the reader: a recording, or segments that a server keeps for a while."""
        return self.duration_s is not None or self.format in BY_SEGMENTS


class Reader:
    """One connection: opened, read and closed by one thread. The loop reads its fields and takes from `frames`."""

    def __init__(self, recipe: Recipe, clock: Clock, after: Moment | None = None, first_index: int = 0) -> None:
        """`after`: where media time stood when the last connection ended; None: this is the first."""
        self.recipe = recipe
        self.stored = recipe.kind == "stored"
        self.media = MediaClock(not self.stored, after)
        self.frames: Handover[Frame] = Handover(HELD, "wait" if self.stored else "drop_oldest")
        self.info: StreamInfo | None = None
        self.started_s = clock.now_s()
        self.opened_s: float | None = None
        self.packet_s: float | None = None  # arrival of the newest packet
        self.first_frame_s: float | None = None
        self.picture_s: float | None = None  # arrival of the newest decoded picture: the frame clock
        self.key_times_s: deque[float] = deque(maxlen=KEY_FRAMES)  # media time
        self.index = first_index
        self._clock = clock
        self._backlog = Backlog(self.started_s)
        self._stop = threading.Event()
        self._decoded = self._delivered = self._corrupt = self._errors = 0
        self._due_s = 0.0
        self._usual_s = 0.04  # time from one picture to the next, s
        self._has_clock = True
        self._quarter_turns = 0  # counter-clockwise, to stand upright
        self._thread = threading.Thread(target=self._run, name="source reader", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs; after `abandon` it may take until its read returns."""
        return self._thread.is_alive()

    @property
    def healthy_s(self) -> float:
        """From the first to the newest picture of this connection, s."""
        if self.first_frame_s is None or self.picture_s is None:
            return 0.0
        return self.picture_s - self.first_frame_s

    @property
    def counts(self) -> Counts:
        """What this connection has done so far."""
        return Counts(
            self._decoded,
            self._delivered,
            self.frames.dropped,
            self._backlog.skipped,
            self._corrupt,
            self._errors,
            self.media.jumps,
        )

    def start(self) -> None:
        """Begin to open and read."""
        self._thread.start()

    def abandon(self) -> None:
        """Turn away at once. The thread closes its container and ends by itself."""
        self._stop.set()
        self.frames.abandon()

    def _run(self) -> None:
        try:
            self._read_all()
        except Exception as error:  # whatever libav raises becomes one sentence; a thread must not die unheard
            waited_s = self._clock.now_s() - (self.opened_s or self.started_s)
            patience_s = self.recipe.read_s if self.opened_s else self.recipe.open_s
            self.frames.finish(explain(error, self.recipe.shown, waited_s, patience_s))
        else:
            self.frames.finish()

    def _read_all(self) -> None:
        while not self._stop.is_set():
            container = av.open(
                self.recipe.url,
                format=self.recipe.format,
                options=dict(self.recipe.options),
                timeout=(self.recipe.open_s, self.recipe.read_s),
                metadata_errors="replace",
            )
            before = self._decoded
            try:
                self._read(container)
            finally:
                container.close()
            if self._stop.is_set() or not self.stored:
                return
            if self._decoded == before:
                raise SourceError(f"{self.recipe.shown} holds no picture that can be decoded.")
            if not self.recipe.loop:
                return
            self.media.seam()

    def _read(self, container: InputContainer) -> None:
        stream = self._video(container)
        self.opened_s = self._clock.now_s()
        asked_s = self.opened_s
        while not self._stop.is_set():
            try:
                for packet in container.demux(stream):
                    if self._stop.is_set():
                        return
                    self.packet_s = now_s = self._clock.now_s()
                    self._backlog.heard(asked_s, now_s, self._usual_s)
                    if self._is_worth_decoding(packet, now_s):
                        for picture in self._decode(packet):
                            if not self._take(picture):
                                return
                    asked_s = self._clock.now_s()
                return
            except av.error.ExitError:  # nothing for `read_s`: the container is as good as before
                if not self.recipe.resumable:
                    raise SourceError(
                        f"{self.recipe.shown} sent nothing for {self.recipe.read_s:g} s.", "stalled"
                    ) from None

    def _video(self, container: InputContainer) -> VideoStream:
        stream = cast("VideoStream | None", container.streams.best("video"))
        if stream is None:
            heard = " (only sound)" if container.streams.audio else ""
            raise SourceError(f"{self.recipe.shown} holds no video{heard}.", "no_video")
        context: Any = stream.codec_context
        if context is None:
            raise SourceError(f"{self.recipe.shown} is in a video format that this build cannot decode.", "no_video")
        if (context.width or 0) * (context.height or 0) > MOST_PIXELS:
            raise SourceError(
                f"{self.recipe.shown} has pictures of {context.width} x {context.height}: larger than 8K."
            )
        context.thread_type = "NONE"  # frame threads would add one picture of delay each
        context.options = {"max_pixels": str(MOST_PIXELS)}  # also holds when the stream changes its mind
        rate = stream.average_rate or stream.guessed_rate
        self._usual_s = float(1 / rate) if rate else self._usual_s
        duration = container.duration
        self.info = StreamInfo(
            format=container.format.name,
            codec=context.name,
            width=context.width or 0,
            height=context.height or 0,
            fps=float(rate) if rate else None,
            duration_s=duration / av.time_base if duration and duration > 0 else None,
        )
        self._has_clock = self.info.format not in WITHOUT_CLOCK
        if self.recipe.kind == "ask" and self.info.stored:
            self.stored, self.media.live, self.frames.overflow = True, False, "wait"
            self.media.endless = self.info.duration_s is None
        return stream

    def _is_worth_decoding(self, packet: av.Packet[VideoStream], now_s: float) -> bool:
        if self.stored or packet.pts is None or packet.time_base is None:
            return True
        late_s = self.media.late_s(float(packet.pts * packet.time_base), now_s)
        return self._backlog.worth_decoding(late_s, packet.is_keyframe, now_s)

    def _decode(self, packet: av.Packet[VideoStream]) -> Iterator[av.VideoFrame]:
        try:
            yield from packet.decode()
        except av.error.ExitError:
            raise
        except av.FFmpegError:  # a damaged packet: counted, and the next one may be whole
            self._errors += 1

    def _take(self, picture: av.VideoFrame) -> bool:
        """Stamp a picture and hand it over if one is due. False when nobody wants more."""
        self._decoded += 1
        self.picture_s = now_s = self._clock.now_s()
        if self.first_frame_s is None:
            self.first_frame_s = now_s
            if self.stored:  # a phone held upright; asked once, as each look at side data makes a reference cycle
                self._quarter_turns = round(picture.rotation / 90)
        behind = self._backlog.behind(now_s)
        time_s = self.media.stamp(picture.time if self._has_clock else None, now_s, self._usual_s, behind)
        if picture.key_frame:
            self.key_times_s.append(time_s)
        if not self._is_due(time_s, picture.is_corrupt):
            return True
        rgb = to_rgb(picture, self.recipe.longest_side, self._quarter_turns)
        self._delivered += 1
        self.index += 1
        # A picture out of a backlog came to this machine earlier than to us; its age must not hide that.
        arrived_s = now_s - self.media.late_s(picture.time, now_s) if behind and self.media.live else now_s
        return self.frames.put(Frame(self.index - 1, time_s, arrived_s, rgb))

    def _is_due(self, time_s: float, corrupt: bool) -> bool:
        period_s = 1 / self.recipe.fps if self.recipe.fps else 0.0
        if corrupt:
            self._corrupt += 1
            # A whole picture is worth a short wait; a damaged one is better than blindness.
            if time_s < self._due_s + max(1.0, period_s):
                return False
        elif time_s < self._due_s - 1e-4:  # stamps are rounded
            return False
        self._due_s += period_s
        if self._due_s <= time_s:  # the first picture, or the first after a gap
            self._due_s = time_s + period_s
        return True


def to_rgb(picture: av.VideoFrame, longest_side: int, quarter_turns: int = 0) -> np.ndarray:
    """(H, W, 3) uint8 sRGB, read-only; scaled down by area so that the longer side has at most that many pixels."""
    scale = min(1.0, longest_side / max(picture.width, picture.height))
    if picture.width * picture.height > MOST_PIXELS:
        raise SourceError(f"A picture of {picture.width} x {picture.height} pixels came: larger than 8K.")
    if scale < 1.0:
        width, height = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        picture = picture.reformat(width, height, "rgb24", interpolation="AREA", threads=1)
    rgb: np.ndarray = picture.to_ndarray(format="rgb24")
    if quarter_turns:
        rgb = np.ascontiguousarray(np.rot90(rgb, quarter_turns))
    rgb.flags.writeable = False
    return rgb
