"""A publisher that is faster than we are: nothing piles up, and nothing old is passed off as new."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from aiortc import MediaStreamTrack
from av import VideoFrame

from stream import peer
from stream.clock import Clock, HandWoundClock
from stream.flow import Frame
from stream.offers import OfferRefused
from stream.sources import webrtc
from stream.sources.reader import to_rgb
from stream.sources.webrtc import WhipSource
from tests.servers.hasty import until
from tests.stream.rtc.house import BoxTrack, MovingBox, offering, take_answer


class Still(MediaStreamTrack):
    """Connected, and never a picture."""

    kind = "video"

    async def recv(self) -> VideoFrame:
        await asyncio.sleep(3600)
        raise AssertionError


@contextlib.asynccontextmanager
async def published(source: WhipSource, track: MediaStreamTrack) -> AsyncIterator[list[Frame]]:
    """Somebody publishes this track; the frames as they come."""
    frames: list[Frame] = []

    async def watch() -> None:
        async for frame in source:
            frames.append(frame)  # noqa: PERF401 (looked at while it runs)

    watching = asyncio.create_task(watch())
    async with offering(track=track) as publisher:
        session = await source.accept(publisher.localDescription.sdp, loopback=True)
        await take_answer(publisher, session.answer_sdp)
        try:
            yield frames
        finally:
            await source.aclose()
            await watching


async def test_pictures_do_not_pile_up_while_one_is_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*arguments: Any) -> np.ndarray:
        time.sleep(0.25)
        return to_rgb(*arguments)

    monkeypatch.setattr(webrtc, "to_rgb", slow)
    source = WhipSource(Clock(), fps=60, name="phone")
    longest = 0
    async with published(source, BoxTrack(MovingBox(fps=60))) as frames:
        await until(lambda: source._publisher is not None and source.counts.decoded >= 5)
        queue: Any = source._publisher.track
        for _ in range(300):
            await asyncio.sleep(0.01)
            longest = max(longest, queue._queue.qsize())
        await until(lambda: len(frames) >= 5)
        counts = source.counts
    assert longest <= 10, "aiortc's queue is emptied whatever the conversion costs"
    assert counts.decoded > 3 * counts.delivered, "the newest wins"
    assert counts.dropped >= counts.decoded - counts.delivered - 3, "and what it replaced is counted"
    assert [frame.index for frame in frames] == list(range(len(frames)))


async def test_a_picture_out_of_a_backlog_is_as_old_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    source = WhipSource(Clock(), fps=60)
    async with published(source, BoxTrack()) as frames:
        await until(lambda: len(frames) >= 3)
        monkeypatch.setattr(peer, "backlog", lambda _: webrtc.FEW_WAITING + 1)
        stamps = source._publisher.stamps
        monkeypatch.setattr(stamps, "late_s", lambda *_: 3.0)
        asked_s, seen = source._clock.now_s(), len(frames)
        await until(lambda: len(frames) >= seen + 3)
        now_s = source._clock.now_s()
    assert asked_s - 3.5 <= frames[-1].arrived_s <= now_s - 3.0


async def test_a_backlog_is_seen_also_while_no_picture_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that has lost its way takes packets and gives nothing: the session ends before memory does."""
    monkeypatch.setattr(webrtc, "RECV_S", 0.05)
    source = WhipSource(Clock())
    async with published(source, Still()):
        await until(lambda: source._publisher is not None)
        monkeypatch.setattr(peer, "backlog", lambda _: webrtc.MOST_WAITING + 1)
        await until(lambda: source.sessions == 0)
        assert source.state.state == "waiting"


async def test_who_knocks_in_vain_does_not_lock_the_publisher_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of offers while somebody publishes, and of garbage; the moment there is room, an offer is taken."""
    monkeypatch.setattr(webrtc, "OFFERS_PER_S", 1e-6)  # what is spent stays spent
    clock = HandWoundClock()
    source = WhipSource(clock)
    async with published(source, Still()), offering() as newcomer:
        await until(lambda: source._publisher is not None)
        statuses = [await refusal(source, newcomer.localDescription.sdp) for _ in range(200)]
        assert statuses == [409] * webrtc.OFFERS_BURST + [429] * (200 - webrtc.OFFERS_BURST)
        assert {await refusal(source, "v=0 garbage") for _ in range(200)} == {400}
        clock.wind(webrtc.YIELD_S + 0.1)  # the publisher has been silent
        session = await source.accept(newcomer.localDescription.sdp, loopback=True)
        assert source.knows(session.id)


async def refusal(source: WhipSource, sdp: str) -> int:
    """With which status an offer is refused."""
    with pytest.raises(OfferRefused) as caught:
        await source.accept(sdp, loopback=True)
    return caught.value.status
