"""An accepted question: its words as they come, and its one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from stream.flow import Fault

if TYPE_CHECKING:
    from stream.flow import Answer, Piece, Question
    from stream.meters import Source
    from stream.request import Refused


class Ticket:
    """Any number of readers may follow; each hears every piece from the first on. The desk writes, once each."""

    def __init__(
        self,
        question: Question,
        source: Source,
        asked_wall_s: float,
        *,
        max_age_s: float = 0.0,
        reply: Mapping[str, str] | None = None,
    ) -> None:
        self.question = question
        self.source: Source = source
        self.asked_wall_s = asked_wall_s
        self.max_age_s = max_age_s  # an older newest frame makes the answer `stale`
        self.reply = reply
        self.seq = 0  # in the journal
        self.started_s: float | None = None  # monotonic: when it left the queue, s
        self.outcome: Answer | None = None  # the answer, when there is one
        self.payload: Mapping[str, Any] | None = None  # the answer JSON, when there is an answer
        self.stopped: asyncio.Future[Fault] = asyncio.get_running_loop().create_future()
        self._said: list[Piece] = []  # bounded: an answer has at most `MOST_TOKENS` pieces
        self._news = asyncio.Event()
        self._accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    @property
    def done(self) -> bool:
        """True when the answer is there."""
        return self._answer.done()

    @property
    def text(self) -> str:
        """What has been said so far."""
        return "".join(piece.text for piece in self._said)

    @property
    def first_said_s(self) -> float | None:
        """Monotonic time of the first piece, s."""
        return self._said[0].said_s if self._said else None

    async def pieces(self) -> AsyncIterator[Piece]:
        """The words as they come; ends with the answer, whatever it is."""
        heard = 0
        while True:
            news = self._news
            while heard < len(self._said):
                yield self._said[heard]
                heard += 1
            if self.done:
                return
            await news.wait()

    async def answer(self) -> Answer:
        """The one terminal answer. Cancelling the wait does not cancel the question; `cancel` does."""
        return await asyncio.shield(self._answer)

    def cancel(self, code: str = "cancelled", message: str = "The question was taken back.") -> None:
        """Stop answering; the terminal answer says `rejected` with this code. Nothing after the answer."""
        if not self.stopped.done():
            self.stopped.set_result(Fault(code, message))

    # The desk's side.

    def say(self, piece: Piece) -> None:
        """One more piece."""
        self._said.append(piece)
        self._tell()

    def accept(self) -> None:
        """It is on the disk."""
        if not self._accepted.done():
            self._accepted.set_result(None)

    def refuse(self, refused: Refused) -> None:
        """It could not be written."""
        if not self._accepted.done():
            self._accepted.set_exception(refused)
            self._accepted.exception()  # the asker may have gone; an unheard refusal is no error

    async def accepted(self) -> None:
        """Wait until the question is safe. Raises `Refused` when it cannot be made so."""
        await asyncio.shield(self._accepted)

    def settle(self, answer: Answer, payload: Mapping[str, Any]) -> None:
        """The terminal answer; a second one is a mistake of ours and raises."""
        self._answer.set_result(answer)
        self.outcome, self.payload = answer, payload
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
