"""uvicorn's HTTP protocol with its gaps closed: headers that never end, bodies that go on, readers that do not read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from stream.http.streaming import ABORT

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

HEADERS_WITHIN_S = 10.0
LINGER_S = 2.0  # closing at once would reset the connection, and the refusal could be lost on its way


class GuardedProtocol(H11Protocol):
    """Headers must be complete within `headers_within_s` of a connection's opening or of a request's first byte."""

    headers_within_s = HEADERS_WITHIN_S
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP always has one
        """Start the clock, and hand each request the means to drop its connection."""
        super().connection_made(transport)
        app: Any = self.app

        async def abortable(scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"] = {**scope.get("extensions", {}), ABORT: transport.abort}
            await app(scope, receive, send)

        self.app = abortable
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Stop the clock once the headers are in."""
        if self._deadline is None and not self._busy():
            self._expect_headers()
        super().data_received(data)
        if self._busy():
            self._headers_came()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._headers_came()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """A request that was answered before its body had come may go on for a moment, unread."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self.loop.call_later(LINGER_S, self._end_linger, self.cycle)
        elif not self._busy() and self.conn.trailing_data[0]:  # half of a next request has come already
            self._expect_headers()

    def _end_linger(self, answered: RequestResponseCycle) -> None:
        if self.cycle is answered and self.conn.their_state is h11.SEND_BODY:  # it still has not come to its end
            self.transport.close()

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(self.headers_within_s, self._give_up)

    def _headers_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self._busy():
            self.transport.close()

    def _busy(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever its type says
        return cycle is not None and not cycle.response_complete
