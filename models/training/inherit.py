"""A new checkpoint may begin from an older one of another picture size or vocabulary instead of from noise.

What fits is copied: the tower with its places stretched to the new grid, the projector, the language model, and the
embedding of every token that both vocabularies have. New words stay as they were made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from torch import Tensor

    from models.checkpoint import Checkpoint

_PLACES = "embeddings.position_embedding.weight"


@torch.no_grad()
def inherit(new: Checkpoint, old: Checkpoint) -> None:
    """Copy into `new` what it can take over from `old`. Raises ValueError where widths or depths differ."""
    ours: Any = new.model.model
    theirs: Any = old.model.model
    try:
        _tower(ours.vision_tower, theirs.vision_tower)
        ours.multi_modal_projector.load_state_dict(theirs.multi_modal_projector.state_dict())
        ours.image_newline.copy_(theirs.image_newline)
        words = {k: v for k, v in theirs.language_model.state_dict().items() if k != "embed_tokens.weight"}
        ours.language_model.load_state_dict(words, strict=False)
        new.cross_dynamics.load_state_dict(old.cross_dynamics.state_dict())
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"A checkpoint like {old.model_id} cannot be gone on from: {error}") from error
    table, before = ours.language_model.embed_tokens.weight, theirs.language_model.embed_tokens.weight
    known: dict[str, int] = old.tokenizer.get_vocab()
    for token, place in new.tokenizer.get_vocab().items():
        if token in known:
            table[place] = before[known[token]]


def _tower(ours: Any, theirs: Any) -> None:
    weights = dict(theirs.state_dict())
    name = next(key for key in weights if key.endswith(_PLACES))
    weights[name] = _stretched(weights[name], len(ours.state_dict()[name]))
    wanted = ours.state_dict()
    ours.load_state_dict({k: v if v.shape == wanted[k].shape else wanted[k] for k, v in weights.items()})


def _stretched(places: Tensor, count: int) -> Tensor:
    """(n, d) embeddings of a square grid of places to (count, d) of another."""
    before, after = round(len(places) ** 0.5), round(count**0.5)
    square = places.T.view(1, -1, before, before)
    wide = interpolate(square, size=(after, after), mode="bicubic", align_corners=False)
    return wide[0].flatten(1).T
