"""What leaves the house as JSON: answers, holdings, states. One place, so MQTT, HTTP and the page say the same.

Times are RFC 3339 UTC with milliseconds; durations say their unit in the key. Nothing here may carry a credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from stream.flow import (
    Answer,
    BlockRecord,
    CameraState,
    Evidence,
    Fault,
    Holdings,
    Latency,
    MediaEpoch,
    Question,
    Sighting,
    Status,
    Tick,
    Usage,
)

Payload = dict[str, object]
ONLINE_STATES = frozenset({"online"})


def rfc3339(wall_s: float) -> str:
    """Unix seconds to `2026-01-31T12:00:00.000Z`."""
    return datetime.fromtimestamp(round(wall_s, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def wall_of(stamp: str) -> float:
    """Unix seconds of an RFC 3339 time. Raises `ValueError` when it is not one or names no zone."""
    moment = datetime.fromisoformat(stamp)
    if moment.tzinfo is None:
        raise ValueError(f"The time {stamp!r} names no time zone; end it with Z or an offset such as +01:00.")
    return moment.timestamp()


def answer_payload(answer: Answer, epoch: MediaEpoch) -> Payload:
    """The answer JSON of the contract, version 1."""
    payload: Payload = {
        "v": 1,
        "id": answer.question.id,
        "camera": answer.question.camera,
        "question": answer.question.text,
        "status": answer.status,
        "answer": answer.text,
        "abstained": abstained(answer),
        "data": None,
        "asked_at": rfc3339(answer.asked_wall_s),
        "answered_at": rfc3339(answer.answered_wall_s),
        "latency_ms": {
            "queue": round(answer.latency.queue_ms, 1),
            "first_token": None if answer.latency.first_token_ms is None else round(answer.latency.first_token_ms, 1),
            "total": round(answer.latency.total_ms, 1),
        },
        "evidence": evidence_payload(answer.evidence, epoch, answer.newest_frame_age_ms),
        "model": answer.model,
        "usage": {
            "prompt_tokens": answer.usage.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens,
        },
    }
    if answer.error is not None:
        payload["error"] = {"code": answer.error.code, "message": answer.error.message}
    return payload


def abstained(answer: Answer) -> bool:
    """True when the words rest on nothing: nothing of the asked-for time is remembered, or the model was not asked."""
    if answer.evidence is None:
        return False
    if answer.evidence.out_of_depth and not answer.usage.completion_tokens:
        return True  # the answer says that it would be a guess
    if answer.question.span_s is None:
        return False
    start, end = answer.question.span_s
    missing = sum(to - frm for frm, to in answer.evidence.uncovered_s)
    return missing > 0 and missing >= 0.999 * (end - start)


def evidence_payload(evidence: Evidence | None, epoch: MediaEpoch, newest_frame_age_ms: float | None) -> Payload | None:
    """What an answer rests on; `from` and `to` span all sightings."""
    if evidence is None:
        return None
    starts = [sighting.span_s[0] for sighting in evidence.sightings]
    ends = [sighting.span_s[1] for sighting in evidence.sightings]
    return {
        "from": rfc3339(epoch.wall(min(starts))) if starts else None,
        "to": rfc3339(epoch.wall(max(ends))) if ends else None,
        "frames": evidence.frames,
        "newest_frame_at": rfc3339(epoch.wall(evidence.newest_frame_s)),
        "newest_frame_age_ms": None if newest_frame_age_ms is None else round(newest_frame_age_ms),
        "memory_from": rfc3339(epoch.wall(evidence.covered_s[0])) if evidence.covered_s else None,
        "memory_to": rfc3339(epoch.wall(evidence.covered_s[1])) if evidence.covered_s else None,
        "sightings": [_sighting_payload(sighting, epoch) for sighting in evidence.sightings],
        "uncovered": [span_payload(span, epoch) for span in evidence.uncovered_s],
        **_depth(evidence),
    }


def _sighting_payload(sighting: Sighting, epoch: MediaEpoch) -> Payload:
    tier = sighting.recalled or ("instant" if sighting.block is None else "hot")
    return {
        **span_payload(sighting.span_s, epoch),
        "weight": round(sighting.weight_fraction, 4),
        "cells": [[round(share, 5) for share in row] for row in sighting.cells],
        "tier": tier,
        "block": sighting.block,
    }


def span_payload(span_s: tuple[float, float], epoch: MediaEpoch) -> Payload:
    """A stretch of media time as two wall-clock times."""
    return {"from": rfc3339(epoch.wall(span_s[0])), "to": rfc3339(epoch.wall(span_s[1]))}


def holdings_payload(holdings: Holdings, epoch: MediaEpoch) -> Payload:
    """What a camera's memory holds: the page's timeline, oldest first."""
    return {
        "blocks": [block_payload(block, epoch) for block in holdings.blocks],
        "recent": [block_payload(block, epoch) for block in holdings.recent],
        **memory_payload(holdings, epoch),
    }


def memory_payload(holdings: Holdings, epoch: MediaEpoch) -> Payload:
    """The sums of `holdings_payload`, without the single blocks."""
    return {
        "bytes": sum(holdings.bytes_by_part.values()),
        "bytes_by_part": dict(holdings.bytes_by_part),
        "budget_bytes": holdings.budget_bytes,
        "tokens_by_state": dict(holdings.tokens_by_state),
        "patches_seen": holdings.patches_seen,
        "patches_by_state": dict(holdings.patches_by_state),
        "codes_alive": holdings.codes_alive,
        "frames_seen": holdings.frames_seen,
        "covered": span_payload(holdings.covered_s, epoch) if holdings.covered_s else None,
        "media_epoch": rfc3339(epoch.wall_s),
        **_depth(holdings),
    }


def _depth(judged: Evidence | Holdings) -> Payload:
    """How unlike the model's training pictures the camera's are; null where the model cannot tell."""
    score = judged.depth_score
    return {"depth_score": None if score is None else round(score, 3), "out_of_depth": judged.out_of_depth}


def block_payload(block: BlockRecord, epoch: MediaEpoch) -> Payload:
    """One line of the ledger."""
    return {
        "id": block.id,
        "state": block.state,
        **span_payload(block.span_s, epoch),
        "frames": block.frames,
        "tokens": block.tokens,
        "patches": block.patches,
        "score": None if block.score is None else round(block.score, 4),
        "reason": block.reason,
        "pinned": block.pinned,
        "recalls": block.recalls,
    }


def state_payload(state: CameraState) -> Payload:
    """How a camera is doing."""
    return {
        "state": state.state,
        "online": state.state in ONLINE_STATES,
        "since": rfc3339(state.since_wall_s),
        "reason": state.reason,
        "reconnects": state.reconnects,
        "stalls": state.stalls,
    }


def tick_payload(tick: Tick) -> Payload:
    """One second of a camera's life."""
    return {
        "at": rfc3339(tick.wall_s),
        "frames_in": tick.frames_in,
        "frames_gated": tick.frames_gated,
        "frames_dropped": tick.frames_dropped,
        "frames_seen": tick.frames_seen,
        "tokens_in": tick.tokens_in,
        "tokens_kept": tick.tokens_kept,
        "see_ms": round(tick.see_ms, 2),
        "ask_ms": round(tick.ask_ms, 2),
        "lag_s": round(tick.lag_s, 3),
    }


def answer_from_payload(payload: Mapping[str, Any], epoch: MediaEpoch) -> Answer:
    """The way back from `answer_payload`, for answers that come out of the journal.

    Clocks of the process that gave the answer mean nothing here: `asked_s` and `deadline_s` are 0.
    """
    error = payload.get("error")
    latency, usage = payload["latency_ms"], payload["usage"]
    evidence = payload.get("evidence")
    return Answer(
        question=Question(payload["id"], payload["question"], payload["camera"], asked_s=0.0, deadline_s=0.0),
        status=cast("Status", payload["status"]),
        text=payload["answer"],
        error=Fault(error["code"], error["message"]) if error else None,
        evidence=_evidence_from(evidence, epoch) if evidence else None,
        latency=Latency(latency["queue"], latency["first_token"], latency["total"]),
        usage=Usage(usage["prompt_tokens"], usage["completion_tokens"]),
        model=payload["model"],
        newest_frame_age_ms=evidence["newest_frame_age_ms"] if evidence else None,
        answered_wall_s=wall_of(payload["answered_at"]),
        asked_wall_s=wall_of(payload["asked_at"]),
    )


def _evidence_from(payload: Mapping[str, Any], epoch: MediaEpoch) -> Evidence:
    def span(part: Mapping[str, Any], start: str = "from", end: str = "to") -> tuple[float, float]:
        return epoch.media(wall_of(part[start])), epoch.media(wall_of(part[end]))

    return Evidence(
        sightings=tuple(
            Sighting(
                span_s=span(part),
                weight_fraction=part["weight"],
                cells=tuple(tuple(row) for row in part["cells"]),
                block=part["block"],
                recalled=part["tier"] if part["tier"] in ("warm", "cold") else "",
            )
            for part in payload["sightings"]
        ),
        covered_s=span(payload, "memory_from", "memory_to") if payload["memory_from"] else None,
        uncovered_s=tuple(span(part) for part in payload["uncovered"]),
        newest_frame_s=epoch.media(wall_of(payload["newest_frame_at"])),
        frames=payload["frames"],
        depth_score=payload.get("depth_score"),  # not in answers of older journals
        out_of_depth=payload.get("out_of_depth", False),
    )
