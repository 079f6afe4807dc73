"""DyCoke: which tokens the temporal stage keeps, in the released order; the decoding stage is in `dycoke_decode.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cosine_similarity

from bench.parity.case import Difference, indices, tokens
from models.reducers import dycoke_published as published

if TYPE_CHECKING:
    from torch import Tensor

    from bench.parity.case import Case


def check(case: Case) -> list[Difference]:
    """All that a case offers. Raises ValueError for a kind that we do not know."""
    kind = case.meta.get("params", {}).get("kind")
    if kind == "decode_kv_pruning":
        from bench.parity import dycoke_decode

        return dycoke_decode.check(case)
    if kind != "temporal_token_merging":
        raise ValueError(f"{case.name}: DyCoke has no kind {kind!r} to compare.")
    return _temporal(case)


def _temporal(case: Case) -> list[Difference]:
    params, embeds = case.meta["params"], case.tensor("tokens")
    frames, cells = embeds.shape[:2]
    keep = published.keep_count(float(params["merging_ratio"]), cells)
    sources = published.as_published(embeds, keep)
    against = published.thinned_frames(frames)
    pairs = {frame: first for frame, first in against.items() if frame % 2}
    fours = {frame: first for frame, first in against.items() if not frame % 2}
    return [
        indices("tokens kept of a thinned frame", [keep], [params["keep_n"]]),
        indices("kept, in order", sources, case.tensor("kept_flat_index")),
        indices(
            "kept of each frame", torch.bincount(sources // cells, minlength=frames), case.tensor("kept_per_frame")
        ),
        tokens("kept tokens", embeds.flatten(0, 1)[sources], case.tensor("output_tokens")),
        tokens("similarity within pairs", _alike(embeds, pairs), case.tensor("pair_similarity_f64")),
        tokens("similarity within fours", _alike(embeds, fours), case.tensor("group_similarity_f64")),
    ]


def _alike(embeds: Tensor, against: dict[int, int]) -> Tensor:
    exact, order = embeds.double(), sorted(against)
    return cosine_similarity(exact[[against[frame] for frame in order]], exact[order], dim=2)
