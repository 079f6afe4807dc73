"""The sockets: what a part must be able to do to stand in the loop. One or two verbs each.

The first two run on the event loop, the others on the device thread (`stream/device.py`) and nowhere else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from stream.flow import CameraState, Evidence, Frame, Holdings, MediaEpoch, Piece, Question, Tokens, Usage


class FrameSource(Protocol):
    """A camera. Iterating watches it; `aclose` ends it and everything it started."""

    @property
    def state(self) -> CameraState:
        """How the camera is doing now."""

    def __aiter__(self) -> AsyncIterator[Frame]:
        """Frames as they come, newest never older than the one before. Ends only when the source is finite."""

    async def aclose(self) -> None:
        """Stop at once; safe to call twice."""


class Gate(Protocol):
    """Decides which frames are worth a look. Under a millisecond, no I/O."""

    def admits(self, frame: Frame) -> bool:
        """True: encode it. False: nothing new, but the time it stands for has passed."""

    def reset(self) -> None:
        """What was kept is no longer remembered: the next frame is worth a look."""


class VisionEncoder(Protocol):
    """Pictures to tokens; frames of several cameras in one batch."""

    def encode(self, frames: Sequence[Frame]) -> list[Tokens]:
        """One `Tokens` per frame, in order. `places[:, 0]` is 0 here; memory counts frames itself."""


class MemoryView(Protocol):
    """What one question may look at: a fork of the memory, private, O(number of blocks) to make."""

    question: Question
    seen_s: float  # media time of the newest frame in reach, s

    def evidence(self) -> Evidence:
        """What the pieces said so far rest on."""

    def usage(self) -> Usage:
        """Tokens read and said so far."""

    def close(self) -> None:
        """Give back what the fork holds; safe to call twice."""


class StreamMemory(Protocol):
    """One camera's memory. `append` and `hold` write; nothing else does."""

    epoch: MediaEpoch

    def append(self, tokens: Tokens) -> None:
        """See one frame's tokens."""

    def hold(self, until_s: float) -> None:
        """Nothing has changed until this media time: what is on screen lasts longer."""

    def fork(self, question: Question) -> MemoryView:
        """A snapshot to answer from; the memory is bit-identical afterwards."""

    def used(self, view: MemoryView) -> None:
        """Take note of what a finished answer attended to (the `use` term of pruning; promotion of recalled blocks)."""

    def holdings(self) -> Holdings:
        """What is held now, in tokens and bytes."""

    def clear(self) -> None:
        """Forget everything but the budget."""

    def snapshot(self, path: Path) -> None:
        """Write all that is needed to answer the same after `restore`; atomic."""

    def restore(self, path: Path) -> None:
        """Read a snapshot back. Raises `ValueError` with a sentence when it is not one, or of another model."""


class Answerer(Protocol):
    """Words from a view: the first `next` reads the question, each later one says a little."""

    model_id: str

    def answer(self, view: MemoryView) -> Iterator[Piece]:
        """One device step per `next`; `close()` on the iterator frees the fork."""
