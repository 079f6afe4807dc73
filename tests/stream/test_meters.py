"""The metric names are public; labels carry no secrets; what is declared also moves."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from stream.flow import Answer, CameraState, Evidence, Question
from stream.losses import Losses
from stream.meters import Drop, Meters
from stream.ports import FrameSource
from stream.sources.states import Counts
from stream.tally import Tally
from tests.fakes import EchoMemory, frame

STREAM = Path(__file__).parent.parent.parent / "stream"

# The contract: products.md b.4 of the research, with the prefix longwatch_.
PROMISED = {
    "camera_up",
    "camera_state",
    "camera_last_frame_age_seconds",
    "camera_frames_received",
    "camera_frames_decoded",
    "camera_frames_dropped",
    "camera_reconnects",
    "camera_stalls",
    "question",
    "question_latency_seconds",
    "answer_frame_age_seconds",
    "model_requests",
    "model_inflight",
    "model_queue_depth",
    "memory_tokens",
    "memory_bytes",
    "mqtt_connected",
    "mqtt_reconnects",
    "mqtt_dropped",
    "device_queue_depth",
    "webrtc_sessions",
    "sse_clients",
    "build_info",
}


def families(meters: Meters) -> dict[str, object]:
    return {family.name: family for family in text_string_to_metric_families(meters.exposition().decode())}


def value(meters: Meters, name: str, **labels: str) -> float | None:
    return meters.registry.get_sample_value(f"longwatch_{name}", labels)


def test_every_promised_name_is_there() -> None:
    found = families(Meters("echo"))
    assert {f"longwatch_{name}" for name in PROMISED} <= set(found)
    assert any(name.startswith("process_") for name in found)


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(STREAM.rglob("*.py")):
        yield path, ast.parse(path.read_text())


def moved() -> Iterator[str]:
    """Fields of the meters that somebody takes up to set, count or observe."""
    for path, tree in trees():
        owners = ("self",) if path.name == "meters.py" else ("meters", "_meters")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                owner = node.value
                name = (
                    owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
                )
                if name in owners:
                    yield node.attr


def test_nothing_is_declared_that_nobody_moves() -> None:
    """A figure that is always zero is worse than none: somebody watches it and believes it."""
    declared = {name for name, metric in vars(Meters()).items() if isinstance(metric, MetricWrapperBase)}
    assert len(declared) > 25
    assert declared - set(moved()) == set()
    words = {
        node.value
        for path, tree in trees()
        if path.name != "meters.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
    }
    assert set(get_args(Drop)) <= words


class Counting:
    """A source as far as its counts are concerned."""

    def __init__(self) -> None:
        self.counts = Counts()


def test_what_a_source_lost_is_told_by_reason_and_never_runs_back() -> None:
    meters, source = Meters(), Counting()
    losses = Losses("front", meters)
    for counts in (Counts(errors=2, skipped=5), Counts(errors=3, skipped=5, dropped=1), Counts(errors=1)):
        source.counts = counts
        losses.count(cast("FrameSource", source))
        losses.count(cast("FrameSource", source))  # a second look at the same finds nothing new
    lost = {
        reason: value(meters, "camera_frames_dropped_total", camera="front", reason=reason) for reason in get_args(Drop)
    }
    assert lost == {"decode_error": 4.0, "stale": 5.0, "backpressure": 1.0, "sampling": None}
    losses.count(cast("FrameSource", object()))  # and one that does not count is left in peace


def test_two_houses_in_one_process_do_not_meet() -> None:
    one, two = Meters(), Meters()
    one.sse_clients.set(3)
    assert value(two, "sse_clients") == 0.0


def test_exactly_one_state_is_one() -> None:
    meters = Meters()
    for state in ("starting", "online", "stalled"):
        meters.set_state("front", CameraState(state, 0.0))
    lit = [
        s
        for s in ("starting", "online", "stalled", "offline")
        if value(meters, "camera_state", camera="front", state=s)
    ]
    assert lit == ["stalled"]
    assert value(meters, "camera_up", camera="front") == 0.0


def test_a_gap_in_the_index_is_received_and_not_decoded() -> None:
    meters = Meters()
    tally = Tally("front", meters)
    for index in (0, 1, 5):
        tally.arrived(frame(index, float(index)))
    assert value(meters, "camera_frames_received_total", camera="front") == 6.0
    assert value(meters, "camera_frames_decoded_total", camera="front") == 3.0


def test_counters_never_go_back_when_a_source_is_made_anew() -> None:
    meters = Meters()
    tally = Tally("front", meters)
    for reconnects in (1, 3, 0, 2):
        tally.state(CameraState("offline", 0.0, reconnects=reconnects, stalls=reconnects))
    assert value(meters, "camera_reconnects_total", camera="front", reason="offline") == 5.0
    assert value(meters, "camera_stalls_total", camera="front") == 5.0


def test_a_tick_holds_one_second_and_then_begins_anew() -> None:
    tally = Tally("front", Meters())
    tally.arrived(frame(0, 0.0))
    tally.gated()
    tally.saw(tokens=4, seconds=0.2)
    tally.saw(tokens=4, seconds=0.4)
    tally.dropped(2, "backpressure")
    tally.dropped(9, "sampling")
    tally.first_word(0.05)
    tick = tally.tick(wall_s=5.0, tokens_kept=32, age_s=1.5)
    assert (tick.frames_in, tick.frames_gated, tick.frames_dropped, tick.frames_seen) == (1, 1, 2, 2)
    assert (tick.tokens_in, tick.tokens_kept, tick.lag_s) == (8, 32, 1.5)
    assert abs(tick.see_ms - 300.0) < 1e-6
    assert abs(tick.ask_ms - 50.0) < 1e-6
    empty = tally.tick(wall_s=6.0, tokens_kept=32, age_s=None)
    assert (empty.frames_in, empty.frames_seen, empty.see_ms, empty.ask_ms) == (0, 0, 0.0, 0.0)


def test_memory_is_measured_by_tier() -> None:
    meters = Meters()
    meters.set_holdings("front", EchoMemory().holdings())
    assert value(meters, "memory_tokens", camera="front", tier="hot") == 0.0
    assert value(meters, "memory_budget_bytes", camera="front") == 64_000.0


def test_how_far_from_its_training_a_camera_is() -> None:
    meters = Meters()
    meters.set_holdings("front", EchoMemory().holdings())
    assert value(meters, "camera_depth_score", camera="front") is None  # nobody judged it
    meters.set_holdings("front", replace(EchoMemory().holdings(), depth_score=1.8, out_of_depth=True))
    assert value(meters, "camera_depth_score", camera="front") == 1.8
    question = Question("q", "Who?", "front", asked_s=0.0, deadline_s=1.0)
    for lost in (True, False):
        meters.answered("cli", Answer(question, "ok", "Me.", evidence=Evidence((), None, out_of_depth=lost)))
    assert value(meters, "answers_out_of_depth_total") == 1.0
