"""The vision tower with fewer tokens from layer to layer: those whose keys are alike go on as one.

Source: ToMe (arXiv 2210.09461), in every layer; TempMe (arXiv 2409.01156) does the same in the first two thirds of the
layers, and that part of it, within one picture, is what runs here. What it merges across pictures is the reducer
`tempme`, after the tower: frames of a live camera come one by one, and the first must not wait for the twelfth.

After the last layer every cell of the patch grid gets a copy of the row that its patch is in. So projector, pooling and
the token grid are as without merging, and so is the number of tokens: what is saved is time in the tower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.nn.functional import scaled_dot_product_attention

from models.depth import features_of
from models.reducers.matching import at_most, match, pick, removals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

TowerMerge = Literal["none", "tome", "tempme"]


@dataclass(frozen=True, slots=True, eq=False)
class Layered:
    """What leaves one layer."""

    x: Tensor  # (B, n, C)
    mass: Tensor  # (B, n) float32: patches in a row
    owners: Tensor  # (B, N) int64: the row of each patch

    @property
    def whole(self) -> Tensor:
        """(B, N, C): each patch with its row."""
        return self.x if self.x.shape[1] == self.owners.shape[1] else pick(self.x, self.owners)


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a tower makes of pictures."""

    rows: Tensor  # (B, P, D) tokens
    inside: Tensor | None  # (B, F) features that `Depth` judges, where asked for
    saliency: Tensor | None  # (B, P) attention that the patches of a cell received in the last layer, where asked for


def plan_of(model: Any, word: TowerMerge, tokens: int | None = None) -> tuple[int, ...]:
    """How many tokens each layer of a model's tower merges: `tokens`, or by the method's word. Empty for "none".

    "tome" merges the same in every layer, together half of the patches. Published were 80 to 98 % of them, where only
    a class token was read in the end; here every cell is. "tempme" merges a third of the patches, as published, in the
    first two thirds of the layers. Raises ValueError with a sentence for a tower whose layers are not known.
    """
    vision = model.config.vision_config
    if word == "none":
        return ()
    if vision.model_type != "siglip_vision_model":
        raise ValueError(
            f"Only SigLIP towers can be merged or looked into, not {vision.model_type!r}; use tower_merge: none."
        )
    layers, patches = int(vision.num_hidden_layers), (vision.image_size // vision.patch_size) ** 2
    merging, share = (layers, 2) if word == "tome" else (max(1, 2 * layers // 3), 3)
    r = patches // share // merging if tokens is None else tokens
    return tuple(removals([r] * merging, layers))


def see_merging(
    model: Any, pixels: Tensor, plan: Sequence[int], *, judged: bool = False, salient: bool = False
) -> Look:
    """(B, 3, S, S) pixels through a tower that merges `plan[i]` tokens in layer `i`; zeros are the whole tower."""
    inner, config = model.model, model.config
    seen = tower(inner.vision_tower, pixels, plan)
    at = config.vision_feature_layer
    chosen = torch.cat([seen[layer].whole for layer in ([at] if isinstance(at, int) else at)], dim=2)
    if config.vision_feature_select_strategy == "default":
        chosen = chosen[:, 1:]
    return Look(
        rows=inner.apply_pooling(inner.multi_modal_projector(chosen)),
        inside=features_of([layer.whole for layer in seen]) if judged else None,
        saliency=_pooled_saliency(inner, seen[-2]) if salient else None,
    )


def tower(vision: Any, pixels: Tensor, plan: Sequence[int]) -> list[Layered]:
    """What leaves the embeddings and each layer, of which number `i` merges `plan[i]` tokens, half of all at most."""
    x = vision.embeddings(pixels)
    mass = torch.ones(x.shape[:2], device=x.device)
    seen = [Layered(x, mass, torch.arange(x.shape[1], device=x.device).expand(x.shape[:2]))]
    for layer, r in zip(vision.encoder.layers, plan, strict=True):
        seen.append(_through(layer, seen[-1], min(r, at_most(seen[-1].x.shape[1]))))
    return seen


def _through(layer: Any, given: Layered, r: int) -> Layered:
    """One layer: attention, merging by keys, then what follows for the rows that are left."""
    heavy = given.x.shape[1] < given.owners.shape[1]  # something was merged before
    if not r and not heavy:
        return Layered(layer(given.x, None), given.mass, given.owners)
    attended, keys = _attention(layer.self_attn, layer.layer_norm1(given.x), given.mass if heavy else None)
    matching = match(keys, r)
    x, mass = matching.merge(given.x + attended, given.mass)  # in float32, since mass is
    x = x.to(given.x.dtype)
    return Layered(x + layer.mlp(layer.layer_norm2(x)), mass, matching.owners.gather(1, given.owners))


def _attention(attn: Any, x: Tensor, mass: Tensor | None) -> tuple[Tensor, Tensor]:
    """(B, n, C) attention in which a row counts as often as it has patches; (B, n, C / heads) float32 mean keys.

    The logarithm of the mass on the logits does that: a row of two patches is attended to like both of them.
    """
    q, k, v = (_by_head(project(x), attn) for project in (attn.q_proj, attn.k_proj, attn.v_proj))
    often = None if mass is None else mass.log()[:, None, None].to(x.dtype)
    seen = scaled_dot_product_attention(q, k, v, attn_mask=often, scale=attn.scale)
    return attn.out_proj(seen.transpose(1, 2).flatten(2)), k.float().mean(1)


def received(layer: Any, given: Layered) -> Tensor:
    """(B, N) float32: the share of a layer's attention that each patch receives, mean over heads and asking patches.

    Patches in one row share alike in what it receives. Sums to 1 per picture.
    """
    attn, x = layer.self_attn, layer.layer_norm1(given.x)
    q, k = (_by_head(project(x), attn).float() for project in (attn.q_proj, attn.k_proj))
    logits = q @ k.mT * attn.scale + given.mass.log()[:, None, None]
    asking = given.mass / given.mass.sum(1, keepdim=True)
    shares: Tensor = torch.einsum("bhqk,bq->bk", logits.softmax(dim=3), asking) / attn.num_heads
    return (shares / given.mass).gather(1, given.owners)


def _pooled_saliency(inner: Any, before_last: Layered) -> Tensor:
    patches = received(inner.vision_tower.encoder.layers[-1], before_last)
    cells: Tensor = inner.apply_pooling(patches[..., None])[..., 0]
    return cells


def _by_head(x: Tensor, attn: Any) -> Tensor:
    """(B, n, C) to (B, heads, n, C / heads)."""
    by_head: Tensor = x.unflatten(2, (attn.num_heads, -1))
    return by_head.transpose(1, 2)
