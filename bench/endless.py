"""Does anything grow? A million frames of an accelerated simulated stream through perception and memory.

    python run_stream.py bench endless [--frames 1000000] [--json runs/bench-endless.json]

Per tenth of the stream: CPU time per frame, bytes held by the camera's memory against its budget, resident memory of
the process, codes in use, tokens a question can see, CPU time of a question. All of it must be flat once memory is
full. Looks change from stretch to stretch (`bench._reel`), so that the token base fills and merges too.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch

from bench._reel import Reel, make_reel
from models.answerer import TextAnswerer
from models.backbone import Backbone
from models.checkpoint import open_checkpoint
from models.memory import Memory, MemoryConfig, open_memory
from stream.flow import MediaEpoch, Question

QUESTIONS = 20  # asked in each part of the stream
SLOWER = 0.10  # by how much a frame may be dearer in the second half; the bound of `design/memory.md`, invariant 10
NOVELTY = 0.75  # see `bench._reel.Reel.play`
WORDS = "Was there a red car before?"


@dataclass(frozen=True, slots=True)
class Part:
    """What was measured over one part of the stream."""

    frames: int  # seen by the end of the part
    hours: float  # media time by then
    frame_ms: float  # CPU per frame, mean
    question_ms: float  # CPU per question, mean
    prompt_tokens: int  # the most that a question could attend to
    memory_bytes: int  # the most held at once
    budget_bytes: int
    resident_mib: float  # of the process, now
    blocks: int
    codes: int


def main(argv: Sequence[str], say: Callable[[str], None]) -> int:
    """Measure, print a table, write JSON; exit status 1 when something grew."""
    parser = argparse.ArgumentParser(prog="run_stream.py bench endless")
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--parts", type=int, default=10)
    parser.add_argument("--checkpoint", default="bundled")
    parser.add_argument("--budget", default="256MiB")
    parser.add_argument("--json", type=Path, default=Path("runs/bench-endless.json"))
    found = parser.parse_args(argv)
    torch.set_num_threads(1)  # so that CPU time is the time of the work
    checkpoint = open_checkpoint(found.checkpoint)
    backbone = Backbone(checkpoint)
    memory = open_memory(backbone, checkpoint, MemoryConfig(budget=found.budget), MediaEpoch(1.7e9))
    say(memory.plan.sentence())
    parts = run(memory, TextAnswerer(backbone), make_reel(checkpoint, say), found.frames, found.parts, say=say)
    for line in render(parts):
        say(line)
    grown = verdict(parts)
    say(grown or "Nothing grew.")
    found.json.parent.mkdir(parents=True, exist_ok=True)
    found.json.write_text(json.dumps({"parts": [asdict(p) for p in parts], "verdict": grown}, indent=2) + "\n")
    return 1 if grown else 0


def run(
    memory: Memory, answerer: TextAnswerer, reel: Reel, frames: int, parts: int, *, say: Callable[[str], None]
) -> list[Part]:
    """Play the reel for so many frames."""
    played = reel.play(frames, novelty=NOVELTY)
    each, found = frames // parts, []
    for part in range(parts):
        see, ask, prompt, most = 0.0, 0.0, 0, 0
        for asked in range(QUESTIONS):
            stretch = each // QUESTIONS
            started = time.process_time()
            for tokens in (next(played) for _ in range(stretch)):
                memory.append(tokens)
            see += time.process_time() - started
            most = max(most, sum(memory.bytes_by_part().values()))
            started = time.process_time()
            prompt = max(prompt, question(memory, answerer, f"{part}-{asked}"))
            ask += time.process_time() - started
        holdings = memory.holdings()
        seen = holdings.frames_seen
        found.append(
            Part(
                frames=seen,
                hours=seen / reel.fps / 3600,
                frame_ms=see / (each // QUESTIONS * QUESTIONS) * 1e3,
                question_ms=ask / QUESTIONS * 1e3,
                prompt_tokens=prompt,
                memory_bytes=most,
                budget_bytes=holdings.budget_bytes,
                resident_mib=resident_mib(),
                blocks=len(holdings.blocks),
                codes=holdings.codes_alive,
            )
        )
        say(f"{seen} frames, {found[-1].hours:.1f} h: {found[-1].frame_ms:.2f} ms a frame, {most / 2**20:.1f} MiB held")
    return found


def question(memory: Memory, answerer: TextAnswerer, name: str) -> int:
    """Ask, read the whole answer, tell memory; returns the tokens it could attend to."""
    view = memory.fork(Question(name, WORDS, "bench", 0.0, 1e12, max_tokens=8))
    for _ in answerer.answer(view):
        pass
    memory.used(view)
    return view.usage().prompt_tokens


def resident_mib() -> float:
    """Resident memory of this process, MiB."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    except OSError:  # not Linux: the peak is the next best
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def verdict(parts: Sequence[Part], slower: float = SLOWER) -> str:
    """A sentence when something grew, else nothing. The first part fills memory and is not compared.

    `slower`: by which share a frame may be dearer in the second half. Medians of parts, so that one part on a busy
    machine decides nothing; with fewer than four parts there is no full part in the first half to compare with.
    """
    if any(part.memory_bytes > part.budget_bytes for part in parts):
        return "Memory passed its budget."
    half = len(parts) // 2
    early, late = parts[half - 1], parts[-1]
    if late.memory_bytes > early.memory_bytes * 1.02:
        return f"Memory grew from {early.memory_bytes} to {late.memory_bytes} bytes in the second half."
    if late.resident_mib > early.resident_mib + 32:
        return f"The process grew from {early.resident_mib:.0f} to {late.resident_mib:.0f} MiB in the second half."
    if late.prompt_tokens > early.prompt_tokens * 1.05:
        return f"Questions read {late.prompt_tokens} tokens at the end and {early.prompt_tokens} in the middle."
    if half > 1:
        first, second = (median(part.frame_ms for part in some) for some in (parts[1:half], parts[half:]))
        if second > first * (1 + slower):
            return f"A frame took {first:.2f} ms in the first half, once memory was full, and {second:.2f} ms later."
    return ""


def render(parts: Sequence[Part]) -> list[str]:
    """The table as lines of Markdown."""
    names = "frames, hours, ms/frame, ms/question, tokens in reach, memory MiB, of budget, process MiB, blocks, codes"
    columns = names.split(", ")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for p in parts:
        share = p.memory_bytes / p.budget_bytes
        lines.append(
            f"| {p.frames} | {p.hours:.1f} | {p.frame_ms:.2f} | {p.question_ms:.1f} | {p.prompt_tokens} "
            f"| {p.memory_bytes / 2**20:.1f} | {share:.0%} | {p.resident_mib:.0f} | {p.blocks} "
            f"| {p.codes} |"
        )
    return lines
