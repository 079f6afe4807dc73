"""HoliTom's merging inside the language model: `models/inner/holitom.py` beside cokeshao/HoliTom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.parity.case import Difference, hidden, indices
from models.inner.holitom import HoliTom, fold, nearest_kept, others

if TYPE_CHECKING:
    from bench.parity.case import Case

KINDS = ("inner_llm_merge",)


def check(case: Case) -> list[Difference]:
    """Every array of a case. Raises ValueError for a kind of case that is not known."""
    params = case.meta["params"]
    if params.get("kind") not in KINDS:
        raise ValueError(f"holitom/{case.name} is of kind {params.get('kind')!r}; known are {', '.join(KINDS)}.")
    start, end = params["image_start"], params["image_start"] + params["image_length"]
    rows, attention = case.tensor("hidden_before"), case.tensor("last_query_attention_per_head")
    method = HoliTom(params["r"])
    noticed = attention.mean(0)[None, start:end]
    kept = method.keep(noticed, end - start)
    gone = others(end - start, kept)
    into = nearest_kept(rows[start:end], kept, gone)
    folded = fold(rows[start:end], kept, gone, into, as_published=True)
    positions = torch.cat([torch.arange(start), start + kept, torch.arange(end, len(rows))])
    ranked = start + noticed[0].argsort(descending=True, stable=True)[: len(kept)]
    return [
        indices("num_keep", len(kept), params["num_keep"]),
        indices("keep_index", positions, case.tensor("keep_index")),
        indices("top_index_by_attention", ranked, case.tensor("top_index_by_attention")),
        indices("merged_source_index", start + gone, case.tensor("merged_source_index")),
        indices("merged_into_index", start + kept[into], case.tensor("merged_into_index")),
        hidden("hidden_after", torch.cat([rows[:start], folded, rows[end:]]), case.tensor("hidden_after")),
        indices("position_ids_after", positions, case.tensor("position_ids_after")),
    ]
