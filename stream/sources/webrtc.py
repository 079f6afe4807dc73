"""A camera that somebody publishes to us over WebRTC (WHIP, RFC 9725): a browser, OBS, `stream/publisher.py`.

One publisher at a time. A publisher whose pictures arrive is never disturbed: a second one gets 409 and may try again.
One that has been silent for `YIELD_S` (a crashed browser, a phone in a pocket) yields to the newcomer as soon as the
newcomer is connected, so there are never two writers. Sessions that do not connect within `peer.CONNECT_S` are freed,
at most `PENDING_SESSIONS` may try at once, and offers are rationed per camera: those that can be taken have a ration
of their own, so that nobody locks a publisher out by knocking.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from stream import peer
from stream.clock import Clock
from stream.flow import CameraState, Frame
from stream.mailbox import Closed, Mailbox
from stream.offers import OfferRefused, Ration, checked_offer, with_bitrate_hints
from stream.sources.media_clock import MediaClock, Moment
from stream.sources.publication import Due, Publication, prepare
from stream.sources.reader import to_rgb
from stream.sources.states import Counts, StateKeeper
from stream.tasks import task_group

PENDING_SESSIONS = 4
OFFERS_BURST, OFFERS_PER_S = 10, 1.0
YIELD_S = 3.0
MOST_WAITING = 120  # pictures; aiortc would pile them up without bound
FEW_WAITING = 2  # pictures; when more wait, the one that comes now is not of now
ENDED_REMEMBERED = 64
RECV_S = 1.0
LONGEST_SIDE = 1280  # pixels; larger pictures are scaled down while they are converted

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class WhipSession:
    """What a publisher gets for its offer."""

    id: str  # 192 random bits: whoever knows it may end the session
    answer_sdp: str
    etag: str  # an entity tag, quotes included


class WhipSource:
    """A `FrameSource` fed by whoever publishes. Endless: it waits for the next publisher until `aclose`.

    Media time is continuous across publishers: the time without pictures counts as it passed (`media_clock`).
    """

    def __init__(self, clock: Clock, *, fps: float = 2.0, stall_s: float = 10.0, name: str = "whip") -> None:
        """`fps`: pictures handed on per second at most; `stall_s`: silence after which the camera is stalled, s."""
        self.states = StateKeeper(name or "whip", clock, "waiting", "Nobody publishes to this camera yet.")
        self._clock, self._period_s, self._stall_s = clock, 1.0 / fps, stall_s
        self._moment: Moment | None = None  # of the newest picture; the next publisher's time goes on from there
        self._frames: Mailbox[Frame] = Mailbox(1, "drop_oldest")
        self._sessions: dict[str, Publication] = {}
        self._publisher: Publication | None = None
        self._ended: deque[str] = deque(maxlen=ENDED_REMEMBERED)
        self._offers = Ration(clock, OFFERS_BURST, OFFERS_PER_S)
        self._knocks = Ration(clock, OFFERS_BURST, OFFERS_PER_S)  # offers that come while there is no room for them
        self._index, self._due_s = 0, 0.0
        self._closed = False
        self._decoded = self._replaced = 0
        self._has_been_online = False

    @property
    def state(self) -> CameraState:
        """How the camera is doing now."""
        return self.states.now

    def listen(self, listener: Callable[[CameraState], None]) -> Callable[[], None]:
        """Call this at every change of state; the returned function stops that."""
        return self.states.listen(listener)

    @property
    def counts(self) -> Counts:
        """Pictures decoded, delivered and dropped, over all publishers."""
        return Counts(self._decoded, self._index, self._frames.dropped + self._replaced)

    @property
    def sessions(self) -> int:
        """Sessions held now, those that still connect included."""
        return len(self._sessions)

    def knows(self, session_id: str) -> bool:
        """Whether the session lives."""
        return session_id in self._sessions

    async def accept(self, offer_sdp: str, *, loopback: bool = False) -> WhipSession:
        """Answer a publisher's offer; it has `peer.CONNECT_S` to connect. `loopback`: it is on this machine.

        Raises `OfferRefused`: 409 while another publisher delivers, 429 or 503 when too many try, 400, 413 or 422 for
        an offer that cannot be answered.
        """
        offer = checked_offer(offer_sdp, "sends")  # bounded work on bounded text, so it is not rationed
        self._check_admission()
        session = Publication(secrets.token_urlsafe(24), peer.new_peer(loopback=loopback))
        self._sessions[session.id] = session
        try:
            answer = await peer.answer(session.peer, offer, lambda connection: prepare(connection, session))
            if not self.knows(session.id):  # closed meanwhile
                raise OfferRefused(503, "shutting_down", "This camera is being closed.", retry_after_s=10)
        except BaseException:
            await self._forget(session)
            raise
        session.task = asyncio.create_task(self._serve(session), name="whip-publisher")
        hinted = with_bitrate_hints(answer, start_kbps=2500, min_kbps=1500, max_kbps=4000)
        return WhipSession(session.id, hinted, f'"{secrets.token_hex(8)}"')

    async def hang_up(self, session_id: str) -> bool:
        """End a session. True also for one that ended lately: asking twice is no error. False: never heard of it."""
        session = self._sessions.get(session_id)
        if session is None:
            return session_id in self._ended
        was_publisher = session is self._publisher
        await self._end(session)
        if was_publisher:
            self.states.change("waiting", "The publisher hung up; waiting for the next one.")
        return True

    async def __aiter__(self) -> AsyncIterator[Frame]:
        with contextlib.suppress(Closed):
            while True:
                yield await self._frames.get()

    async def aclose(self) -> None:
        """End every session and the iteration; safe to call twice."""
        self._closed = True
        await asyncio.gather(*(self._end(session) for session in list(self._sessions.values())))
        self._frames.close()
        self.states.change("ended", "Stopped.")

    def _check_admission(self) -> None:
        if self._closed:
            raise OfferRefused(503, "shutting_down", "This camera is being closed.", retry_after_s=10)
        full: OfferRefused | None = None
        if self._publisher is not None and not self._yields(self._publisher):
            full = OfferRefused(409, "already_published", "Somebody is publishing to this camera already.", YIELD_S)
        elif sum(session is not self._publisher for session in self._sessions.values()) >= PENDING_SESSIONS:
            full = OfferRefused(503, "too_many_sessions", "Too many publishers are connecting at once.", peer.CONNECT_S)
        wait_s = (self._offers if full is None else self._knocks).take()
        if wait_s > 0:
            raise OfferRefused(429, "too_many_offers", "Too many offers for this camera; slow down.", wait_s)
        if full is not None:
            raise full

    def _yields(self, session: Publication) -> bool:
        return self._clock.now_s() - session.heard_s > YIELD_S

    async def _serve(self, session: Publication) -> None:
        """A session's whole life after its answer."""
        try:
            async with asyncio.timeout(peer.CONNECT_S):
                await session.connected.wait()
            if await self._take_over(session):
                await self._receive(session)
        except TimeoutError:
            log.info("A publisher did not connect within %.0f s.", peer.CONNECT_S)
        except MediaStreamError:
            self._part_from(session)
        except Exception:  # nobody awaits this task: whatever breaks here must be told here
            log.exception("A publisher's session broke.")
            self.states.change("offline", "The publisher's session broke; the log has the details. Publish again.")
        finally:
            await asyncio.shield(self._forget(session))

    async def _take_over(self, session: Publication) -> bool:
        """Make the session the camera's publisher, unless somebody else delivers."""
        while (rival := self._publisher) is not None:
            if not self._yields(rival):
                return False
            self._publisher = None  # before anything is awaited: never two writers
            await self._end(rival)
        self._publisher = session
        session.heard_s = self._clock.now_s()
        self.states.change("waiting", "A publisher is connected; waiting for its first picture.")
        return True

    async def _receive(self, session: Publication) -> None:
        """Drain and convert side by side: aiortc's queue must not wait for a conversion. Ends by `MediaStreamError`."""
        async with task_group() as tasks:
            converting = tasks.create_task(self._convert(session), name="whip-convert")
            try:
                await self._drain(session)
            finally:
                converting.cancel()

    async def _drain(self, session: Publication) -> None:
        """Take every picture out of aiortc's unbounded queue at once; keep the newest that is due."""
        track = session.track
        if track is None:
            raise MediaStreamError
        while True:
            picture = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RECV_S):
                    picture = await track.recv()
            waiting = peer.backlog(session.peer)
            if waiting > MOST_WAITING:
                log.warning("A publisher sends more than can be decoded here; its session is ended.")
                raise MediaStreamError
            if isinstance(picture, VideoFrame):
                self._take(session, picture, behind=waiting > FEW_WAITING)
            else:
                self._notice_silence(session)

    def _take(self, session: Publication, picture: VideoFrame, *, behind: bool) -> None:
        now_s = self._clock.now_s()
        session.heard_s = now_s
        self._decoded += 1
        if self.state.state == "stalled":
            self._note_online()
        if session.stamps is None:
            session.stamps = MediaClock(live=True, after=self._moment)
        time_s = session.stamps.stamp(picture.time, now_s, self._period_s, behind)
        self._moment = session.stamps.last
        if not self._is_due(time_s):
            return
        # A picture out of a backlog came to this machine earlier than to us; its age must not hide that.
        arrived_s = now_s - session.stamps.late_s(picture.time, now_s) if behind else now_s
        self._replaced += len(session.due)
        session.due.offer(Due(picture, time_s, arrived_s))

    async def _convert(self, session: Publication) -> None:
        """Turn what is due into frames, one by one; what a newer picture replaced meanwhile is not converted."""
        while True:
            due = await session.due.get()
            rgb = await asyncio.to_thread(to_rgb, due.picture, LONGEST_SIDE)
            if not self._frames.closed:
                self._frames.offer(Frame(self._index, due.time_s, due.arrived_s, rgb))
            self._index += 1
            self._note_online()  # not before: who reads `online` asks for a picture

    def _note_online(self) -> None:
        if self.state.state == "online":
            return
        is_return = self._has_been_online and self.state.state != "stalled"
        self.states.change("online", reconnects=int(is_return))
        self._has_been_online = True

    def _is_due(self, time_s: float) -> bool:
        """Thin to `fps` on a grid of media time."""
        if time_s < self._due_s - 1e-4:  # stamps are rounded
            return False
        self._due_s += self._period_s
        if self._due_s <= time_s:  # the first picture, or the first after a gap
            self._due_s = time_s + self._period_s
        return True

    def _notice_silence(self, session: Publication) -> None:
        silent_s = self._clock.now_s() - session.heard_s
        if silent_s >= self._stall_s and self.state.state != "stalled":
            reason = f"The publisher is connected but has sent no picture for {self._stall_s:g} s."
            self.states.change("stalled", reason, stalls=1)

    def _part_from(self, session: Publication) -> None:
        """Say how a publisher went that was not asked to."""
        if session is not self._publisher:
            return
        if peer.vanished(session.peer):
            self.states.change("offline", "The publisher vanished without a word; waiting for it to come back.")
        else:
            self.states.change("waiting", "The publisher stopped; waiting for the next one.")

    async def _end(self, session: Publication) -> None:
        if session.task is not None and session.task is not asyncio.current_task():
            session.task.cancel()
            await asyncio.wait([session.task])
        await self._forget(session)

    async def _forget(self, session: Publication) -> None:
        if self._sessions.pop(session.id, None) is None:
            return
        self._ended.append(session.id)
        if self._publisher is session:
            self._publisher = None
        await session.peer.close()
