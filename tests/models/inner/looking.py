"""The truth about looking at fewer rows: one plain pass of the unpatched layers with a mask per layer and row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from models.inner import registry
from models.kv.fork import View
from models.memory import Memory
from models.prompt import embed
from tests.models.exact import Log, watched
from tests.models.scripted import ask, frame, memory

WORDS = ("fastv", "holitom_inner", "mustdrop")
Choose = Callable[[int, Tensor], Tensor | None]  # layer, attention (rows, ids), mean over heads -> (rows, ids) bool


def use(monkeypatch: pytest.MonkeyPatch, name: str, made: Any) -> None:
    """From now on a name of the configuration means this very method."""
    known: Any = registry.DECODES if name in registry.DECODES else registry.INNERS
    monkeypatch.setitem(known, name, lambda: made)


def watching(frames: int = 13, **settings: Any) -> tuple[Memory, Log]:
    """A tiny memory that has seen some frames, all of them at hand, and what its blocks were read from."""
    given: dict[str, Any] = {"hot_blocks": 16, "layers": 4, "budget": "32MiB"}
    mem = memory(**(given | settings))
    log = watched(mem)
    for index in range(frames):
        mem.append(frame(index))
    return mem, log


def said(view: View, tokens: list[int]) -> list[Tensor]:
    """Hidden rows of a question and of words put into the model's mouth."""
    return [view.read(), *(view.say(token) for token in tokens)]


def hidden(mem: Memory, tokens: list[int], text: str = "what is there?") -> Tensor:
    view = mem.fork(ask(text))
    try:
        return torch.stack(said(view, tokens))
    finally:
        view.close()


class Truth:
    """A plain pass over prefix, blocks, prompt and words said; `choose` narrows what the rows of a fork see."""

    def __init__(self, mem: Memory, view: View, log: Log, tokens: list[int]) -> None:
        embedding = mem.backbone.embedding
        prefix, (prompt, _) = embed(mem._reader.layout.prefix(), embedding)[0], embed(view._parts, embedding)
        pieces = [prefix, *(rows for _, _, rows in log), prompt, embedding(torch.tensor(tokens, dtype=torch.long))]
        self.model = mem.backbone.language_model
        self.rows = torch.cat(pieces)
        self.first = sum(len(piece) for piece in pieces[:-2])  # of the prompt
        self.ids = self.first + len(prompt)
        self.words = len(view._parts[-1])
        self.entering: list[Tensor] = []  # rows (n, D) as they enter each layer, of the last `run`

    def run(self, choose: Choose, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Hidden rows from the prompt's last on, and attention (layers, rows from the prompt on, all).

        `start` (rows, ids) bool: what is seen in the first layer; without, all.
        """
        n = len(self.rows)
        order = torch.ones(n, n, dtype=torch.bool).tril()
        narrowed = torch.ones(n - self.first, self.ids, dtype=torch.bool) if start is None else start
        config = self.model.config
        usual, config._attn_implementation = config._attn_implementation, "eager"
        looks = []
        self.entering.clear()
        rows, at = self.rows[None], torch.arange(n)[None]
        try:
            with torch.no_grad():
                angles = self.model.rotary_emb(rows, at)
                for index, layer in enumerate(self.model.layers):
                    self.entering.append(rows[0])
                    visible = order.clone()
                    visible[self.first :, : self.ids] &= narrowed
                    mask = torch.zeros(1, 1, n, n).masked_fill(~visible, torch.finfo(torch.float32).min)
                    looks.append(self._look(layer, rows, mask, angles))
                    rows = layer(rows, attention_mask=mask, position_embeddings=angles)
                    found = choose(index, looks[-1][:, : self.ids])
                    narrowed = narrowed if found is None else narrowed & found
        finally:
            config._attn_implementation = usual
        return self.model.norm(rows)[0, self.ids - 1 :], torch.stack(looks)

    def _look(self, layer: Any, rows: Tensor, mask: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        weights: Tensor = layer.self_attn(
            hidden_states=layer.input_layernorm(rows), attention_mask=mask, position_embeddings=angles
        )[1]
        return weights[0, :, self.first :].mean(0)


def seen_ids(view: View, ids: int) -> Tensor:
    """(V,) ids of what was seen; of a view that has read."""
    seen = torch.zeros(ids, dtype=torch.bool)
    for stretch in view._stretches:
        seen[stretch.at : stretch.at + stretch.rows] = True
    return seen.nonzero()[:, 0]


def only(rows: int, ids: int, seen: Tensor, kept: Tensor) -> Tensor:
    """(rows, ids) bool: of what was seen, only these."""
    mask = torch.ones(rows, ids, dtype=torch.bool)
    mask[:, seen] = False
    mask[:, kept] = True
    return mask
