"""Evenly spaced frames of a stored video, or of a folder of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np
from PIL import Image

from stream.flow import Frame
from stream.sources.errors import SourceError
from stream.sources.reader import to_rgb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import InputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

PICTURES_HZ = 3.0  # of folders of pictures: MVBench's copies of TVQA
LONGEST_SIDE = 1280  # px; towers look at far smaller pictures
FAR_S = 10.0  # to the next frame wanted: from there on it is quicker to jump than to decode all in between


class Unreadable(ValueError):
    """A film that gives no frame, in a sentence."""


def frames_of(path: Path, count: int, span_s: tuple[float, float] | None = None) -> Iterator[Frame]:
    """At most `count` frames at even distances, the first and the last of the film (or of `span_s`) among them.

    A film of fewer frames gives each of them once. Raises `Unreadable`.
    """
    try:
        made = _pictures(path, count, span_s) if path.is_dir() else _video(path, count, span_s)
        number = -1
        for number, (time_s, rgb) in enumerate(made):
            yield Frame(number, time_s, time_s, rgb)
    except (av.FFmpegError, SourceError, OSError, ValueError, SyntaxError) as error:
        told = str(error) if isinstance(error, Unreadable) else f"{path.name} cannot be read: {error}"
        raise Unreadable(told[:300]) from error
    if number < 0:
        raise Unreadable(f"{path.name} has no frame there.")


def _pictures(path: Path, count: int, span_s: tuple[float, float] | None) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    names = sorted(one for one in path.iterdir() if one.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not names:
        return
    last = len(names) - 1
    first, end = (0, last) if span_s is None else (min(last, round(s * PICTURES_HZ)) for s in span_s)
    for at in np.unique(np.linspace(first, end, count).round().astype(int)):
        with Image.open(names[at]) as picture:
            yield float(at) / PICTURES_HZ, np.asarray(picture.convert("RGB"))


def _video(path: Path, count: int, span_s: tuple[float, float] | None) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    # The prefix keeps a name like `concat:a|b` a name; the white list keeps a playlist from reaching the network.
    with av.open(f"file:{path}", options={"protocol_whitelist": "file,crypto"}) as box:
        if not box.streams.video:
            raise Unreadable(f"{path.name} has no picture.")
        stream = box.streams.video[0]
        step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        last = max(0.0, _length_s(path, box, stream) - step)
        first, end = (0.0, last) if span_s is None else (min(s, last) for s in span_s)
        wanted = np.linspace(first, end, count)
        yield from _nearest(box, stream, wanted, step)


def _nearest(
    box: InputContainer, stream: VideoStream, wanted: NDArray[np.float64], step: float
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The frame at each time wanted, decoded in order, with jumps over what nobody wants."""
    tick, at, jumped = float(stream.time_base or 1e-6), 0, False
    origin = float(stream.start_time or 0) * tick
    frames, newest, turns = box.decode(stream), None, None
    while at < len(wanted):
        frame = next(frames, None)
        if frame is None:
            break
        time_s = max(0.0, (origin if frame.pts is None else frame.pts * tick) - origin)
        if turns is None:  # a phone held upright
            turns = round(frame.rotation / 90)
        newest = (time_s, frame)
        if time_s >= wanted[at] - step / 2:
            yield time_s, to_rgb(frame, LONGEST_SIDE, turns)
            newest, jumped = None, False
            while at < len(wanted) and wanted[at] - step / 2 <= time_s:
                at += 1
        elif not jumped and wanted[at] - time_s > FAR_S:
            box.seek(int((wanted[at] + origin) / tick), stream=stream, backward=True)
            frames, jumped = box.decode(stream), True
    if at < len(wanted) and newest is not None:  # the file ends before it says it does
        yield newest[0], to_rgb(newest[1], LONGEST_SIDE, turns or 0)


def _length_s(path: Path, box: InputContainer, stream: VideoStream) -> float:
    """As the file says, or as its packets say where it does not."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if box.duration:
        return box.duration / 1e6
    with av.open(f"file:{path}", options={"protocol_whitelist": "file,crypto"}) as other:
        its = other.streams.video[0]
        ends = [p.pts + (p.duration or 0) for p in other.demux(its) if p.pts is not None]
        return float((max(ends, default=0) - (its.start_time or 0)) * (its.time_base or 0))
