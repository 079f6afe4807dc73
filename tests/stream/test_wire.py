"""The payloads are public: names, units and times as the contract has them."""

from dataclasses import replace
from typing import Any

import pytest

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
    Tick,
    Usage,
)
from stream.wire import (
    answer_from_payload,
    answer_payload,
    holdings_payload,
    rfc3339,
    state_payload,
    tick_payload,
    wall_of,
)

EPOCH = MediaEpoch(1_700_000_000.0)  # 2023-11-14T22:13:20Z
QUESTION = Question("q-42", "Is the gate open?", "front", asked_s=5.0, deadline_s=35.0, span_s=(0.0, 10.0))
EVIDENCE = Evidence(
    sightings=(
        Sighting((2.0, 4.0), 0.75, ((0.5, 0.5),), block=7, recalled="warm"),
        Sighting((9.0, 9.5), 0.25, ((1.0, 0.0),)),
    ),
    covered_s=(2.0, 9.5),
    uncovered_s=((0.0, 2.0),),
    newest_frame_s=9.5,
    frames=17,
)


def answered(**changes: Any) -> Answer:
    fields: dict[str, Any] = {
        "question": QUESTION,
        "status": "ok",
        "text": "Yes.",
        "evidence": EVIDENCE,
        "latency": Latency(12.0, 310.0, 640.0),
        "usage": Usage(2310, 21),
        "model": "tiny",
        "newest_frame_age_ms": 180.4,
        "answered_wall_s": EPOCH.wall(10.64),
        "asked_wall_s": EPOCH.wall(10.0),
    }
    return Answer(**(fields | changes))


def test_an_answer_reads_as_the_contract_says() -> None:
    assert answer_payload(answered(), EPOCH) == {
        "v": 1,
        "id": "q-42",
        "camera": "front",
        "question": "Is the gate open?",
        "status": "ok",
        "answer": "Yes.",
        "abstained": False,
        "data": None,
        "asked_at": "2023-11-14T22:13:30.000Z",
        "answered_at": "2023-11-14T22:13:30.640Z",
        "latency_ms": {"queue": 12.0, "first_token": 310.0, "total": 640.0},
        "evidence": {
            "from": "2023-11-14T22:13:22.000Z",
            "to": "2023-11-14T22:13:29.500Z",
            "frames": 17,
            "newest_frame_at": "2023-11-14T22:13:29.500Z",
            "newest_frame_age_ms": 180,
            "memory_from": "2023-11-14T22:13:22.000Z",
            "memory_to": "2023-11-14T22:13:29.500Z",
            "sightings": [
                {
                    "from": "2023-11-14T22:13:22.000Z",
                    "to": "2023-11-14T22:13:24.000Z",
                    "weight": 0.75,
                    "cells": [[0.5, 0.5]],
                    "tier": "warm",
                    "block": 7,
                },
                {
                    "from": "2023-11-14T22:13:29.000Z",
                    "to": "2023-11-14T22:13:29.500Z",
                    "weight": 0.25,
                    "cells": [[1.0, 0.0]],
                    "tier": "instant",
                    "block": None,
                },
            ],
            "uncovered": [{"from": "2023-11-14T22:13:20.000Z", "to": "2023-11-14T22:13:22.000Z"}],
            "depth_score": None,
            "out_of_depth": False,
        },
        "model": "tiny",
        "usage": {"prompt_tokens": 2310, "completion_tokens": 21},
    }


def test_a_fault_is_an_error_and_never_the_answer() -> None:
    fault = Fault("timeout", "Too late.")
    payload = answer_payload(answered(status="timeout", text=None, error=fault, evidence=None), EPOCH)
    assert (payload["answer"], payload["evidence"]) == (None, None)
    assert payload["error"] == {"code": "timeout", "message": "Too late."}


def test_an_answer_about_what_is_forgotten_is_marked() -> None:
    forgotten = Evidence((), (20.0, 30.0), uncovered_s=((0.0, 10.0),), newest_frame_s=30.0)
    assert answer_payload(answered(evidence=forgotten), EPOCH)["abstained"] is True
    assert answer_payload(answered(), EPOCH)["abstained"] is False  # half of it is still there


def test_an_answer_beyond_the_model_is_marked() -> None:
    lost = replace(EVIDENCE, depth_score=1.81249, out_of_depth=True)
    told = answer_payload(answered(evidence=lost, usage=Usage()), EPOCH)
    assert told["evidence"] == {**told["evidence"], "depth_score": 1.812, "out_of_depth": True}  # type: ignore[dict-item]
    assert told["abstained"] is True  # the model was not asked
    assert answer_payload(answered(evidence=lost), EPOCH)["abstained"] is False  # it was, and spoke all the same


def test_an_answer_of_an_older_journal_is_read() -> None:
    payload: dict[str, Any] = answer_payload(answered(), EPOCH)
    old = {**payload, "evidence": {k: v for k, v in payload["evidence"].items() if "depth" not in k}}
    assert answer_payload(answer_from_payload(old, EPOCH), EPOCH) == payload


@pytest.mark.parametrize(
    "answer",
    [
        answered(),
        answered(status="rejected", text=None, error=Fault("restarted", "Ask again."), evidence=None),
        answered(evidence=Evidence((), None), latency=Latency(1.0, None, 2.0)),
        answered(evidence=Evidence((), None, depth_score=1.8, out_of_depth=True)),
    ],
)
def test_what_the_journal_kept_comes_back_the_same(answer: Answer) -> None:
    payload = answer_payload(answer, EPOCH)
    again = answer_payload(answer_from_payload(payload, EPOCH), EPOCH)
    assert again == payload


def test_times_are_utc_with_milliseconds() -> None:
    assert rfc3339(0.0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1_700_000_000.9996) == "2023-11-14T22:13:21.000Z"
    assert wall_of("2023-11-14T23:13:20.250+01:00") == 1_700_000_000.25
    with pytest.raises(ValueError, match="names no time zone"):
        wall_of("2023-11-14T22:13:20")


def test_holdings_state_and_tick() -> None:
    block = BlockRecord(3, "warm", (0.0, 8.0), 16, 32, 400.0, 0.123456, "novel", pinned=True, recalls=2)
    holdings = Holdings((block,), {"hot": 10, "warm": 5}, 100, {"warm": 32}, 400.0, {"warm": 400.0}, 9, 16, (0.0, 8.0))
    payload: dict[str, Any] = holdings_payload(holdings, EPOCH)
    assert payload["bytes"] == 15
    assert payload["blocks"][0]["from"] == rfc3339(EPOCH.wall_s)
    assert payload["blocks"][0]["score"] == 0.1235
    assert payload["recent"] == []
    assert (payload["depth_score"], payload["out_of_depth"]) == (None, False)
    state = state_payload(CameraState("stalled", 0.0, "no frame for 10 s", reconnects=2))
    assert (state["online"], state["since"], state["reconnects"]) == (False, "1970-01-01T00:00:00.000Z", 2)
    assert tick_payload(Tick("front", 0.0, 1, 2, 3, 4, 5, 6, 7.123, 8.0, 9.0))["see_ms"] == 7.12
