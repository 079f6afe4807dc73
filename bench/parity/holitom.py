"""HoliTom outside the language model: `models/reducers/holitom.py` beside cokeshao/HoliTom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.parity.case import Difference, indices, tokens
from models.reducers import density_peaks
from models.reducers.clip import Clip
from models.reducers.holitom import HoliTom
from models.reducers.holitom_parts import retained
from models.reducers.segmentation import Stretch, best_stretches, likeness, stretches

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from bench.parity.case import Case

    Packed = tuple[Tensor, NDArray[np.int64]]  # rows (R, D) and tags (R, 4)

INNER = "inner_llm_merge"
NEWLINES = ("one_token", "grid")


def check(case: Case) -> list[Difference]:
    """Every array of a case. Raises ValueError for a kind of case that is not known."""
    kinds = {"segmentation_only": _segmentation, "density_peak_merge": _peaks, "outer": _outer, INNER: _inner}
    kind = case.meta["params"].get("kind")
    if kind not in kinds:
        raise ValueError(f"holitom/{case.name} is of kind {kind!r}; known are {', '.join(kinds)}.")
    return kinds[kind](case)


def _inner(case: Case) -> list[Difference]:
    from bench.parity import holitom_inner  # only these cases need what it needs

    return holitom_inner.check(case)


def _segmentation(case: Case) -> list[Difference]:
    alike = case.tensor("feature_similarity")
    return _stretches(case, alike > float(case.meta["params"]["tau"]))


def _stretches(case: Case, still: Tensor) -> list[Difference]:
    """All at once, and frame after frame."""
    longest = int(case.meta["params"]["max_window_size"])
    found = best_stretches(still, longest)
    each = stretches(still, len(still) + 1, longest)
    return [
        indices("segments", _bounds(found), case.tensor("segments")),
        indices("segments, frame after frame", _bounds(each), case.tensor("segments")),
        indices("total_reduced", sum(one.saved for one in found), case.arrays["total_reduced"]),
    ]


def _peaks(case: Case) -> list[Difference]:
    params, x = case.meta["params"], case.tensor("tokens")
    far = density_peaks.distances(x)
    found = density_peaks.peaks(far, min(int(params["K"]), int(params["cluster_num"])))
    centres = found.centres(int(params["cluster_num"]))
    ordered = centres.sort(1).values
    merged = density_peaks.merge(x, ordered, density_peaks.nearest_centre(far, ordered), _beta(case))
    return [
        indices("centre_index_by_score", centres, case.tensor("centre_index_by_score")),
        indices("centre_index_sorted", ordered, case.tensor("centre_index_sorted")),
        tokens("density_f64", found.density.exp(), case.tensor("density_f64")),
        tokens("delta_f64", found.delta, case.tensor("delta_f64")),
        tokens("score_f64", found.score.exp(), case.tensor("score_f64")),
        tokens("merged", merged, case.tensor("merged")),
    ]


def _outer(case: Case) -> list[Difference]:
    params, x = case.meta["params"], case.tensor("tokens")
    if params["newline_position"] not in NEWLINES:
        raise ValueError(f"holitom/{case.name} packs {params['newline_position']!r}; known are {', '.join(NEWLINES)}.")
    side, ratio = int(params["grid"]), float(params["retain_ratio"])
    clip = Clip(x, (x.shape[1] // side, side), torch.arange(len(x)).float(), saliency=case.tensor("attention"))
    alike = likeness(x)
    still = alike > float(params["tau"])
    found = best_stretches(still, int(params["max_window_size"]))
    method = HoliTom(
        tau=float(params["tau"]),
        clustered=float(params["D"]),
        neighbours=int(params["K"]),
        beta=_beta(case),
        longest=int(params["max_window_size"]),
        as_published=True,
    )
    rows, tags = _packed(case, method, clip, found)
    name = "output_tag_segstart_segend_frame_position"
    newlines = "output_is_newline"
    found_newlines = [indices(newlines, tags[:, 3] < 0, case.tensor(newlines))] if newlines in case.arrays else []
    return [
        tokens("feature_similarity_f64", alike, case.tensor("feature_similarity_f64")),
        *_stretches(case, still),
        indices(
            "static_positions_per_segment",
            [int(one.static.sum()) for one in found],
            case.tensor("static_positions_per_segment"),
        ),
        tokens(
            "adjusted_retain_ratio",
            retained(ratio, x.shape[0] * x.shape[1], sum(one.saved for one in found)),
            case.arrays["adjusted_retain_ratio"],
        ),
        tokens("output", rows, case.tensor("output")),
        indices(name, tags, case.tensor(name)),
        *found_newlines,
    ]


def _packed(case: Case, method: HoliTom, clip: Clip, found: list[Stretch]) -> Packed:
    """Rows as published, each with the stretch and frame (-1 where it is static) and cell that it is of."""
    params, cells = case.meta["params"], clip.embeds.shape[1]
    made = method.at_ratio(clip, float(params["retain_ratio"]))
    grid = params["newline_position"] == "grid"
    if grid:
        made = made.in_order()
    frame, cell = made.sources.numpy() // cells, made.sources.numpy() % cells
    stretch = [next(one for one in found if one.first <= t <= one.last) for t in frame]
    static = [bool(one.static[at]) for one, at in zip(stretch, cell, strict=True)]
    spans = np.array([(one.first, one.last) for one in stretch])
    tags = np.column_stack([spans, np.where(static, -1, frame), cell])
    if not grid:
        return made.embeds, tags
    line = frame * clip.grid[0] + cell // clip.grid[1]
    ends = np.flatnonzero(np.append(line[1:] != line[:-1], True)) + 1
    newline = case.tensor("newline")[None]
    pieces = torch.tensor_split(made.embeds, torch.from_numpy(ends[:-1]))
    return torch.cat([each for piece in pieces for each in (piece, newline)]), np.insert(tags, ends, -1, axis=0)


def _bounds(found: list[Stretch]) -> list[tuple[int, int]]:
    return [(one.first, one.last) for one in found]


def _beta(case: Case) -> float | None:
    return None if case.meta["params"]["no_beta"] else float(case.meta["params"]["beta"])
