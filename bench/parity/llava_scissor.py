"""LLaVA-Scissor: components with the nodes that the released code loses, both steps, and the last assignment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.parity.case import Difference, indices, tokens
from models.reducers import scissor
from models.reducers import scissor_components as graph

if TYPE_CHECKING:
    from torch import Tensor

    from bench.parity.case import Case


def check(case: Case) -> list[Difference]:
    """All that a case offers. Raises ValueError for a kind that we do not know."""
    kinds = {"components": _components, "two_step": _two_step}
    kind = case.meta.get("params", {}).get("kind")
    if kind not in kinds:
        raise ValueError(f"{case.name}: LLaVA-Scissor has no kind {kind!r} to compare.")
    return kinds[kind](case)


def _components(case: Case) -> list[Difference]:
    params, adjacent, nodes = case.meta["params"], case.tensor("adjacency").bool(), case.tensor("sampled_nodes")
    degrees = adjacent.sum(1)
    theirs = graph.by_hub(graph.as_published(adjacent, nodes), degrees)
    start, to = adjacent[nodes].nonzero(as_tuple=True)
    ours = graph.by_hub(graph.components(len(adjacent), torch.stack([nodes[start], to])), degrees)
    size = graph.sample_size(len(adjacent), float(params["epsilon"]))
    return [
        indices("nodes sampled", [size], [params["sample_size"]]),
        indices("degree", degrees, case.tensor("degree")),
        indices("component as published", theirs, case.tensor("component_id")),
        indices("how many components", [int(theirs.max()) + 1], [int(case.arrays["n_components"])]),
        indices("nodes lost as published", (theirs < 0).nonzero()[:, 0], case.tensor("nodes_in_no_component")),
        indices("component, repaired", ours, case.tensor("true_component_id")),
    ]


def _two_step(case: Case) -> list[Difference]:
    params, embeds = case.meta["params"], case.tensor("tokens")
    nodes = [*case.tensor("sampled_nodes_per_frame"), case.tensor("sampled_nodes_stage2")]
    drawn = iter(nodes)
    tau, epsilon = float(params["tau"]), float(params["epsilon"])

    def connect(units: Tensor) -> Tensor:
        return torch.stack([scissor.linked_as_published(some, tau, next(drawn)) for some in units])

    found = scissor.two_steps(embeds, connect)
    owners, rows = scissor.assign(embeds.flatten(0, 1), found.second)
    sizes = [graph.sample_size(n, epsilon) for n in (*[embeds.shape[1]] * len(embeds), len(found.first))]
    compared = [
        indices("nodes sampled", sizes, [len(some) for some in nodes]),
        indices("components of frames", found.within, case.tensor("stage1_component_id")),
        indices("components per frame", found.within.amax(1) + 1, case.tensor("stage1_components_per_frame")),
        tokens("means of frames", found.first, case.tensor("stage1_representatives")),
        indices("components over all", found.across, case.tensor("stage2_component_id")),
        tokens("means over all", found.second, case.tensor("stage2_representatives")),
        indices("assignment", owners.view(embeds.shape[:2]), case.tensor("assignment")),
        indices("tokens assigned", torch.bincount(owners, minlength=len(rows)), case.tensor("assignment_counts")),
        tokens("rows", rows, case.tensor("output")),
    ]
    whole = sizes[0] == embeds.shape[1] and sizes[-1] == len(found.first)
    lost = int(found.within.min()) < 0 or int(found.across.min()) < 0
    return compared + (_repaired(embeds, tau, epsilon, case.tensor("output")) if whole and not lost else [])


def _repaired(embeds: Tensor, tau: float, epsilon: float, output: Tensor) -> list[Difference]:
    """Where the released code lost no node and drew all, the repaired form has the same rows in another order."""

    def connect(units: Tensor) -> Tensor:
        return scissor.connected(units, tau, epsilon, seed=0)

    found = scissor.two_steps(embeds, connect)
    _, rows = scissor.assign(embeds.flatten(0, 1), found.second)
    if len(rows) != len(output):
        return [tokens("rows, repaired", rows, output)]
    return [tokens("rows, repaired", rows[torch.cdist(output, rows).argmin(1)], output)]
