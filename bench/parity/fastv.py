"""FastV: `models/inner/fastv.py` beside pkunlp-icler/FastV, inside the tiny Llama of its cases.

What its three forms do with rows that are not kept is of the published code; which are kept is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.parity.case import Difference, hidden, indices
from bench.parity.llama import llama_of
from models.inner.fastv import FastV
from models.inner.method import most_attended

if TYPE_CHECKING:
    from torch import Tensor

    from bench.parity.case import Case
    from bench.parity.llama import Llama


def check(case: Case) -> list[Difference]:
    """Every array of a case. Raises ValueError for a kind of case that is not known."""
    kinds = {"hf_token_drop": _dropped, "original_inplace": _dropped, "original_mask": _masked}
    kind = case.meta["params"].get("kind")
    if kind not in kinds:
        raise ValueError(f"fastv/{case.name} is of kind {kind!r}; known are {', '.join(kinds)}.")
    return kinds[kind](case)


def _dropped(case: Case) -> list[Difference]:
    """Rows leave the sequence, and the cache of deeper layers holds only those that stay."""
    model, first = llama_of(case), int(case.meta["params"]["K"])
    rows = case.tensor("inputs_embeds")[0]
    positions = torch.arange(len(rows))
    before, attention = _through(model, rows, positions, range(first))
    kept = _kept(case, attention[:, -1])
    after, _ = _through(model, before[kept], positions[kept], range(first, model.layers))
    found = [*_chosen(case, attention, kept), hidden("last_hidden_state", model.last(after), _last(case))]
    if "hidden_before" in case.arrays:
        found.append(hidden("hidden_before", before, case.tensor("hidden_before")))
        found.append(hidden("hidden_after", before[kept], case.tensor("hidden_after")))
    if "num_keep" in case.meta["params"]:
        found.append(indices("num_keep", _count(case), case.meta["params"]["num_keep"]))
    return found + (_said(case, model) if "decode_inputs" in case.arrays else [])


def _said(case: Case, model: Llama) -> list[Difference]:
    """Words after it read the cache as it was left."""
    lengths = model.lengths()
    outputs = []
    positions = len(case.tensor("inputs_embeds")[0]) + torch.arange(len(case.tensor("decode_inputs")))
    for row, position in zip(case.tensor("decode_inputs"), positions, strict=True):
        said, _ = _through(model, row[None], position[None], range(model.layers))
        outputs.append(model.last(said)[0])
    prefill, decode = (f"cache_length_per_layer_after_{name}" for name in ("prefill", "decode"))
    return [
        indices(prefill, lengths, case.tensor(prefill)),
        indices("decode_position_ids", positions, case.tensor("decode_position_ids")),
        hidden("decode_outputs", torch.stack(outputs), case.tensor("decode_outputs")),
        indices(decode, model.lengths(), case.tensor(decode)),
    ]


def _masked(case: Case) -> list[Difference]:
    """All rows go on; deeper layers do not see those that are not kept, and every word ranks again."""
    model, first = llama_of(case), int(case.meta["params"]["K"])
    rows = case.tensor("inputs_embeds")[0]
    before, attention = _through(model, rows, torch.arange(len(rows)), range(first))
    kept = _kept(case, attention[:, -1])
    after, _ = _through(model, before, torch.arange(len(rows)), range(first, model.layers), kept)
    sees = torch.arange(len(rows)) >= kept[0]  # what a row makes of no key at all is nobody's method
    found = [
        *_chosen(case, attention, kept),
        hidden("last_hidden_state", model.last(after)[sees], _last(case)[sees]),
        indices("row_has_a_visible_key", sees, case.tensor("row_has_a_visible_key")),
    ]
    outputs = []
    for step, row in enumerate(case.tensor("decode_inputs")):
        position = torch.tensor([len(rows) + step])
        said, attention = _through(model, row[None], position, range(first))
        kept = _kept(case, attention[:, -1])
        said, _ = _through(model, said, position, range(first, model.layers), kept)
        outputs.append(model.last(said)[0])
        found.append(indices(name := f"decode_step{step}_visible_index", kept, case.tensor(name)))
    return [*found, hidden("decode_outputs", torch.stack(outputs), case.tensor("decode_outputs"))]


def _through(
    model: Llama, rows: Tensor, positions: Tensor, layers: range, kept: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Some layers, one after the other, looking at `kept` keys only; the attention of the last of them."""
    attention = rows.new_zeros(0)
    for index in layers:
        total = len(rows) + (model.keys[index].shape[1] if index in model.keys else 0)
        visible = None if kept is None else torch.zeros(total, dtype=torch.bool).index_fill(0, kept, value=True)
        rows, attention = model.layer(index, rows, positions, visible)
    return rows, attention


def _kept(case: Case, last: Tensor) -> Tensor:
    """All that is not of the image, and what is chosen of it, from the last row's attention (heads, N)."""
    params = case.meta["params"]
    start, end = params["image_start"], params["image_start"] + params["image_length"]
    chosen = start + most_attended(last.mean(0)[start:end], _count(case))
    return torch.cat([torch.arange(start), chosen, torch.arange(end, last.shape[1])])


def _count(case: Case) -> int:
    params = case.meta["params"]
    return (
        int(params["attention_rank"]) if "attention_rank" in params else FastV(params["R"]).most(params["image_length"])
    )


def _chosen(case: Case, attention: Tensor, kept: Tensor) -> list[Difference]:
    last = attention[:, -1]
    start, length = (case.meta["params"][name] for name in ("image_start", "image_length"))
    ranked = start + last.mean(0)[start : start + length].argsort(descending=True, stable=True)[: _count(case)]
    return [
        hidden("last_query_attention_per_head", last, case.tensor("last_query_attention_per_head")),
        indices("top_index_by_attention", ranked, case.tensor("top_index_by_attention")),
        indices("keep_index", kept, case.tensor("keep_index")),
    ]


def _last(case: Case) -> Tensor:
    return case.tensor("last_hidden_state")
