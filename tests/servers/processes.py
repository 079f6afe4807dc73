"""Programs of this tree in processes of their own, so that they can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

TREE = Path(__file__).parents[2]
RTSP = TREE / "tests" / "servers" / "rtsp.py"


class Command:
    """`run_stream.py …`; its lines as they come."""

    def __init__(self, *argv: str) -> None:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(TREE / "run_stream.py"), *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=TREE,
            env=environment,
        )
        self.said = ""

    def line_with(self, word: str) -> str:
        """Read on until a line holds this; fails with all that was said instead."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if word in line:
                return line
        raise AssertionError(f"{word!r} was never said:\n{self.said}")

    def rest(self) -> str:
        """All that it said, once it has ended."""
        out, _ = self.process.communicate(timeout=60)
        self.said += out
        return self.said

    def kill(self) -> None:
        """End it as a power cut would; nothing when it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


@contextlib.asynccontextmanager
async def rtsp_process(port: int, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The camera of `tests/servers/rtsp.py`, ready and playing at this port; killed on leaving."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(RTSP), "--port", str(port), *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert (await asyncio.wait_for(process.stdout.readline(), 30)).startswith(b"ready")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
