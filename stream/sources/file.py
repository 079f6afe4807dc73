"""Video files: at their own pace or as fast as they are consumed, once or for ever."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Literal

from stream.clock import Clock
from stream.flow import Frame
from stream.redact import redact
from stream.sources.decoded import DecodedSource
from stream.sources.errors import SourceError
from stream.sources.reader import Recipe


class FileSource(DecodedSource):
    """A file on this machine (mp4, mkv, ...). The end is state `ended`.

    What cannot be read raises `SourceError` and is `offline`; iterate again later, it may be there by then.
    """

    def __init__(
        self,
        path: str | Path,
        clock: Clock,
        *,
        fps: float = 2.0,
        loop: bool = False,
        pace: Literal["own", "fast"] = "own",
        stall_s: float = 10.0,
        longest_side: int = 1280,
        name: str = "",
    ) -> None:
        self._path = Path(path).expanduser()
        # The prefix keeps a file named `concat:a|b` a file; the white list keeps a playlist from reaching the network.
        recipe = Recipe(
            f"file:{self._path.absolute()}",
            redact(self._path),
            {"protocol_whitelist": "file,crypto"},
            fps=fps,
            longest_side=longest_side,
            kind="stored",
            loop=loop,
        )
        super().__init__(recipe, clock, name=name, stall_s=stall_s, pace=pace)

    def _check(self) -> None:
        if not self._path.exists():
            raise SourceError(f"There is no file at {self.recipe.shown}: check the path.", "not_found")
        if self._path.is_dir():
            raise SourceError(f"{self.recipe.shown} is a folder, not a video file.")
        if self._path.is_file() and self._path.stat().st_size == 0:
            raise SourceError(f"{self.recipe.shown} is empty.")

    async def aclose(self) -> None:
        if self.state.state == "offline":
            self._closing.set()  # closing does not hide why
        await super().aclose()

    async def _watch(self) -> AsyncGenerator[Frame, None]:
        try:
            async with contextlib.aclosing(self._connection()) as frames:
                async for frame in frames:
                    self.states.change("online")
                    yield frame
        except SourceError as fault:
            self.states.change("offline", str(fault))  # not closed: whoever asks again may find a file
            raise
        if not self._closing.is_set():
            self._close("ended", f"{self.recipe.shown} has come to its end.")
