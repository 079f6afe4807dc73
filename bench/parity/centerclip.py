"""CenterCLIP beside its published code: k-medoids, spectral clustering, and both per temporal segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.parity.case import Difference, indices, tokens
from models.reducers.centerclip import tower_tokens
from models.reducers.kmedoids import KMedoids
from models.reducers.spectral import Spectral, laplacian

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.parity.case import Case
    from models.reducers.centerclip import Aggregation
    from models.reducers.kmedoids import Medoids

AGGREGATIONS: dict[str | None, Aggregation] = {"None": "medoids", None: "medoids", "mean": "means"}


def check(case: Case) -> list[Difference]:
    """All that the reference gave out, and what was recorded inside it. Raises ValueError for any other kind."""
    kind = case.meta["params"]["kind"]
    checks = {"batch_kmedoids": _kmedoids, "spectral": _spectral, "inter_module": _segments}
    if kind not in checks:
        raise ValueError(f"{case.method}/{case.name} is of the kind {kind!r}, which is not known here.")
    return checks[kind](case)


def _kmedoids(case: Case) -> list[Difference]:
    found = _kmedoids_of(case).fit(case.tensor("x"), case.meta["params"]["K"])
    theirs = case.tensor("initial_medoid_index_in_pick_order")
    told = theirs >= 0  # -1: their first pick was a matter of rounding
    start = indices("initial_medoid_index_in_pick_order", found.start[told], theirs[told])
    return [*_clusters(case, found), start]


def _spectral(case: Case) -> list[Difference]:
    allowed = case.tensor("allowed_pairs") if "allowed_pairs" in case.arrays else None
    x, method = case.tensor("x"), _spectral_of(case)
    found = method.fit(x, case.meta["params"]["K"], allowed=allowed)
    differences = _clusters(case, found)
    if "laplacian_eigenvalues_f64" in case.arrays:
        values = torch.linalg.eigvalsh(laplacian(method.affinity(x, allowed)))
        differences.append(tokens("laplacian_eigenvalues_f64", values, case.tensor("laplacian_eigenvalues_f64")))
    return differences


def _segments(case: Case) -> list[Difference]:
    params = case.meta["params"]
    algorithm, aggregation = params["algorithm"], params["aggregation"]
    methods: dict[str, Callable[[Case], KMedoids | Spectral]]
    methods = {"kmediods++": _kmedoids_of, "spectral": _spectral_of}  # their spelling
    if algorithm not in methods or aggregation not in AGGREGATIONS:
        raise ValueError(f"{case.method}/{case.name}: {algorithm!r} with {aggregation!r} is not known here.")
    batch, segments = params["batch"], params["frames_after"]
    method = methods[algorithm](case)
    how = AGGREGATIONS[aggregation]
    rows, found = tower_tokens(case.tensor("x"), batch, segments, params["K"], method, how)
    return [
        tokens("output", rows, case.tensor("output")),
        *_clusters(case, found, "_per_segment"),
    ]


def _clusters(case: Case, found: Medoids, which: str = "") -> list[Difference]:
    labels, at = case.tensor(f"assignment{which}"), case.tensor(f"medoid_index{which}")
    return [
        indices(f"assignment{which}", found.labels.view(labels.shape), labels),
        indices(f"medoid_index{which}", found.at.view(at.shape), at),
    ]


def _kmedoids_of(case: Case) -> KMedoids:
    params = case.meta["params"]
    usual = KMedoids()
    return KMedoids(
        params.get("distance", usual.distance),
        params["norm_p"],
        params.get("pre_norm", usual.pre_norm),
        params["threshold"],
        params["iter_limit"],
        params.get("split_size", usual.split_size),
    )


def _spectral_of(case: Case) -> Spectral:
    params = case.meta["params"]
    medoids = KMedoids(norm_p=params["norm_p"], threshold=params["threshold"], rounds=params["iter_limit"])
    pre_norm = params.get("pre_norm", Spectral().pre_norm)
    return Spectral(params["graph"], params["knn_k"], params["sigma"], params["norm_p"], pre_norm, medoids)
