"""ToMe: `models/reducers/matching.py` beside facebookresearch/ToMe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch

from bench.parity.case import Difference, indices, tokens
from models.reducers.matching import Matching, at_most, match, match_every, removals

if TYPE_CHECKING:
    from torch import Tensor

    from bench.parity.case import Case


def check(case: Case) -> list[Difference]:
    """Every array of a case. Raises ValueError for a kind of case that is not known."""
    kinds = {"bipartite": _rounds, "kth_bipartite": _every, "schedule": _schedules}
    kind = case.meta["params"].get("kind")
    if kind not in kinds:
        raise ValueError(f"tome/{case.name} is of kind {kind!r}; known are {', '.join(kinds)}.")
    return kinds[kind](case)


def _rounds(case: Case) -> list[Difference]:
    params = case.meta["params"]
    if params["distill_token"] and not params["class_token"]:
        raise ValueError(f"tome/{case.name} has a distillation token without a class token; there is no such model.")
    fixed = int(params["class_token"]) + int(params["distill_token"])
    x, metric = case.tensor("x"), case.tensor("metric")
    mass = _mass(case, x)
    batch, count = x.shape[:2]
    rows = torch.arange(count).expand(batch, count)
    found: list[Difference] = []
    for number, r in enumerate(params["r_per_round"]):
        r_now = min(r, at_most(x.shape[1], fixed))
        matching = match(metric, r_now, fixed=fixed, order="sides" if fixed else "alike")
        plain, _ = matching.merge(x, torch.ones_like(mass))
        x, mass = matching.merge(x, mass)
        rows = matching.owners.gather(1, rows)
        found += _round(case, f"round{number}_", matching, x, mass, plain)
        metric = x
    belongs = rows[:, None] == torch.arange(x.shape[1])[:, None]
    return [*found, indices("source", belongs, case.tensor("source"))]


def _round(case: Case, at: str, matching: Matching, x: Tensor, mass: Tensor, plain: Tensor) -> list[Difference]:
    goes = matching.stay % 2 == 0  # those that could have gone; the same number in each row of the batch
    found = [
        indices(f"{at}src_idx", matching.sources, case.tensor(f"{at}src_idx")),
        indices(f"{at}dst_idx", matching.receivers, case.tensor(f"{at}dst_idx")),
        indices(f"{at}unm_idx", matching.stay[goes].view(len(x), -1), case.tensor(f"{at}unm_idx")),
        tokens(f"{at}x", x, case.tensor(f"{at}x")),
        tokens(f"{at}size", mass[..., None], case.tensor(f"{at}size")),
        tokens(f"{at}mean_mode_x", plain, case.tensor(f"{at}mean_mode_x")),
    ]
    if f"{at}unmerged_x" in case.arrays:
        found.append(tokens(f"{at}unmerged_x", matching.spread(x), case.tensor(f"{at}unmerged_x")))
    return found


def _every(case: Case) -> list[Difference]:
    matching = match_every(case.tensor("metric"), int(case.meta["params"]["k"]), as_published=True)
    x = case.tensor("x")[:, : matching.owners.shape[1]]
    merged, mass = matching.merge(x, _mass(case, x))
    groups = matching.owners.gather(1, matching.sources)
    return [
        indices("dst_group_of_each_source", groups, case.tensor("dst_group_of_each_source")),
        tokens("merged_x", merged, case.tensor("merged_x")),
        tokens("merged_size", mass[..., None], case.tensor("merged_size")),
    ]


def _mass(case: Case, x: Tensor) -> Tensor:
    return case.tensor("size_in")[:, : x.shape[1], 0] if "size_in" in case.arrays else torch.ones_like(x[..., 0])


def _schedules(case: Case) -> list[Difference]:
    found = []
    for name in sorted(name for name in case.arrays if name.endswith("_r_json")):
        spec = name.removesuffix("_r_json")
        r, layers = json.loads(str(case.arrays[name])), int(case.arrays[f"{spec}_num_layers"])
        tilted = bool(case.arrays[f"{spec}_r_is_pair"])
        ours = removals(r[0], layers, r[1]) if tilted else removals(r, layers)
        found.append(indices(f"{spec}_r_per_layer", ours, case.arrays[f"{spec}_r_per_layer"]))
    return found
