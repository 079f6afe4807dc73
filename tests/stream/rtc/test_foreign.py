"""A publisher that shares no code with us: FFmpeg's own WHIP muxer, with H.264."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import numpy as np

from tests.patience import PATIENCE_S
from tests.stream.rtc.house import open_house, until

ROOT = Path(__file__).parents[3]


async def test_ffmpeg_publishes(tmp_path: Path) -> None:
    async with open_house() as house:
        agent, source = house.station.cameras["phone"], house.station.source("phone")
        command = (sys.executable, "-m", "tests.stream.rtc.ffmpeg_publisher", f"{house.url}/whip/phone", str(tmp_path))
        program = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stderr=PIPE)
        try:
            await until(lambda: len(agent.frames) >= 5 or program.returncode is not None)
        finally:
            async with asyncio.timeout(PATIENCE_S):
                _, said = await program.communicate()
        frame = agent.latest
        assert frame is not None, said.decode()[-2000:]
        assert frame.rgb.shape == (240, 320, 3)
        red = (frame.rgb[..., 0] > 150) & (frame.rgb[..., 1] < 100)
        assert np.count_nonzero(red) > 1000
        await until(lambda: source.sessions == 0)  # it says goodbye
