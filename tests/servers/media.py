"""Small videos with known truth, made on the spot: picture n of `numbers` shows the number n in its brightness."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

LEVEL = 4  # grey levels from one picture to the next; 50 pictures fit


def numbered(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """(H, W, 3) uint8: a grey of 20 + 4 n."""
    return np.full((size[1], size[0], 3), 20 + LEVEL * number, np.uint8)


def read_number(rgb: np.ndarray) -> int:
    """Which picture this is."""
    return round((float(rgb.mean()) - 20) / LEVEL)


def write_video(
    path: Path | io.BytesIO,
    pictures: int | Sequence[np.ndarray] = 20,
    *,
    fps: int = 10,
    size: tuple[int, int] = (64, 48),
    form: str | None = None,
    options: dict[str, str] | None = None,
    codec: str = "libx264",
    b_frames: int = 0,
    turned: int = 0,
) -> None:
    """Numbered pictures, or those given; a key frame every second. `turned`: degrees for a player to rotate them by."""
    shown = [numbered(number, size) for number in range(pictures)] if isinstance(pictures, int) else pictures
    target = path if isinstance(path, io.BytesIO) else str(path)
    with av.open(target, "w", format=form, options=options or {}) as out:
        stream: Any = out.add_stream(codec, rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = fps
        stream.codec_context.max_b_frames = b_frames
        if codec == "libx264":
            stream.options = {"preset": "veryfast", "x264-params": "threads=1:scenecut=0", "qp": "10"}
        if turned:
            stream.set_display_rotation(turned)
        for number, rgb in enumerate(shown):
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            picture.pts = number
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))


def write_sound(path: Path) -> None:
    """Half a second of silence and no picture."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("aac", rate=16000, layout="mono")
        for start in range(0, 8000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
