"""What does a frame cost, step by step, and a question? Beside two peers on the same model and the same stream.

    python run_stream.py bench steps [--frames 960] [--checkpoint bundled] [--json runs/bench-steps.json]

Peers: the last four frames and no memory (SimpleStream, arXiv 2604.02317), and every token of every frame in
transformers' own `DynamicCache`, which is what memory replaces. CPU time of one thread, so that a busy machine changes
little; compare columns of one run, never of two.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from bench._reel import Reel, make_reel
from models.answerer import TextAnswerer
from models.backbone import Backbone
from models.checkpoint import Checkpoint, open_checkpoint
from models.kv.hot import Hot
from models.kv.reading import Reader
from models.memory import Memory, MemoryConfig, open_memory
from models.perception import Perception
from models.prompt import embed
from models.token_base import TokenBase
from models.vision.torch_tower import TorchVision
from stream.flow import MediaEpoch, Question, Tokens
from stream.gate import ChangeGate

WORDS = "Was there a red car before?"
ANSWER_TOKENS = 8
ASK_EVERY = 120  # frames


@dataclass(slots=True)
class Clock:
    """CPU milliseconds by step; a step inside another is not counted twice."""

    spent_ms: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    calls: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _inside: list[float] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        started = time.process_time()
        self._inside.append(0.0)
        try:
            yield
        finally:
            whole = (time.process_time() - started) * 1e3
            self.spent_ms[name] += whole - self._inside.pop()
            self.calls[name] += 1
            if self._inside:
                self._inside[-1] += whole

    @contextmanager
    def watching(self, owner: Any, method: str, name: str) -> Iterator[None]:
        """Time every call of a method or function by wrapping it while the block is open."""
        inner = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.step(name):
                return inner(*args, **kwargs)

        setattr(owner, method, timed)
        try:
            yield
        finally:
            setattr(owner, method, inner)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question's cost."""

    frames: int  # seen by then
    first_ms: float  # to the first word
    word_ms: float  # each further token
    tokens: int  # in reach
    mib: float  # keys, values and all else held for it


def main(argv: Sequence[str], say: Callable[[str], None]) -> int:
    """Measure, print two tables, write JSON."""
    parser = argparse.ArgumentParser(prog="run_stream.py bench steps")
    parser.add_argument("--frames", type=int, default=960)
    parser.add_argument("--reel", type=int, default=192, help="frames per scene, at least 48")
    parser.add_argument("--checkpoint", default="bundled")
    parser.add_argument("--json", type=Path, default=Path("runs/bench-steps.json"))
    found = parser.parse_args(argv)
    torch.set_num_threads(1)
    checkpoint = open_checkpoint(found.checkpoint)
    reel = make_reel(checkpoint, say, found.reel)
    clock = Clock()
    peers = {
        "last 4 frames": _memory(checkpoint, hot_blocks=0, recall=False),
        "longwatch": _memory(checkpoint),
    }
    asked = {name: watch(memory, checkpoint, reel, found.frames) for name, memory in peers.items()}
    asked["every token"] = every_token(checkpoint, reel, found.frames)
    steps = by_step(checkpoint, reel, found.frames, clock)
    for line in [*render_steps(steps), "", *render_asked(asked)]:
        say(line)
    found.json.parent.mkdir(parents=True, exist_ok=True)
    rows = {name: [{f: getattr(a, f) for f in Asked.__slots__} for a in each] for name, each in asked.items()}
    found.json.write_text(json.dumps({"model": checkpoint.model_id, "steps_ms": steps, "asked": rows}, indent=2) + "\n")
    return 0


def _memory(checkpoint: Checkpoint, **settings: Any) -> Memory:
    config = replace(MemoryConfig().with_recommended(checkpoint.card.memory), **settings)
    return open_memory(Backbone(checkpoint), checkpoint, config, MediaEpoch(1.7e9))


def by_step(checkpoint: Checkpoint, reel: Reel, frames: int, clock: Clock) -> dict[str, float]:
    """Mean CPU milliseconds per frame of each step, over a stream that fills memory."""
    from models.kv import hot

    gate, encoder, memory = ChangeGate(), TorchVision(checkpoint), _memory(checkpoint)
    for _ in encoder.encode(reel.frames[0][:8]):
        pass  # warm
    for scene in reel.frames[:2]:
        for frame in scene:
            with clock.step("gate"):
                gate.admits(frame)
    for frame in reel.frames[0][:96]:
        with clock.step("encode"):
            encoder.encode([frame])
    with (
        clock.watching(TokenBase, "assign", "assign"),
        clock.watching(Perception, "open_segment", "rows"),
        clock.watching(Hot, "_make_room", "prune"),
        clock.watching(hot, "read_segment", "prefill"),
        clock.watching(Reader, "fuse", "fuse"),
    ):
        for tokens in reel.play(frames):
            with clock.step("map"):  # what is left of `append` without the steps inside it
                memory.append(tokens)
    seen = {"gate": clock.calls["gate"], "encode": clock.calls["encode"]}
    names = ("gate", "encode", "assign", "map", "rows", "fuse", "prefill", "prune")
    return {name: clock.spent_ms[name] / seen.get(name, frames) for name in names}


def watch(memory: Memory, checkpoint: Checkpoint, reel: Reel, frames: int) -> list[Asked]:
    """Play, and ask now and then."""
    answerer, found = TextAnswerer(Backbone(checkpoint)), []
    for number, tokens in enumerate(reel.play(frames), 1):
        memory.append(tokens)
        if number % ASK_EVERY == 0:
            found.append(_ask(memory, answerer, number))
    return found


def _ask(memory: Memory, answerer: TextAnswerer, number: int) -> Asked:
    """Time the view's own steps: the answer may be shorter than what is to be timed."""
    started = time.process_time()
    view = memory.fork(Question(str(number), WORDS, "bench", 0.0, 1e12, max_tokens=ANSWER_TOKENS))
    hidden = view.read()
    token = int(answerer.backbone.logits(hidden[None])[0].argmax())
    first = (time.process_time() - started) * 1e3
    started = time.process_time()
    for _ in range(ANSWER_TOKENS):
        token = int(answerer.backbone.logits(view.say(token)[None])[0].argmax())
    word = (time.process_time() - started) * 1e3 / ANSWER_TOKENS
    tokens, held = view.usage().prompt_tokens, sum(memory.bytes_by_part().values()) / 2**20
    view.close()
    return Asked(number, first, word, tokens, held)


@torch.no_grad()
def every_token(checkpoint: Checkpoint, reel: Reel, frames: int) -> list[Asked]:
    """The full-token cache: plain transformers, every frame prefilled, nothing ever left out."""
    backbone, found = Backbone(checkpoint), []
    language: Any = checkpoint.model.model.language_model
    layout, cache = backbone.layout(), DynamicCache(config=language.config)
    length = 0

    def read(embeds: torch.Tensor) -> torch.Tensor:
        nonlocal length
        positions = torch.arange(length, length + len(embeds))[None]
        out = language(inputs_embeds=embeds[None], position_ids=positions, past_key_values=cache, use_cache=True)
        length += len(embeds)
        hidden: torch.Tensor = out.last_hidden_state[0]
        return hidden

    read(embed(layout.prefix(), backbone.embedding)[0])
    for number, tokens in enumerate(reel.play(frames), 1):
        read(_as(tokens, checkpoint))
        if number % ASK_EVERY:
            continue
        before, started = length, time.process_time()
        hidden = read(embed(layout.tail("", [], backbone.newline, WORDS), backbone.embedding)[0])
        token = int(backbone.logits(hidden[-1:])[0].argmax())
        first = (time.process_time() - started) * 1e3
        started = time.process_time()
        for _ in range(ANSWER_TOKENS):
            hidden = read(backbone.embedding(torch.tensor([token])))
            token = int(backbone.logits(hidden[-1:])[0].argmax())
        word = (time.process_time() - started) * 1e3 / ANSWER_TOKENS
        found.append(Asked(number, first, word, before, before * backbone.token_bytes / 2**20))
        cache.crop(before - length)
        length = before
    return found


def _as(tokens: Tokens, checkpoint: Checkpoint) -> torch.Tensor:
    return tokens.embeds.to(checkpoint.model.device, checkpoint.model.dtype)


def render_steps(steps: dict[str, float]) -> list[str]:
    """The cost of a frame as Markdown."""
    lines = ["| step | ms per frame | share |", "|---|---|---|"]
    whole = sum(steps.values())
    lines += [f"| {name} | {ms:.2f} | {ms / whole:.0%} |" for name, ms in steps.items()]
    return [*lines, f"| all | {whole:.2f} | |"]


def render_asked(asked: dict[str, list[Asked]]) -> list[str]:
    """The cost of a question as it grows with the stream, as Markdown."""
    lines = [
        "| after frames | | first word ms | next words ms | tokens in reach | MiB held |",
        "|---|---|---|---|---|---|",
    ]
    for row in zip(*asked.values(), strict=True):
        for name, a in zip(asked, row, strict=True):
            lines.append(f"| {a.frames} | {name} | {a.first_ms:.0f} | {a.word_ms:.1f} | {a.tokens} | {a.mib:.1f} |")
    return lines
