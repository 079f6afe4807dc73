"""Floating-point operations of tower and language model, counted from their shapes; a multiply and an add are two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from models.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class Costs:
    """What one model costs."""

    tower: float  # one frame: patches, layers, projector
    telling: float  # what its last layer attends to, worked out once more
    row: float  # one row through all layers, but for attention
    pair: float  # one row looking at one key in all layers
    head: float  # one row to words

    def prefill(self, rows: int, before: int) -> float:
        """`rows` rows after `before` others, each looking at those before it and at itself."""
        return rows * self.row + self.pair * (rows * before + rows * (rows + 1) / 2)

    def word(self, before: int) -> float:
        """One more word after `before` rows."""
        return self.prefill(1, before) + self.head


def costs_of(checkpoint: Checkpoint) -> Costs:
    """From the weights of linear and convolutional layers and the attention's shapes."""
    model: Any = checkpoint.model
    text, vision = model.config.text_config, model.config.vision_config
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    patches = (vision.image_size // vision.patch_size) ** 2
    tower = 2.0 * patches * (_weights(model.model.vision_tower) + _weights(model.model.multi_modal_projector))
    tower += 4.0 * vision.num_hidden_layers * patches**2 * vision.hidden_size
    return Costs(
        tower=tower,
        telling=4.0 * patches * vision.hidden_size**2 + 2.0 * patches**2 * vision.hidden_size,
        row=2.0 * _weights(model.model.language_model.layers),
        pair=4.0 * text.num_hidden_layers * text.num_attention_heads * head_dim,
        head=2.0 * text.hidden_size * text.vocab_size,
    )


def tower_merging(checkpoint: Checkpoint, removed: Sequence[int]) -> float:
    """One frame through a tower whose layers merge so many patches each, between attention and what follows it.

    Looking for pairs is not counted: it is a quarter of a layer's attention at most.
    """
    model: Any = checkpoint.model
    vision, tower = model.config.vision_config, model.model.vision_tower
    patches, saved = (vision.image_size // vision.patch_size) ** 2, 0.0
    layers = [part for part in tower.modules() if hasattr(part, "self_attn") and hasattr(part, "mlp")]
    fewer = patches
    for layer, gone in zip(layers, removed, strict=True):
        saved += 2.0 * (patches - fewer) * _weights(layer.self_attn)
        saved += 4.0 * (patches**2 - fewer**2) * vision.hidden_size
        fewer -= gone
        saved += 2.0 * (patches - fewer) * _weights(layer.mlp)
    return costs_of(checkpoint).tower - saved


def _weights(module: nn.Module) -> int:
    """Numbers that every row is multiplied with once."""
    return sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d))
