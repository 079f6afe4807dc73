"""Whether there is room for one more question, and what a request means here and now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from stream.flow import Question
from stream.request import MOST_TOKENS, Refused, Request, new_id
from stream.ticket import Ticket

if TYPE_CHECKING:
    from stream.agent import Agent
    from stream.clock import Clock
    from stream.config import QuestionsConfig


def check_load(camera: str, tickets: Collection[Ticket], limits: QuestionsConfig, answer_s: float) -> None:
    """Raises `Refused` when too many are open. `answer_s`: how long answering takes as a rule."""
    waiting = Counter(ticket.question.camera for ticket in tickets)
    if waiting.total() >= limits.max_concurrent + limits.queue:
        what = f"{waiting.total()} questions are open"
    elif waiting[camera] >= limits.max_concurrent + limits.queue_per_camera:
        what = f"{waiting[camera]} questions to {camera!r} are open"
    else:
        return
    wait_s = max(1.0, round(answer_s * waiting.total() / limits.max_concurrent, 1))
    raise Refused("overloaded", "overloaded", f"{what}; ask again in about {wait_s:g} s.", retry_after_s=wait_s)


def make_ticket(request: Request, text: str, agent: Agent, clock: Clock, limits: QuestionsConfig) -> Ticket:
    """A request as a question asked now; where it says nothing, the configuration does. `text`: checked."""
    now_s = clock.now_s()
    now_media_s = agent.freshness.now_media_s()
    span_s = request.span_s
    if request.since_s is not None and now_media_s is not None:
        span_s = (now_media_s - request.since_s, now_media_s)
    question = Question(
        id=request.id or new_id(),
        text=text,
        camera=request.camera,
        asked_s=now_s,
        deadline_s=now_s + (request.timeout_s or limits.timeout_s),
        span_s=span_s,
        max_tokens=min(MOST_TOKENS, request.max_tokens or limits.max_tokens),
        temperature=request.temperature,
    )
    # A camera that is looked at every 20 s is not stale after 10, unless the asker says so.
    max_age_s = request.max_age_ms / 1000 if request.max_age_ms else max(limits.max_age_ms / 1000, agent.patience_s)
    return Ticket(question, request.source, clock.wall_s(), max_age_s=max_age_s, reply=request.reply)
