"""LLaVA-PruMerge: attention of the class token, outliers, kept patches and their order, neighbours, rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.parity.case import Difference, indices, tokens
from models.reducers import prumerge_published as published

if TYPE_CHECKING:
    from bench.parity.case import Case


def check(case: Case) -> list[Difference]:
    """All that a case offers. Raises ValueError for a kind that we do not know."""
    params = case.meta.get("params", {})
    kind = params.get("kind")
    if kind not in {"prune_merge", "plus"}:
        raise ValueError(f"{case.name}: LLaVA-PruMerge has no kind {kind!r} to compare.")
    embeds, keys = case.tensor("hidden_states")[:, 1:], case.tensor("key_layer23")
    attention = published.class_attention(case.tensor("query_layer23"), keys)
    patches, found = embeds.shape[1], []
    ratio = float(params["reduction_ratio"])
    if params["adaptive"]:
        outliers = published.outlier_ratio(attention)
        found = [tokens("share of outliers", [outliers], [ratio])]
        found.append(indices("how many outliers", [round(outliers * attention.numel())], [params["n_outliers"]]))
        ratio = outliers
    kept = published.most_attended(attention, ratio)
    found.append(indices("most attended", [kept.shape[1]], [params["n_topk"]]))
    if kind == "plus":
        kept = published.plus(kept, ratio, patches)
    near = published.neighbours_of(keys[:, 1:], kept, int(params["neighbours"]))
    if "neighbour_index" in case.arrays:
        found.append(indices("neighbours, nearest first", near, case.tensor("neighbour_index")))
    return [
        *found,
        tokens("attention of the class token", attention, case.tensor("cls_attention_f64")),
        indices("kept, in order", kept, case.tensor("kept_index")),
        indices("how many are kept", [kept.shape[1]], [params["n_kept_total"]]),
        tokens("rows", published.rows_of(embeds, attention, kept, near), case.tensor("output")),
    ]
