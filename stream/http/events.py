"""What happens in the house, as server-sent events: with ids, so that a page that was away hears what it missed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from stream.http.problems import Problem
from stream.http.streaming import Streaming, event
from stream.hub import Event, Kind, Subscription, TooManyListeners
from stream.wire import rfc3339

if TYPE_CHECKING:
    from stream.station import Station

QUEUE = 256  # events a reader may be behind before it loses the oldest, and is told so
FULL_S = 10.0  # when all places are taken: how soon asking again may help
KINDS: frozenset[Kind] = frozenset(get_args(Kind))
Camera = Annotated[str | None, Query(description="Only this camera's.", max_length=64)]
Kinds = Annotated[str | None, Query(description=f"Comma-separated: {', '.join(sorted(KINDS))}.", max_length=100)]
After = Annotated[int | None, Query(description="Only what came after this id.", ge=0, lt=2**63)]


def event_payload(told: Event) -> dict[str, Any]:
    """An event as JSON."""
    return {"id": told.id, "kind": told.kind, "camera": told.camera, "at": rfc3339(told.wall_s), "data": told.data}


@dataclass(frozen=True, slots=True)
class Wish:
    """Which events a reader asked for."""

    kinds: frozenset[Kind]
    camera: str | None

    def __call__(self, told: Event) -> bool:
        """Whether this one is among them."""
        return told.kind in self.kinds and self.camera in (None, told.camera)


def wished(camera: str | None, kinds: str | None) -> Wish:
    """What the query asks for. Raises `Problem` 400 for a kind that is none."""
    names = frozenset(kinds.split(",")) if kinds else KINDS
    if not names <= KINDS:
        raise Problem(400, "unknown_kind", f"Kinds of events are {', '.join(sorted(KINDS))}.", param="kinds")
    return Wish(frozenset(kind for kind in KINDS if kind in names), camera)


def cursor(request: Request, after: int | None) -> int | None:
    """The last event a reader has seen: `Last-Event-ID` of a reconnect, else `?after=`. Nonsense counts as none."""
    told = request.headers.get("last-event-id", "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 20 else after


def event_routes(station: Station) -> APIRouter:
    """`/api/v1/events` and `/api/v1/events/stream`."""
    router = APIRouter(prefix="/api/v1/events", tags=["Events"])

    @router.get("", summary="Recent events, oldest first")
    async def recent(
        camera: Camera = None,
        kinds: Kinds = None,
        after: After = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """The last `limit` events that the process still holds; `last_id` is the cursor for the next call.

        What every second says anew (`tick`, `memory` of type `held`) is only told live.
        """
        asked_for = wished(camera, kinds)
        events = [told for told in station.events.recent() if asked_for(told) and told.id > (after or 0)]
        return {"events": [event_payload(told) for told in events[-limit:]], "last_id": station.events.last_id}

    @router.get("/stream", summary="Events as they happen (SSE)", response_class=Response)
    async def stream(request: Request, camera: Camera = None, kinds: Kinds = None, after: After = None) -> Response:
        """`id:`, `event:` (the kind), `data:`; resumes after `Last-Event-ID`. A `gap` event: some were lost."""
        asked_for, since = wished(camera, kinds), cursor(request, after)
        replay = station.events.after(since) if since is not None else None
        async with AsyncExitStack() as stack:
            try:  # before the first byte: a failure has its own status
                subscription = await stack.enter_async_context(station.events.subscribe(QUEUE, replay, asked_for))
            except TooManyListeners as full:
                raise Problem(503, "too_many_listeners", str(full), retry_after_s=FULL_S) from None
            stack.enter_context(station.meters.sse_clients.track_inprogress())
            told = listen(subscription, gap=since is not None and station.events.gap_after(since, asked_for.kinds))
            ends, slow = stack.pop_all(), station.meters.sse_slow.inc
        return Streaming(told, until=request.app.state.closing, on_slow=slow, on_end=ends.aclose)

    return router


async def listen(subscription: Subscription[Event], *, gap: bool) -> AsyncIterator[bytes]:
    """Events as server-sent events; `gap`: some that were asked for are not kept any more."""
    yield b"retry: 2000\n\n"
    if gap:
        yield event({"dropped": None}, name="gap")
    lost = 0
    async for told in subscription:
        if subscription.dropped > lost:
            yield event({"dropped": subscription.dropped - lost}, name="gap")
            lost = subscription.dropped
        yield event(event_payload(told), name=told.kind, number=told.id)
