"""The nouns that flow through Longwatch, from frame to answer.

All are frozen: made once, never written again, compared by identity. Seconds end in `_s`, milliseconds in `_ms`,
counts are plural nouns, a fraction ends in `_fraction`. Two clocks never mix: *media time* (`time_s`, from the
stream) says when in the video; *monotonic time* (`arrived_s`, `asked_s`) says how late we are. Wall-clock time is
an offset (`MediaEpoch`) attached once per camera, for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Status = Literal["ok", "stale", "no_frames", "timeout", "overloaded", "model_error", "rejected"]
BlockState = Literal["open", "hot", "warm", "cold", "merged", "dropped"]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture."""

    index: int  # 0, 1, 2 ... as decoded; a gap means frames were lost before us
    time_s: float  # media time, s; never runs backwards within a camera, also across reconnects
    arrived_s: float  # monotonic clock at arrival, s
    rgb: np.ndarray  # (H, W, 3) uint8 sRGB, read-only


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """What an encoder saw in one frame, or what a reducer left of it."""

    embeds: Tensor  # (N, D) in the language model's width
    places: Tensor  # (N, 3) int32: t (frames seen so far), y, x in grid cells
    mass: Tensor  # (N,) float32: patches a row stands for; merging keeps the sum, dropping lowers it
    grid: tuple[int, int]  # (rows, columns) of the cell grid
    span_s: tuple[float, float]  # media time covered, s
    depth: float | None = None  # how unlike the encoder's training pictures, 1: as one in a thousand; None: not judged
    saliency: Tensor | None = None  # (N,) float32: attention each cell received in the encoder, where it was asked for


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A question to one camera, admitted and not yet answered."""

    id: str
    text: str
    camera: str
    asked_s: float  # monotonic clock, s
    deadline_s: float  # monotonic clock, s; past it the answer is `timeout`
    span_s: tuple[float, float] | None = None  # media time to look at, s; None: all that is remembered
    max_tokens: int = 64
    temperature: float = 0.0  # 0: greedy, repeatable


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One step of an answer."""

    text: str
    seen_s: float  # media time of the newest frame the answer could see, s
    said_s: float = 0.0  # monotonic clock when it was said, s; stamped by the agent


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A stretch of time that an answer attended to, and where in the picture."""

    span_s: tuple[float, float]  # media time, s
    weight_fraction: float  # share of the answer's attention on what was seen, 0..1
    cells: tuple[tuple[float, ...], ...]  # (rows, columns) share of this sighting's weight per grid cell, sums to 1
    block: int | None = None  # ledger id; None: the instant window
    recalled: Literal["", "warm", "cold"] = ""  # where the block was fetched from, when it was not in reach


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What an answer rests on, and what it could not look at."""

    sightings: tuple[Sighting, ...]  # heaviest first, at most 8
    covered_s: tuple[float, float] | None  # media time from the oldest to the newest thing in reach, s
    uncovered_s: tuple[tuple[float, float], ...] = ()  # parts of the asked-for span that are no longer remembered
    newest_frame_s: float = 0.0  # media time of the newest frame in reach, s
    frames: int = 0  # frames behind the sightings; filled by the agent when the memory does not
    depth_score: float | None = None  # how unlike the model's training pictures the camera's last ones were
    out_of_depth: bool = False  # so unlike that words of the model would be a guess


@dataclass(frozen=True, slots=True, eq=False)
class Usage:
    """What an answer cost in tokens."""

    prompt_tokens: int = 0  # everything the question could attend to
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The last thing an agent says about a question, after its pieces."""

    evidence: Evidence
    usage: Usage


@dataclass(frozen=True, slots=True, eq=False)
class Latency:
    """Where the time of an answer went, milliseconds."""

    queue_ms: float = 0.0
    first_token_ms: float | None = None  # from asking to the first piece
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """Why there is no answer: a code for programs and a sentence for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The one terminal word on a question. `text` is None unless status is `ok`."""

    question: Question
    status: Status
    text: str | None = None
    error: Fault | None = None
    evidence: Evidence | None = None
    latency: Latency = field(default_factory=Latency)
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    newest_frame_age_ms: float | None = None
    answered_wall_s: float = 0.0  # Unix time, s
    asked_wall_s: float = 0.0  # Unix time, s


@dataclass(frozen=True, slots=True, eq=False)
class BlockRecord:
    """One line of the ledger: what became of a stretch of time."""

    id: int
    state: BlockState
    span_s: tuple[float, float]  # media time, s
    frames: int
    tokens: int
    patches: float  # mass: patches of the video it stands for
    score: float | None  # rank score at the last decision, 0..1
    reason: str  # the rule that put it here, for people
    pinned: bool = False
    recalls: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Holdings:
    """What one camera's memory holds now: the dashboard's timeline, `/memory` and the metrics read this."""

    blocks: tuple[BlockRecord, ...]  # oldest first; open, hot, warm and cold ones
    bytes_by_part: Mapping[str, int]  # hot, rendered, warm, cold, base, map, instant, ledger ...
    budget_bytes: int
    tokens_by_state: Mapping[str, int]
    patches_seen: float
    patches_by_state: Mapping[str, float]  # sums to patches_seen
    codes_alive: int
    frames_seen: int
    covered_s: tuple[float, float] | None
    recent: tuple[BlockRecord, ...] = ()  # the last few blocks that left, with the reason
    depth_score: float | None = None  # as in `Evidence`
    out_of_depth: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class MediaEpoch:
    """Wall-clock time of media time zero of a camera; survives restarts with its memory."""

    wall_s: float  # Unix time, s

    def wall(self, time_s: float) -> float:
        """Unix time of a media time."""
        return self.wall_s + time_s

    def media(self, wall_s: float) -> float:
        """Media time of a Unix time."""
        return wall_s - self.wall_s


@dataclass(frozen=True, slots=True, eq=False)
class CameraState:
    """How a source is doing; every change is published."""

    state: Literal["starting", "online", "stalled", "offline", "auth_failed", "ended", "waiting"]
    since_wall_s: float  # Unix time, s
    reason: str = ""  # a sentence, credentials removed
    reconnects: int = 0
    stalls: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Tick:
    """One second of a camera's life."""

    camera: str
    wall_s: float  # Unix time, s
    frames_in: int
    frames_gated: int  # refused by the gate: nothing new
    frames_dropped: int  # pushed out of the mailbox by newer ones
    frames_seen: int  # encoded and remembered
    tokens_in: int
    tokens_kept: int
    see_ms: float  # mean, this second; 0 when nothing was seen
    ask_ms: float  # mean first-token latency, this second
    lag_s: float  # age of the newest frame seen
