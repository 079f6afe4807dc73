"""MustDrop's stages inside the language model: `models/inner/mustdrop.py` beside liuting20/MustDrop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.parity.case import Difference, hidden, indices
from bench.parity.llama import llama_of
from models.inner.mustdrop import MustDrop, dual_filter, stage

if TYPE_CHECKING:
    from torch import Tensor

    from bench.parity.case import Case

KINDS = ("dual_filter", "llm_stages")


def check(case: Case) -> list[Difference]:
    """Every array of a case. Raises ValueError for a kind of case that is not known."""
    kind = case.meta["params"].get("kind")
    if kind not in KINDS:
        raise ValueError(f"mustdrop/{case.name} is of kind {kind!r}; known are {', '.join(KINDS)}.")
    return _filter(case) if kind == "dual_filter" else _stages(case)


def _filter(case: Case) -> list[Difference]:
    params = case.meta["params"]
    attention = case.tensor("attention_text_to_image").mean(0)
    kept = dual_filter(attention, params["global_thr"], params["individual_thr"])
    return [indices("kept_index", kept, case.tensor("kept_index"))]


def _stages(case: Case) -> list[Difference]:
    """All stages; after the last, layers from the first stage on hold only what is left."""
    params, model = case.meta["params"], llama_of(case, shared=True)
    start, words = params["image_start"], params["text_length"]
    rows = case.tensor("inputs_embeds")[0]
    image = torch.arange(params["image_length"])  # of each row that is left, where it was
    stages = MustDrop().after(model.layers)
    held: dict[int, Tensor] = {}  # image rows in the cache, by layer
    found: list[Difference] = []
    left: list[int] = []
    for index in range(model.layers):
        held[index] = image
        rows, attention = model.layer(index, rows, torch.arange(len(rows)))
        if index in stages:
            noticed = attention.mean(0)[-words:, start : start + len(image)]
            kept, compared = _stage(case, len(left), noticed, image)
            found += compared
            image = image[kept]
            rows = torch.cat([rows[:start], rows[start : start + len(noticed[0])][kept], rows[-words:]])
            left.append(len(image))
    for index in range(stages[0], model.layers):
        stay = start + torch.isin(held[index], image).nonzero()[:, 0]
        words_at = torch.arange(words) + start + len(held[index])
        model.cut(index, torch.cat([torch.arange(start), stay, words_at]))
    return [
        *found,
        indices("image_tokens_after_each_stage", left, case.tensor("image_tokens_after_each_stage")),
        indices("cache_length_per_layer", model.lengths(), case.tensor("cache_length_per_layer")),
        hidden("last_hidden_state", model.last(rows), case.tensor("last_hidden_state")),
    ]


def _stage(case: Case, number: int, noticed: Tensor, image: Tensor) -> tuple[Tensor, list[Difference]]:
    """Places that stay, and what one stage's arrays say."""
    params, at = case.meta["params"], f"stage{number}_"
    thresholds = params["global_thr"], params["individual_thr"]
    keys = torch.isin(image, case.tensor("key_set")).nonzero()[:, 0]
    kept = stage(noticed, *thresholds, keys)
    of_key = torch.isin(image[kept], case.tensor("key_set")).nonzero()[:, 0]
    return kept, [
        hidden(f"{at}attention_text_to_image", noticed, case.tensor(f"{at}attention_text_to_image")),
        indices(f"{at}filter_kept", dual_filter(noticed, *thresholds), case.tensor(f"{at}filter_kept")),
        indices(f"{at}kept", kept, case.tensor(f"{at}kept")),
        indices(f"{at}key_positions", of_key, case.tensor(f"{at}key_positions")),
        indices(f"{at}kept_original_index", image[kept], case.tensor(f"{at}kept_original_index")),
    ]
