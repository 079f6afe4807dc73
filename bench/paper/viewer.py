"""A checkpoint that watches a film through one reducer and answers: the tower, the rows, the plain video prompt.

Not through a camera's memory: the published figures are of a whole clip reduced once and put before the question. A
memory would add time stamps, an instant window of whole frames and a budget, and its token counts would be of something
else. With the reducer `none` the prompt is, row for row, the checkpoint's own video prompt; the tests hold it to that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import torch

from bench.paper.film import frames_of
from models.answerer import Words
from models.backbone import Backbone
from models.prompt import embed
from models.reducers.clip import Clip, Reduced, rows_of
from models.reducers.registry import REDUCERS, SALIENT, make_reducer
from models.vision.torch_tower import TorchVision
from stream.flow import Tokens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from models.checkpoint import Checkpoint

NONE = "none"  # every token, in raster order: what reducers are compared with
NAMES = (NONE, *REDUCERS)
MOST_FRAMES = 64  # as in the longest segment that memory closes
_BATCH = 8  # frames per pass of the tower


class TooLong(ValueError):
    """A prompt of more rows than the model was made for, in a sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A film as the language model will see it."""

    rows: Tensor  # (F, D)
    frames: int
    patches: int  # tokens before reduction
    vision_ms: float  # decoding, tower, projector
    reduce_ms: float


@dataclass(frozen=True, slots=True)
class Said:
    """An answer and what it cost."""

    text: str
    first_ms: float  # from the question to the first token
    total_ms: float


class Viewer:
    """One checkpoint with one reducer."""

    def __init__(self, checkpoint: Checkpoint, reducer: str, rows: int, frames: int) -> None:
        """Raises ValueError with a sentence for a reducer that is not known and for sizes that cannot be."""
        if rows < 1 or not 1 <= frames <= MOST_FRAMES:
            raise ValueError(f"--rows must be 1 or more and --frames 1 to {MOST_FRAMES}, not {rows} and {frames}.")
        self._reducer = None if reducer == NONE else make_reducer(reducer)
        self._most_rows, self._frames = rows, frames
        self.backbone = Backbone(checkpoint)
        self._checkpoint, self._encoder = checkpoint, TorchVision(checkpoint, salient=reducer in SALIENT)
        self._layout = self.backbone.layout(stamps=False)

    def look(self, film: Path, span_s: tuple[float, float] | None = None) -> Look:
        """See a film once. Raises `Unreadable`."""
        started, seen = time.perf_counter(), list[Tokens]()
        frames = frames_of(film, self._frames, span_s)
        while batch := list(islice(frames, _BATCH)):
            seen += self._encoder.encode(batch)
        clip = _clip(seen, self._checkpoint.grid)
        met = time.perf_counter()
        fused = self._fused(clip)
        done = time.perf_counter()
        return Look(fused, len(seen), len(clip.flat), (met - started) * 1e3, (done - met) * 1e3)

    @torch.no_grad()
    def ask(self, look: Look, text: str, most_tokens: int) -> Said:
        """Greedy words. Raises `TooLong`."""
        started, backbone = time.perf_counter(), self.backbone
        parts = self._layout.sequence([("", look.rows)], "", [], backbone.newline, text)
        prompt, _ = embed(parts, backbone.embedding)
        length = len(prompt)
        if length + most_tokens > backbone.trained_positions:
            raise TooLong(
                f"The prompt has {length} rows and the model {backbone.trained_positions} positions; "
                "take fewer --frames, or a reducer and fewer --rows."
            )
        tail = backbone.tail(length + most_tokens)
        hidden, _ = backbone.read(prompt, tail, range(length))
        words, said, first_ms = Words(backbone.tokenizer), list[str](), 0.0
        for number in range(most_tokens):
            token = int(backbone.logits(hidden[-1:])[0].argmax())
            first_ms = first_ms or (time.perf_counter() - started) * 1e3
            if token in backbone.end_ids:
                break
            said.append(words.add(token))
            hidden, _ = backbone.read(
                backbone.embedding(torch.tensor([token])), tail, range(length + number, length + number + 1)
            )
        text = "".join([*said, words.rest()]).strip()
        return Said(text, first_ms, (time.perf_counter() - started) * 1e3)

    @torch.no_grad()
    def _fused(self, clip: Clip) -> Tensor:
        """Rows, with their motion mixed in where the checkpoint has learned how (others leave them as they are)."""
        every = torch.arange(len(clip.flat))
        if self._reducer is None:
            found = Reduced(clip.flat, every, every)
        else:
            found = self._reducer.reduce(clip, self._most_rows)
        mixed = self._checkpoint.cross_dynamics
        if float(mixed.gate) == 0.0:
            return found.embeds
        rows, device = rows_of(found, clip, _span(clip)), mixed.gate.device
        rows = replace(rows, embeds=rows.embeds.to(device), motion=rows.motion.to(device), mass=rows.mass.to(device))
        fused: Tensor = mixed(rows)
        return fused


def _clip(seen: Sequence[Tokens], grid: tuple[int, int]) -> Clip:
    """Frames of one film, with what the tower attended to where it was asked for that."""
    salient = [tokens.saliency for tokens in seen if tokens.saliency is not None]
    return Clip(
        torch.stack([tokens.embeds for tokens in seen]),
        grid,
        torch.tensor([tokens.span_s[1] for tokens in seen]),
        saliency=torch.stack(salient) if salient else None,
    )


def _span(clip: Clip) -> tuple[float, float]:
    return float(clip.times_s[0]), float(clip.times_s[-1])
