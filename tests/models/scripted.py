"""A perception that cuts a segment every few frames and fuses nothing, and a camera of random tokens: known truth."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from models.backbone import Backbone
from models.checkpoint import Card, Checkpoint
from models.cross_dynamics import CrossDynamics
from models.kv.budget import MemoryConfig
from models.memory import Memory
from models.rows import MOTION_FEATURES, Rows
from stream.flow import MediaEpoch, Question, Tokens
from tests.models.tiny import tiny_model, tiny_tokenizer

torch.set_num_threads(1)  # tiny matrices: a second thread only waits

GRID = (2, 2)
NOON = 43_200.0  # Unix time of media time 0: 12:00:00 UTC


@cache
def tiny_backbone(layers: int = 2, hidden: int = 32) -> Backbone:
    return Backbone(tiny_checkpoint(layers, hidden))


@cache
def tiny_checkpoint(layers: int = 2, hidden: int = 32) -> Checkpoint:
    tokenizer = tiny_tokenizer()
    model = tiny_model(tokenizer, layers, hidden)
    dynamics = CrossDynamics(hidden).eval()
    return Checkpoint(model, tokenizer, None, Card(name="tiny"), dynamics, "tiny", None)  # type: ignore[arg-type]


def frame(index: int, seconds: float = 1.0, dim: int = 32, grid: tuple[int, int] = GRID, seed: int = 0) -> Tokens:
    """Frame `index` of a camera: random tokens, the same for the same index and seed."""
    generator = torch.Generator().manual_seed(1000 * seed + index)
    cells = grid[0] * grid[1]
    return Tokens(
        embeds=torch.randn(cells, dim, generator=generator),
        places=torch.zeros(cells, 3, dtype=torch.int32),
        mass=torch.ones(cells),
        grid=grid,
        span_s=(index * seconds, index * seconds),
    )


def rows_of(frames: list[Tokens], until_s: float) -> Rows:
    """Every token its own row: fusion that loses nothing."""
    embeds = torch.cat([f.embeds for f in frames])
    n, cells = len(embeds), frames[0].grid[0] * frames[0].grid[1]
    return Rows(
        embeds=embeds,
        mass=torch.ones(n),
        motion=torch.zeros(n, MOTION_FEATURES),
        cells=torch.eye(cells).repeat(len(frames), 1),
        codes=torch.arange(n),
        grid=frames[0].grid,
        span_s=(frames[0].span_s[0], max(until_s, frames[-1].span_s[1])),
        frames=len(frames),
        patches=float(n),
    )


class ScriptedPerception:
    """Segments of `every` frames; `static` frame indices (by time) close segments that say nothing new."""

    def __init__(self, every: int = 2, instant: int = 2, static: frozenset[int] = frozenset()) -> None:
        self.every, self.kept, self.static = every, instant, static
        self.grid = GRID
        self.open: list[Tokens] = []
        self.last: deque[Tokens] = deque(maxlen=instant)
        self.until_s = 0.0
        self.closed = 0
        self.codes_alive = 0

    @property
    def open_frames(self) -> int:
        return len(self.open)

    def see(self, tokens: Tokens) -> Rows | None:
        rows = self.open_segment() if len(self.open) == self.every else None
        if rows is not None:
            self.open = []
            self.closed += 1
            if self.closed - 1 in self.static:
                none = torch.zeros(0)
                rows = Rows(
                    none.view(0, 32),
                    none,
                    none.view(0, 26),
                    none.view(0, 4),
                    none.long(),
                    GRID,
                    rows.span_s,
                    rows.frames,
                    rows.patches,
                )
        self.open.append(tokens)
        self.last.append(tokens)
        self.until_s = tokens.span_s[1]
        return rows

    def hold(self, until_s: float) -> None:
        self.until_s = max(self.until_s, until_s)

    def instant(self) -> list[Rows]:
        return [rows_of([f], 0.0) for f in self.last]

    def open_segment(self) -> Rows | None:
        return rows_of(self.open, self.until_s) if self.open else None

    def bytes(self) -> dict[str, int]:
        return {"open": 4 * self.every * 4 * 32, "instant": 4 * self.kept * 4 * 32}

    def state_dict(self) -> dict[str, Tensor]:
        def pack(frames: list[Tokens]) -> Tensor:
            return torch.stack([f.embeds for f in frames]) if frames else torch.zeros(0, 4, 32)

        times = [*(f.span_s[1] for f in self.open), *(f.span_s[1] for f in self.last)]
        return {
            "open": pack(self.open),
            "last": pack(list(self.last)),
            "times": torch.tensor(times, dtype=torch.float64),
            "numbers": torch.tensor([self.until_s, self.closed], dtype=torch.float64),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        times = iter(float(t) for t in state["times"])

        def unpack(embeds: Tensor) -> list[Tokens]:
            return [
                Tokens(e, torch.zeros(4, 3, dtype=torch.int32), torch.ones(4), GRID, (t, t))
                for e, t in zip(embeds, times, strict=False)
            ]

        self.open = unpack(state["open"][: len(state["open"])])
        self.last = deque(unpack(state["last"]), self.kept)
        self.until_s, self.closed = float(state["numbers"][0]), int(state["numbers"][1])


def memory(
    every: int = 2,
    instant: int = 2,
    static: frozenset[int] = frozenset(),
    layers: int = 2,
    **settings: Any,
) -> Memory:
    """A memory of tiny parts; `settings` are those of `MemoryConfig`."""
    given: dict[str, Any] = {"budget": "8MiB", "hot_blocks": 4, "fused_tokens": 4 * every, "instant_frames": instant}
    given |= {"segment_s": float(every), "max_forks": 8, "base_codes": 16} | settings
    config = MemoryConfig(**given)
    checkpoint, backbone = tiny_checkpoint(layers), tiny_backbone(layers)
    return Memory(
        backbone,
        checkpoint.cross_dynamics,
        lambda: ScriptedPerception(every, instant, static),  # type: ignore[arg-type,return-value]
        config,
        MediaEpoch(NOON),
    )


def ask(text: str = "what is there?", **fields: Any) -> Question:
    given: dict[str, Any] = {
        "id": "q1",
        "text": text,
        "camera": "yard",
        "asked_s": 0.0,
        "deadline_s": 1e9,
        "max_tokens": 8,
    }
    return Question(**(given | fields))
