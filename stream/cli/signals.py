"""The first Ctrl-C or SIGTERM asks for a clean end, which is given a few seconds; the second ends at once."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_S = 9.5  # the contract says under 10 s, whatever hangs in a driver or a socket
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop(asyncio.Event):
    """Set by the first signal; `signum` says which one, 0 while none came."""

    signum = 0


@contextmanager
def stopping(grace_s: float = GRACE_S) -> Iterator[Stop]:
    """Inside a running event loop of the main thread: signals set the event instead of raising."""
    stop, loop = Stop(), asyncio.get_running_loop()

    def on_signal(signum: int, _: FrameType | None) -> None:
        if stop.signum:
            os._exit(128 + signum)
        stop.signum = signum
        last_word = threading.Timer(grace_s, os._exit, (128 + signum,))
        last_word.daemon = True
        last_word.start()
        loop.call_soon_threadsafe(stop.set)

    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        yield stop
    finally:
        # While we are ending, the second signal must still end us at once; only a run without signals hands them back.
        if not stop.signum:
            for number, handler in before.items():
                signal.signal(number, handler)
