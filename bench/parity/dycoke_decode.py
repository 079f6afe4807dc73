"""DyCoke's pruning while an answer is said: `models/inner/dycoke.py` beside KD-TAO/DyCoke."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.parity.case import Difference, indices, tokens
from models.inner.dycoke import Choice, DyCoke

if TYPE_CHECKING:
    from torch import Tensor

    from bench.parity.case import Case

KINDS = ("decode_kv_pruning",)


def check(case: Case) -> list[Difference]:
    """Every array of a case. Raises ValueError for a kind of case that is not known."""
    params = case.meta["params"]
    if params.get("kind") not in KINDS:
        raise ValueError(f"dycoke/{case.name} is of kind {params.get('kind')!r}; known are {', '.join(KINDS)}.")
    method = DyCoke(params["dycoke_p"], params["similarity_threshold"], as_published=True)
    choice = Choice(method)
    start, end = params["image_token_start_index"], params["image_token_start_index"] + params["image_token_length"]
    found = [indices("num_keep", method.most(end - start), params["num_keep"])]
    similarity, pruned = [], []
    for step in range(params["steps"]):
        attention = case.tensor(f"step{step}_attention").mean(0)
        rows = choice.step(attention[start:end])
        similarity.append(choice.similarity)
        pruned.append(rows is not None)
        visible = torch.arange(len(attention))
        if rows is not None:
            visible = torch.cat([visible[:start], start + rows, visible[end:]])
        found += _step(case, f"step{step}_", visible, len(attention))
    return [
        *found,
        tokens("similarity_to_previous_step", torch.tensor(similarity), case.tensor("similarity_to_previous_step")),
        indices("pruned_this_step", pruned, case.arrays["pruned_this_step"]),
    ]


def _step(case: Case, at: str, visible: Tensor, length: int) -> list[Difference]:
    found = [indices(f"{at}visible_length", len(visible), case.arrays[f"{at}visible_length"])]
    published = case.arrays.get(f"{at}keep_index_reference_order")
    if published is not None:
        found.append(indices(f"{at}keep_index_reference_order as a set", visible, sorted(published)))
        found.append(indices(f"{at}keep_index_sorted", visible, case.tensor(f"{at}keep_index_sorted")))
    elif len(visible) != length:
        found.append(Difference(f"{at}keep_index_reference_order", float("inf"), 0.0))
    return found
