"""An answer on all of its ways, and the note in the journal when it has arrived on each.

The broker's acknowledgement is what counts. An answer whose acknowledgement we did not live to see is said once more by
the next life, word for word and with the same id: QoS 1 means "at least once", and an answer heard twice is known by
its id, while one that is lost is lost. So it is heard twice only where the process died, or the connection, between the
broker's taking it and our noting that on the disk; after a clean end it is heard once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from stream.mqtt.common import Common
from stream.mqtt.replies import Route, to_everyone, to_home_assistant, to_route


class Saying:
    """Puts answers into the outbox."""

    def __init__(self, common: Common, reply_topics: Sequence[str]) -> None:
        self._station, self._topics, self._outbox = common.station, common.topics, common.outbox
        self._reply_topics = reply_topics
        self._last_s: dict[str, float] = {}  # per camera: when the answer on `answer/last` was given, Unix time, s
        self._told_recovered = False

    def answer(
        self, camera: str, payload: Mapping[str, object], routes: Collection[Route], *, seq: int, answered_s: float
    ) -> None:
        """One terminal answer. `seq`: its place in the journal; `answered_s`: Unix time."""
        said = [publication for route in routes for publication in to_route(route, payload)]
        said.append(to_everyone(self._topics, camera, payload))
        arrived = _after(len(said), lambda: self._station.journal.told(seq))
        for publication in said:
            publication.on_done = arrived
            self._outbox.put(publication)
        if answered_s >= self._last_s.get(camera, 0.0):  # an old answer that is sent again must not replace a newer one
            self._last_s[camera] = answered_s
            self._outbox.put(to_home_assistant(self._topics, camera, payload))

    def recovered(self) -> None:
        """Once: what a former life answered without being heard, and what became of questions it did not answer."""
        if self._told_recovered or not self._station.desk.accepting:
            return
        self._told_recovered = True
        past = self._station.desk.past
        self._last_s = dict(past.last_told_s)
        for one in (*past.untold, *past.recovered):
            if one.source != "mqtt":
                continue
            route = Route.of(one.reply)
            if route.topic is not None and self._topics.response_fault(route.topic, self._reply_topics):
                route = Route()  # it was allowed then; the configuration has changed since
            answer = one.answer
            self.answer(answer.question.camera, one.payload, [route], seq=one.seq, answered_s=answer.answered_wall_s)


def _after(count: int, then: Callable[[], None]) -> Callable[[], None]:
    """To be called so many times; the last call does it."""
    left = count

    def one_more() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            then()

    return one_more
