"""MustDrop's vision stage and its clustering helper; the stages in the language model are in `mustdrop_inner.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.parity.case import Difference, indices, tokens
from models.reducers import density_peaks
from models.reducers.clip import Clip
from models.reducers.mustdrop import MustDrop, key_set, window_cells, window_likeness

if TYPE_CHECKING:
    from bench.parity.case import Case
    from models.reducers.clip import Reduced


def check(case: Case) -> list[Difference]:
    """All that a case offers. Raises ValueError for a kind that we do not know."""
    kind = case.meta.get("params", {}).get("kind")
    if kind in {"dual_filter", "llm_stages"}:
        from bench.parity import mustdrop_inner

        return mustdrop_inner.check(case)
    kinds = {"window_merge": _windows, "vision_stage": _vision_stage, "density_peak_utility": _density_peaks}
    if kind not in kinds:
        raise ValueError(f"{case.name}: MustDrop has no kind {kind!r} to compare.")
    return kinds[kind](case)


def _windows(case: Case) -> list[Difference]:
    given = case.tensor("tokens")
    grid, window = (int(case.meta["params"][name]) for name in ("grid", "window"))
    found, batch = _merged(case, given), len(given)
    sizes, cells = found.mass.view(batch, -1), window_cells((grid, grid), window)
    places = (found.sources % grid**2).view(batch, -1)
    many = int((sizes[0] > 1).sum())
    likeness = window_likeness(given[:, 1:].double(), cells)
    return [
        tokens("likeness within windows", likeness, case.tensor("window_similarity_f64")),
        indices("how many windows are merged", [many], [case.meta["params"]["n_merged_windows"]]),
        indices(
            "merged windows, in order", cells[places[:, :many]], case.tensor("merged_window_index_in_output_order")
        ),
        indices("patches untouched", places[:, many:], case.tensor("untouched_patch_index")),
        indices("size of rows", torch.cat([torch.ones(batch, 1), sizes], 1), case.tensor("output_size")),
        tokens("rows", _with_class(given, found), case.tensor("output")),
    ]


def _vision_stage(case: Case) -> list[Difference]:
    """What goes into layer 1 from what came out of layer 0, and the key set from the last layer's attention.

    The tower's weights are not in the case, so that the layers between are not ours to compute.
    """
    params, given = case.meta["params"], case.tensor("tokens_after_layer0")
    found = _merged(case, given)
    keys = key_set(case.tensor("cls_attention_per_head_last_layer").mean(1)[:, 1:], float(params["keep_rate"]))
    many = int((found.mass.view(len(given), -1)[0] > 1).sum())
    return [
        indices("how many windows are merged", [many], [params["n_merged_windows"]]),
        tokens("tokens into layer 1", _with_class(given, found), case.tensor("tokens_into_layer1")),
        indices("size of the key set", [keys.shape[1]], [params["n_key"]]),
        indices("key set, in order", keys, case.tensor("key_set_index")),
    ]


def _density_peaks(case: Case) -> list[Difference]:
    """As many neighbours as centres; sums are divided by a count a millionth too large."""
    given, count = case.tensor("tokens"), int(case.meta["params"]["cluster_num"])
    far = density_peaks.distances(given)
    centres = density_peaks.peaks(far, count).centres(count)
    labels = density_peaks.nearest_centre(far, centres)
    sizes = torch.stack([torch.bincount(one, minlength=count) for one in labels])[..., None]
    means = density_peaks.merge(given, centres, labels, beta=None)
    return [
        indices("centres, by score", centres, case.tensor("centre_index_by_score")),
        indices("assignment", labels, case.tensor("assignment")),
        tokens("merged", means * sizes / (sizes + 1e-6), case.tensor("merged")),
    ]


def _merged(case: Case, given: torch.Tensor) -> Reduced:
    """Patches (B, 1 + N, D) without the class token as the frames of a clip; room for all of them."""
    params, patches = case.meta["params"], given[:, 1:]
    grid = int(params["grid"])
    clip = Clip(patches, (grid, grid), torch.arange(float(len(patches))))
    reducer = MustDrop(int(params["window"]), float(params["threshold"]), as_published=True)
    return reducer.reduce(clip, len(clip.flat))


def _with_class(given: torch.Tensor, found: Reduced) -> torch.Tensor:
    return torch.cat([given[:, :1], found.embeds.view(len(given), -1, given.shape[2])], 1)
