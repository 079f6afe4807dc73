"""Pictures to tokens for all cameras: frames that wait at the same time are encoded in one batch."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from stream.device import SEE, Device

if TYPE_CHECKING:
    from stream.flow import Frame, Tokens
    from stream.ports import VisionEncoder


class _Wait:
    """One frame that wants to be encoded."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.tokens: Tokens | None = None
        self.error: Exception | None = None


class Sight:
    """The encoder behind the device. Each caller asks for one turn; the first to come takes all who wait along.

    There is no timer: while the device is busy frames gather, and when it is free a frame goes at once. One wait per
    camera, for `encode` returns before the camera's next frame is taken; so the queue is bounded by the cameras.
    """

    def __init__(self, device: Device, encoder: VisionEncoder, most: int = 8) -> None:
        """`most`: frames in one batch."""
        self.batches = 0
        self._device = device
        self._encoder = encoder
        self._most = most
        self._waiting: deque[_Wait] = deque()

    async def encode(self, frame: Frame) -> Tokens:
        """The tokens of a frame. Raises what the encoder raised on this frame, alone."""
        wait = _Wait(frame)
        self._waiting.append(wait)
        try:
            return await self._device.run(self._turn, wait, priority=SEE)
        finally:
            if wait in self._waiting:  # cancelled before its turn
                self._waiting.remove(wait)

    def _turn(self, wait: _Wait) -> Tokens:
        if wait.tokens is None and wait.error is None:
            self._encode(self._gather(wait))
        if wait.error is not None:
            raise wait.error
        assert wait.tokens is not None
        return wait.tokens

    def _gather(self, first: _Wait) -> list[_Wait]:
        batch = [first]
        if first in self._waiting:
            self._waiting.remove(first)
        while self._waiting and len(batch) < self._most:
            batch.append(self._waiting.popleft())
        return batch

    def _encode(self, batch: list[_Wait]) -> None:
        self.batches += 1
        try:
            encoded = self._encoder.encode([wait.frame for wait in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            # One camera's poisoned frame must not cost the others theirs: each again, alone.
            for wait in batch:
                self._encode([wait])
            return
        for wait, tokens in zip(batch, encoded, strict=True):
            wait.tokens = tokens
