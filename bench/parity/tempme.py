"""TempMe: our merging in a small tower like the published one, beside LunarShen/TempMe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import layer_norm, linear, normalize, scaled_dot_product_attention

from bench.parity.case import Difference, hidden, indices, tokens
from models.reducers.matching import at_most, match
from models.reducers.tempme import removed

if TYPE_CHECKING:
    from torch import Tensor

    from bench.parity.case import Case


def check(case: Case) -> list[Difference]:
    """Every array of a case. Raises ValueError for a kind of case that is not known."""
    kinds = {"merge_function": _merging, "video_encoder": _encoder}
    kind = case.meta["params"].get("kind")
    if kind not in kinds:
        raise ValueError(f"tempme/{case.name} is of kind {kind!r}; known are {', '.join(kinds)}.")
    return kinds[kind](case)


def _merging(case: Case) -> list[Difference]:
    params = case.meta["params"]
    fixed = int(params["cls_num"])
    matching = match(case.tensor("metric"), int(params["r"]), fixed=fixed, order="sides")
    x, mass = matching.merge(case.tensor("x"), case.tensor("size_in")[..., 0])
    patches = matching.stay[:, fixed:]
    remain = patches[patches % 2 == 0].view(len(x), -1)
    return [
        indices("source_index", matching.sources, case.tensor("source_index")),
        indices("destination_index", matching.receivers, case.tensor("destination_index")),
        indices("unmerged_index", remain, case.tensor("unmerged_index")),
        tokens("merged_x", x, case.tensor("merged_x")),
        tokens("merged_size", mass[..., None], case.tensor("merged_size")),
    ]


@dataclass(frozen=True, slots=True)
class _State:
    """Between two blocks: one row per group of frames, its class tokens first."""

    x: Tensor  # (B * groups, n, C)
    mass: Tensor  # (B * groups, n)
    fixed: int  # class tokens of a group
    groups: int  # of one video


def _encoder(case: Case) -> list[Difference]:
    params = case.meta["params"]
    x = case.tensor("x0")
    state = _State(x, torch.ones_like(x[..., 0]), 1, int(params["frames"]))
    found: list[Difference] = []
    schedule: list[tuple[int, int, int]] = []
    for number in range(int(params["layers"])):
        state, done = _block(case, number, state)
        schedule.append(done)
        at = f"block{number}_"
        shape = (state.fixed, state.groups, state.x.shape[1])
        found += [
            hidden(f"{at}tokens", state.x, case.tensor(f"{at}tokens")),
            tokens(f"{at}size", state.mass, case.tensor(f"{at}size")),
            indices(f"{at}cls_frames_tokens", shape, case.arrays[f"{at}cls_frames_tokens"]),
        ]
    name = "schedule_framegroup_rcross_rintra"
    return [
        *found,
        indices(name, schedule, case.arrays[name]),
        hidden("video_feature", _feature(case, state), case.tensor("video_feature")),
    ]


def _block(case: Case, number: int, state: _State) -> tuple[_State, tuple[int, int, int]]:
    """One block, and (frames joined before it, rows merged across them, rows merged after its attention)."""
    params, sd = case.meta["params"], _weights(case, number)
    layers = list(params["merge_layer"])
    group = int(params["merge_frame_num"][layers.index(number)]) if number in layers else 1
    across_share, within_share = params["merge_token_proportion"]
    across = 0  # a block that joins nothing merges across nothing
    if number in layers:
        frame_places = sd["TVPt_Video_Positional_embedding"] if int(params["frame_pos"]) else None
        state, across = _join(state, group, across_share, frame_places)
    attended, keys = _attention(state, sd, int(params["heads"]))
    x, count = state.x + attended, state.x.shape[1]
    within = removed(count, within_share, state.fixed)
    if number < min(layers, default=number + 1):
        within = min(int(params["tome_r"]), at_most(count, state.fixed))
    x, mass = match(keys, within, fixed=state.fixed, order="sides").merge(x, state.mass)
    inner = linear(_norm(x, sd, "ln_2"), sd["mlp.c_fc.weight"], sd["mlp.c_fc.bias"])
    x = x + linear(inner * (1.702 * inner).sigmoid(), sd["mlp.c_proj.weight"], sd["mlp.c_proj.bias"])
    return _State(x, mass, state.fixed, state.groups), (group, across, within)


def _join(state: _State, group: int, share: float, frame_places: Tensor | None) -> tuple[_State, int]:
    """Neighbouring groups of frames as one, with the rows that are alike across them merged."""
    x, fixed, groups = state.x, state.fixed * group, state.groups // group
    joined, mass = _side_by_side(x, group, state.fixed), _side_by_side(state.mass[..., None], group, state.fixed)
    across = removed(joined.shape[1], share, fixed)
    matching = match(joined, across, fixed=fixed, order="sides")
    if frame_places is not None and across:
        placed = x.view(-1, state.groups, *x.shape[1:]) + frame_places
        joined = _side_by_side(placed.view_as(x), group, state.fixed)
    merged, heavier = matching.merge(joined, mass[..., 0])
    return _State(merged, heavier, fixed, groups), across


def _side_by_side(x: Tensor, group: int, fixed: int) -> Tensor:
    """(B * groups, n, C) to (B * groups / group, group * n, C): all class tokens, then the patches frame by frame."""
    parts = x.view(-1, group, *x.shape[1:])
    return torch.cat([parts[:, :, :fixed].flatten(1, 2), parts[:, :, fixed:].flatten(1, 2)], dim=1)


def _attention(state: _State, sd: dict[str, Tensor], heads: int) -> tuple[Tensor, Tensor]:
    """(B, n, C) after attention, and the (B, n, C / heads) mean of the keys over heads."""
    x = _norm(state.x, sd, "ln_1")
    low_rank = linear(linear(x, sd["attn.TVPt_LoRA_a"]), sd["attn.TVPt_LoRA_b"])
    fused = linear(x, sd["attn.in_proj_weight"], sd["attn.in_proj_bias"]) + low_rank
    q, k, v = fused.view(*x.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
    seen = scaled_dot_product_attention(q, k, v, attn_mask=state.mass.log()[:, None, None]).transpose(1, 2).flatten(2)
    return linear(seen, sd["attn.out_proj.weight"], sd["attn.out_proj.bias"]), k.mean(1)


def _feature(case: Case, state: _State) -> Tensor:
    """(B, E): the mean of a video's class tokens after the last norm and projection, each of unit length."""
    sd = {name.removeprefix("sd."): case.tensor(name) for name in case.arrays if name.startswith("sd.ln_post")}
    seen = normalize(_norm(state.x[:, : state.fixed], sd, "ln_post") @ case.tensor("sd.proj"), dim=2)
    return seen.view(int(case.meta["params"]["batch"]), -1, seen.shape[2]).mean(1)


def _norm(x: Tensor, sd: dict[str, Tensor], name: str) -> Tensor:
    return layer_norm(x, x.shape[-1:], sd[f"{name}.weight"], sd[f"{name}.bias"])


def _weights(case: Case, number: int) -> dict[str, Tensor]:
    at = f"sd.transformer.resblocks.{number}."
    return {name.removeprefix(at): case.tensor(name) for name in case.arrays if name.startswith(at)}
