"""Pictures for people: a scene of each sort with a question, the answer, the truth, and what the answer rests on.

    python run_stream.py bench examples [--out runs/examples] [--checkpoint bundled] [--seconds 60]

Nothing is measured here. Of the questions about each scene one that was answered truly is shown, about the past where
there is one, and only else one that was not: how often which happens, `bench watch` says.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.answerer import TextAnswerer
from models.backbone import Backbone
from models.checkpoint import Checkpoint, open_checkpoint
from models.memory import MemoryConfig, open_memory
from models.place import use_threads
from models.vision.torch_tower import TorchVision
from stream.flow import Evidence, Frame, MediaEpoch, Question, Sighting
from stream.gate import ChangeGate
from stream.sources.simulated.kinds import SCENES
from stream.sources.simulated.paint import paint
from stream.sources.simulated.quiz import KINDS_ASKED, Item, ask_about
from stream.sources.simulated.teacher import TEST_SEEDS
from stream.sources.simulated.world import Script

FPS = 2.0
SIDE, GAP, FOOT = (640, 480), 16, 150  # px of each picture, between them, and for the words


@dataclass(frozen=True, slots=True)
class Example:
    """One question about one scene."""

    item: Item
    said: str
    evidence: Evidence
    now_s: float


def main(argv: Sequence[str], say: Callable[[str], None]) -> int:
    """Draw one picture per scene."""
    parser = argparse.ArgumentParser(prog="run_stream.py bench examples", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/examples"))
    parser.add_argument("--checkpoint", default="bundled")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--scenes", nargs="*", default=list(SCENES))
    found = parser.parse_args(argv)
    checkpoint = open_checkpoint(found.checkpoint)
    use_threads(checkpoint.model)
    found.out.mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(found.scenes):
        script = Script(TEST_SEEDS[600_000 + number], scene, day=number % 3 != 1)
        shown = best(watch(checkpoint, script, found.seconds))
        path = found.out / f"{scene}.png"
        draw(script, shown).save(path)
        say(f"{path}: {shown.item.text} - {shown.said} (true: {shown.item.answer})")
    return 0


def watch(checkpoint: Checkpoint, script: Script, seconds: float) -> list[Example]:
    """The scene through the deployed pipeline, and questions at its end."""
    config = MemoryConfig().with_recommended(checkpoint.card.memory)
    backbone = Backbone(checkpoint)
    memory = open_memory(backbone, checkpoint, config, MediaEpoch(script.wall_s))
    encoder, gate, answerer = TorchVision(checkpoint), ChangeGate(), TextAnswerer(backbone)
    for index in range(int(seconds * FPS) + 1):
        now_s = index / FPS
        frame = Frame(index, now_s, now_s, paint(script, now_s))
        if gate.admits(frame):
            memory.append(encoder.encode([frame])[0])
        else:
            memory.hold(now_s)
    found = []
    for number, item in enumerate(ask_about(script, 0.0, now_s, np.random.default_rng(script.seed), 24, hz=FPS)):
        view = memory.fork(Question(f"example-{number}", item.text, "sim", now_s, now_s + 60, max_tokens=24))
        said = "".join(piece.text for piece in answerer.answer(view)).strip()
        found.append(Example(item, said, view.evidence(), now_s))
    return found


def best(examples: Sequence[Example]) -> Example:
    """The one to show: answered truly before not, about the past before not; the rarer kind of answer first."""
    order = list(KINDS_ASKED)[::-1]
    return min(
        examples,
        key=lambda e: (e.said != e.item.answer, e.item.mode != "past", not e.item.there, order.index(e.item.kind)),
    )


def draw(script: Script, shown: Example) -> Image.Image:
    """The newest picture, the one that the answer rests on most with where was looked, and the words."""
    sheet = Image.new("RGB", (2 * SIDE[0] + 3 * GAP, SIDE[1] + 2 * GAP + FOOT), (20, 23, 28))
    sheet.paste(Image.fromarray(paint(script, shown.now_s, SIDE)), (GAP, GAP))
    looked = looked_at(shown)
    if looked is not None:
        picture = heated(paint(script, sum(looked.span_s) / 2, SIDE), looked)
        sheet.paste(Image.fromarray(picture), (SIDE[0] + 2 * GAP, GAP))
    pen, top = ImageDraw.Draw(sheet), SIDE[1] + 2 * GAP
    _words(pen, (GAP, top), shown.item.text, 30, (235, 238, 244))
    right = shown.said == shown.item.answer
    _words(pen, (GAP, top + 44), shown.said or "(nothing)", 34, (120, 205, 130) if right else (235, 130, 110))
    _words(pen, (GAP, top + 98), f"now, {shown.now_s:.0f} s; true answer: {shown.item.answer}", 18, (150, 158, 170))
    if looked is not None:
        span, share = looked.span_s, looked.weight_fraction
        told = f"looked at: {span[0]:.0f} to {span[1]:.0f} s, {100 * share:.0f} % of the attention on what was seen"
        _words(pen, (SIDE[0] + 2 * GAP, top + 98), told, 18, (150, 158, 170))
    return sheet


def looked_at(shown: Example) -> Sighting | None:
    """What got most attention; for a question about the past, of what is remembered and not on screen."""
    sightings = shown.evidence.sightings
    past = [s for s in sightings if s.block is not None] if shown.item.mode == "past" else []
    return next(iter(past or sightings), None)


def heated(picture: NDArray[np.uint8], sighting: Sighting) -> NDArray[np.uint8]:
    """The picture, dim but for the cells that were looked at."""
    cells = np.asarray(sighting.cells, np.float32)
    heat = Image.fromarray(cells / max(float(cells.max()), 1e-9)).resize(SIDE, Image.Resampling.BICUBIC)
    light = 0.3 + 0.7 * np.clip(np.asarray(heat), 0, 1)[..., None]
    warm: NDArray[np.uint8] = np.clip(picture * light + 40 * (light - 0.3) * np.array((1, 0.6, 0)), 0, 255).astype(
        np.uint8
    )
    return warm


def _words(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, ink: tuple[int, int, int]) -> None:
    pen.text(at, text, font=ImageFont.load_default(size=size), fill=ink)
