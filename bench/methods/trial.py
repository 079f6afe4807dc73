"""One method at one budget on one stream: what it kept, what it said, what it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from bench.methods.budgeted import Budgeted, blocks_of, stretched
from bench.methods.flops import Costs, costs_of, tower_merging
from bench.methods.plan import LAST_4, NO_PICTURE, Setting, Sight
from bench.methods.tape import Tape
from bench.watch.asks import Ask
from bench.watch.scoring import Answered, is_right
from bench.watch.systems import ANSWER_TOKENS, FLOORS
from bench.watch.systems import LAST_4 as FLOOR
from models.answerer import TextAnswerer
from models.backbone import Backbone
from models.checkpoint import Checkpoint
from models.kv.budget import TooSmall
from models.memory import Memory, MemoryConfig
from models.perception import PerceptionConfig
from models.vision.merging import TowerMerge, plan_of
from stream.flow import MediaEpoch, Question

SLACK = 1.1  # of the smallest budget that holds everything


@dataclass(frozen=True, slots=True)
class Reply:
    """One question and what became of it."""

    kind: str
    mode: str
    text: str
    answer: str
    said: str
    right: bool
    reach: int  # tokens it could attend to, its own included
    first_ms: float  # to the first word
    word_ms: float | None  # each word after that; None where there was none
    ask_flops: float  # reading the question with what belongs to it
    word_flops: float  # each word


@dataclass(frozen=True, slots=True)
class Trial:
    """One stream's outcome; times are of one thread's CPU, or by the clock where an accelerator works."""

    unit: str
    method: str
    group: str
    share: float  # of raw tokens that was asked for
    seconds: float  # of media time
    raw: int  # tokens of all frames
    rows: int  # that these became
    segments: int
    segment_s: float  # the longest
    held: int  # tokens at hand at the end, time stamps included
    bytes: int  # of keys, values and rows at hand at the end
    reserve: int  # bytes of those that are not, but can be recalled
    encoder_ms: float  # per frame of the stream, whether the tower saw it or not
    reducer_ms: float  # per frame
    memory_ms: float  # per frame, all that is not the tower: map, rows, fusing, prefill
    tower_flops: float  # per frame
    reducer_flops: float  # per frame
    read_flops: float  # per frame, language model
    replies: list[Reply]

    @property
    def name(self) -> str:
        """That of its setting."""
        return f"{self.method} @ {self.share:g}"


class Bench:
    """Runs settings on tapes with one model."""

    def __init__(self, checkpoint: Checkpoint, clock: Callable[[], float]) -> None:
        self._checkpoint, self._clock = checkpoint, clock
        self._backbone = Backbone(checkpoint)
        self._answerer = TextAnswerer(self._backbone, out_of_depth="answer")  # how true the words are is the question
        self._costs: Costs = costs_of(checkpoint)
        self._blocks: dict[tuple[str, Sight, float], int] = {}

    def warm(self, tape: Tape) -> None:
        """One question whose time does not count: the first of a process takes longer than all others."""
        self._floor(Setting(LAST_4, "floor", 0.0), replace(tape, asks=tape.asks[:1]))

    def run(self, setting: Setting, tape: Tape) -> Trial:
        """Show every frame; put each question when the frame of its time is the newest."""
        if setting.group == "floor":
            return self._floor(setting, tape)
        config, perception = self._config(setting, tape)
        memory = self._open(config, perception, setting.share, tape)
        due, replies, spent_s, read_flops = list(tape.asks), list[Reply](), 0.0, 0.0
        for tokens, passed in zip(tape.tokens, tape.passed, strict=True):
            before = set(memory.ledger.entries)
            started = self._clock()
            if passed or not setting.gated:
                memory.append(tokens)
            else:
                memory.hold(tokens.span_s[1])
            spent_s += self._clock() - started
            read_flops += self._read_flops(memory, before)
            while due and due[0].time_s <= tokens.span_s[1]:
                replies.append(self._ask(memory, due.pop(0), tape, setting))
        return self._trial(setting, tape, memory, replies, spent_s, read_flops)

    def _trial(
        self, setting: Setting, tape: Tape, memory: Memory, replies: list[Reply], spent_s: float, read_flops: float
    ) -> Trial:
        frames, seen = len(tape.tokens), memory.perception
        if not isinstance(seen, Budgeted):
            raise TypeError("A setting is measured with a perception that counts.")
        looked = sum(tape.passed) / frames if setting.gated else 1.0
        return Trial(
            unit=tape.name,
            method=setting.method,
            group=setting.group,
            share=setting.share,
            seconds=tape.seconds,
            raw=frames * seen.grid[0] * seen.grid[1],
            rows=seen.rows_given(),
            segments=seen.closed_segments + bool(seen.open_frames),
            segment_s=seen.config.segment_s,
            held=memory.holdings().tokens_by_state["hot"],
            bytes=memory.bytes_by_part()["hot"],
            reserve=memory.bytes_by_part()["warm"] + memory.bytes_by_part()["cold"],
            encoder_ms=tape.encoder_ms * looked,
            reducer_ms=seen.reducer_ms(),
            memory_ms=1e3 * spent_s / frames,
            tower_flops=self._tower_flops(tape.sight) * looked,
            reducer_flops=seen.reducer_flops(),
            read_flops=read_flops / frames,
            replies=replies,
        )

    def _floor(self, setting: Setting, tape: Tape) -> Trial:
        """No memory: the last frames as pictures, or none at all."""
        shown, told = {LAST_4: FLOORS[FLOOR], NO_PICTURE: (1, 0)}[setting.method]
        usual = MemoryConfig().with_recommended(self._checkpoint.card.memory)
        config = replace(usual, hot_blocks=0, recall=False, instant_frames=shown)
        replies, perception = list[Reply](), config.perception()
        for a in tape.asks:
            memory = self._open(config, perception, 1.0, tape)
            seen = [tokens for tokens in tape.tokens if tokens.span_s[1] <= a.time_s]
            for tokens in seen[len(seen) - told :]:
                memory.append(tokens)
            replies.append(self._ask(memory, a, tape, setting))
        found = self._trial(setting, tape, self._open(config, perception, 1.0, tape), replies, 0.0, 0.0)
        return found if told else replace(found, encoder_ms=0.0, tower_flops=0.0)

    def _config(self, setting: Setting, tape: Tape) -> tuple[MemoryConfig, PerceptionConfig]:
        """Room for the whole stream, so that the share alone decides; but where forgetting is what is compared."""
        usual = MemoryConfig().with_recommended(self._checkpoint.card.memory)
        config = replace(usual, **{"length": "fixed", **setting.config})  # so many rows are what is compared
        dim, grid = self._checkpoint.dim, self._checkpoint.grid
        perception = stretched(config.perception(), setting.share, grid[0] * grid[1], tape.fps)
        if perception.length == "adaptive":
            most = perception.fused_tokens
            perception = replace(perception, fused_max=most, fused_min=min(perception.fused_min, most))
        key = tape.name, tape.sight, perception.segment_s
        if key not in self._blocks:
            self._blocks[key] = blocks_of(tape.tokens, perception, dim, grid)
        changed = replace(
            config,
            hot_blocks=max(2, int(setting.crowded * self._blocks[key])),
            fused_tokens=perception.fused_tokens,
            fused_min=perception.fused_min,
            fused_max=max(perception.fused_max, perception.fused_min),
            segment_s=perception.segment_s,
            map_frames=perception.map_frames,
        )
        return changed, perception

    def _open(self, config: MemoryConfig, perception: PerceptionConfig, share: float, tape: Tape) -> Memory:
        checkpoint, clock = self._checkpoint, self._clock

        def make() -> Budgeted:
            return Budgeted(perception, checkpoint.dim, checkpoint.grid, share, clock)

        def opened(config: MemoryConfig) -> Memory:
            return Memory(self._backbone, checkpoint.cross_dynamics, make, config, MediaEpoch(tape.wall_s))

        try:
            return opened(config)
        except TooSmall as small:
            return opened(replace(config, budget=int(small.least * SLACK)))

    def _tower_flops(self, sight: Sight) -> float:
        telling = self._costs.telling if sight.salient else 0.0
        if sight.merging == "none":
            return self._costs.tower + telling
        plan = plan_of(self._checkpoint.model, cast("TowerMerge", sight.merging))
        return tower_merging(self._checkpoint, plan) + telling

    def _read_flops(self, memory: Memory, before: set[int]) -> float:
        """Of the blocks that were committed since."""
        entries = memory.ledger.entries
        fresh = [entry for name, entry in entries.items() if name not in before]
        others = _at_hand(memory) - sum(entry.tokens for entry in fresh)
        return sum(self._costs.prefill(entry.tokens, others) for entry in fresh)

    def _ask(self, memory: Memory, a: Ask, tape: Tape, setting: Setting) -> Reply:
        started = self._clock()
        view = memory.fork(Question("bench", a.item.text, "sim", a.time_s, a.time_s + 60, max_tokens=ANSWER_TOKENS))
        words, first_s = list[str](), None
        for piece in self._answerer.answer(view):
            first_s = self._clock() - started if first_s is None else first_s
            words.append(piece.text)
        whole_s, usage = self._clock() - started, view.usage()
        first_s = whole_s if first_s is None else first_s
        more = usage.completion_tokens  # each was read, to say the next or that there is none
        said, reach, shared = "".join(words).strip(), usage.prompt_tokens, _at_hand(memory)
        inner, decode = setting.group == "inner", setting.group == "decode"  # these look at less, each in its way
        return Reply(
            kind=a.item.kind,
            mode=a.item.mode,
            text=a.item.text,
            answer=a.item.answer,
            said=said,
            right=is_right(_answered(a, said, tape.wall_s), ""),
            reach=reach,
            first_ms=1e3 * first_s,
            word_ms=1e3 * (whole_s - first_s) / more if more else None,
            ask_flops=self._costs.prefill(reach - shared, shared) + self._costs.head if not inner else 0.0,
            word_flops=self._costs.word(reach) if not inner and not decode else 0.0,
        )


def _at_hand(memory: Memory) -> int:
    """Tokens that every question shares: the prompt's beginning and the blocks."""
    entries = memory.ledger.entries.values()
    sinks = len(memory.backbone.layout(bool(memory.config.stamps)).prefix_ids)
    return sinks + sum(entry.tokens for entry in entries if entry.state == "hot")


def _answered(a: Ask, said: str, wall_s: float) -> Answered:
    item = a.item
    return Answered(item.kind, item.mode, item.text, item.answer, {"": said}, a.time_s, wall_s, time_s=item.time_s)


def as_trial(found: dict[str, Any]) -> Trial:
    """Back from JSON."""
    return Trial(**{**found, "replies": [Reply(**one) for one in found["replies"]]})
