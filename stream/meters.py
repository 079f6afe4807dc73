"""What is counted and measured, for Prometheus. Labels are ids and fixed words: no URLs, questions or user names."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from stream.flow import Answer, CameraState, Holdings

Source = Literal["mqtt", "http", "cli", "page"]
Drop = Literal["stale", "backpressure", "sampling", "decode_error"]
STATES = ("starting", "online", "stalled", "offline", "auth_failed", "ended", "waiting")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


def house_version() -> str:
    """The installed version, or `0+tree` when Longwatch runs from a clone."""
    try:
        return version("longwatch")
    except PackageNotFoundError:
        return "0+tree"


class Meters:
    """The metrics of one process on a registry of their own, so that two in one test do not meet."""

    def __init__(self, model_id: str = "") -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._cameras()
        self._questions()
        self._doors()
        build = self._gauge("build_info", "Always 1; the labels say what runs.", "version", "python", "model")
        build.labels(house_version(), platform.python_version(), model_id).set(1)

    def _cameras(self) -> None:
        one = "camera"
        self.camera_up = self._gauge("camera_up", "1 while frames come.", one)
        self.camera_state = self._gauge("camera_state", "1 for the state a camera is in.", one, "state")
        self.frame_age = self._gauge("camera_last_frame_age_seconds", "Age of the newest frame.", one)
        self.received = self._counter("camera_frames_received", "Frames that a source numbered.", one)
        self.decoded = self._counter("camera_frames_decoded", "Frames that reached the loop.", one)
        self.dropped = self._counter("camera_frames_dropped", "Frames left out, by reason.", one, "reason")
        self.gated = self._counter("camera_frames_gated", "Frames in which nothing was new.", one)
        self.seen = self._counter("camera_frames_seen", "Frames encoded and remembered.", one)
        self.see_errors = self._counter("camera_see_errors", "Frames that could not be encoded or remembered.", one)
        self.see_seconds = self._histogram("camera_see_seconds", "From mailbox to memory.", one)
        self.reconnects = self._counter("camera_reconnects", "Connections lost and sought again.", one, "reason")
        self.stalls = self._counter("camera_stalls", "Times that no frame came for stall_s.", one)
        self.memory_tokens = self._gauge("memory_tokens", "Tokens remembered, by tier.", one, "tier")
        self.memory_bytes = self._gauge("memory_bytes", "Bytes remembered, all parts.", one)
        self.memory_budget = self._gauge("memory_budget_bytes", "Bytes that may be remembered.", one)
        text = "How unlike the model's training pictures this camera's are; 1: as one in a thousand of them."
        self.depth = self._gauge("camera_depth_score", text, one)

    def _questions(self) -> None:
        self.questions = self._counter("question", "Questions by where from and how they ended.", "source", "outcome")
        self.latency = self._histogram("question_latency_seconds", "Time of answers, by phase.", "phase")
        self.answer_age = self._histogram("answer_frame_age_seconds", "Age of the newest frame behind an answer.")
        self.out_of_depth = self._counter("answers_out_of_depth", "Answers where the picture was beyond the model.")
        self.model_requests = self._counter("model_requests", "Answers that the model was asked for.", "outcome")
        self.inflight = self._gauge("model_inflight", "Questions being answered.")
        self.queue_depth = self._gauge("model_queue_depth", "Questions waiting for their turn.")
        self.device_depth = self._gauge("device_queue_depth", "Turns waiting for the device.")

    def _doors(self) -> None:
        self.mqtt_connected = self._gauge("mqtt_connected", "1 while the broker is there.")
        self.mqtt_reconnects = self._counter("mqtt_reconnects", "Connections to the broker lost and sought again.")
        self.mqtt_dropped = self._counter("mqtt_dropped", "Messages dropped, by direction.", "direction")
        self.webrtc_sessions = self._gauge("webrtc_sessions", "Open WebRTC sessions.", "role")
        self.sse_clients = self._gauge("sse_clients", "Connected event streams.")
        self.sse_slow = self._counter("sse_slow", "Event streams cut off because nobody read them.")
        self.events_dropped = self._gauge("events_dropped", "Events that slow listeners lost.")

    def set_state(self, camera: str, state: CameraState) -> None:
        """Exactly one state is 1."""
        for name in STATES:
            self.camera_state.labels(camera, name).set(name == state.state)
        self.camera_up.labels(camera).set(state.state == "online")

    def set_holdings(self, camera: str, holdings: Holdings) -> None:
        """What the memory holds."""
        for tier, tokens in holdings.tokens_by_state.items():
            self.memory_tokens.labels(camera, tier).set(tokens)
        self.memory_bytes.labels(camera).set(sum(holdings.bytes_by_part.values()))
        self.memory_budget.labels(camera).set(holdings.budget_bytes)
        if holdings.depth_score is not None:
            self.depth.labels(camera).set(holdings.depth_score)

    def answered(self, source: str, answer: Answer) -> None:
        """One terminal answer."""
        latency = answer.latency
        self.questions.labels(source, answer.status).inc()
        self.latency.labels("queue").observe(latency.queue_ms / 1000)
        self.latency.labels("total").observe(latency.total_ms / 1000)
        if latency.first_token_ms is not None:
            self.latency.labels("first_token").observe(latency.first_token_ms / 1000)
        if answer.evidence is not None and answer.evidence.out_of_depth:
            self.out_of_depth.inc()
        if answer.status == "ok" and answer.newest_frame_age_ms is not None:
            self.answer_age.observe(answer.newest_frame_age_ms / 1000)

    def refused(self, source: str, code: str) -> None:
        """A question that was not accepted; `code` is one of the fixed words of `Refused`."""
        self.questions.labels(source, code).inc()

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"longwatch_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"longwatch_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"longwatch_{name}", text, labels, registry=self.registry, buckets=_SECONDS)
