"""The metric names are public; labels carry no secrets."""

from prometheus_client.parser import text_string_to_metric_families

from stream.flow import CameraState
from stream.meters import Meters
from stream.tally import Tally
from tests.fakes import EchoMemory, frame

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
    "camera_decode_seconds",
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
