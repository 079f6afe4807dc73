"""VQToken beside its published code: k-means with a fixed or searched number of clusters, attention, and both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from bench.parity.case import Difference, indices, tokens
from models.reducers import kmeans
from models.reducers.vq_attention import VQAttention
from models.reducers.vqtoken import published_elbow, published_silhouette

if TYPE_CHECKING:
    from torch import Tensor

    from bench.parity.case import Case
    from models.reducers.kmeans import Fit

SEARCH_ROUNDS, TOLERANCE = 100, 1e-4  # of a search, where a case does not say


def check(case: Case) -> list[Difference]:
    """All that the reference gave out, and what was recorded inside it. Raises ValueError for any other kind."""
    kind = case.meta["params"]["kind"]
    checks = {
        "fixed_k_kmeans": _fixed,
        "adaptive_kmeans": _adaptive,
        "vq_attn": _attention,
        "token_dynamics": _whole,
    }
    if kind not in checks:
        raise ValueError(f"{case.method}/{case.name} is of the kind {kind!r}, which is not known here.")
    return checks[kind](case)


def _fixed(case: Case) -> list[Difference]:
    units, found = _fitted(case, "init_token_index")
    return [
        *_codebook(case, units, found),
        tokens("final_centroids", found.centres, case.tensor("final_centroids")),
        indices("n_iterations", found.rounds, int(case.tensor("n_iterations"))),
        indices("counts", found.members, case.tensor("counts")),
    ]


def _adaptive(case: Case) -> list[Difference]:
    params = case.meta["params"]
    units = _units(case)
    starts = [row[row >= 0] for row in case.tensor("init_token_index_per_fit")]
    fits = [kmeans.fit(units, start, params["max_iterations"], params["tol"]) for start in starts]
    scatters = [each.scatter(units) for each in fits[:-1]]
    best = _searched(case, units, scatters)
    tried = [*range(params["min_K"], params["max_K"] + 1), best]
    theirs = case.tensor("distortion_per_K_f64")
    return [
        indices("best_K", best, int(case.tensor("best_K"))),
        indices("K_per_fit", tried, case.tensor("K_per_fit")),
        indices("iterations_per_fit", [each.rounds for each in fits], case.tensor("iterations_per_fit")),
        # a sum over all tokens, of which float32 keeps seven digits: compared as a share of the largest
        tokens("distortion_per_K_f64", torch.tensor(scatters) / float(theirs.max()), theirs / theirs.max()),
        *_codebook(case, units, fits[-1]),
    ]


def _searched(case: Case, units: Tensor, scatters: list[float]) -> int:
    params = case.meta["params"]
    if params["method"] == "elbow":
        return published_elbow(scatters, params["min_K"])
    if params["method"] == "silhouette":
        return published_silhouette(units, params["min_K"], params["max_K"])
    raise ValueError(f"{case.method}/{case.name} searches by {params['method']!r}, which is not known here.")


def _attention(case: Case) -> list[Difference]:
    labels, codes = case.tensor("cluster_indices"), case.tensor("cluster_means")
    return [tokens("weighted_clusters", _attend(case, labels, codes), case.tensor("weighted_clusters"))]


def _whole(case: Case) -> list[Difference]:
    """Of the search only the start of its last fit is stored; K is the length of that, and is not searched again."""
    units, found = _fitted(case, "final_init_token_index")
    attended = _attend(case, found.labels.view(case.tensor("tokens").shape[:2]), found.means(units))
    return [
        indices("K", len(found.centres), int(case.tensor("K"))),
        *_codebook(case, units, found),
        tokens("weighted_clusters", attended, case.tensor("weighted_clusters")),
    ]


def _units(case: Case) -> Tensor:
    return normalize(case.tensor("tokens").flatten(0, 1), dim=1)


def _fitted(case: Case, start: str) -> tuple[Tensor, Fit]:
    params, units = case.meta["params"], _units(case)
    rounds = params.get("max_iterations", SEARCH_ROUNDS)
    return units, kmeans.fit(units, case.tensor(start), rounds, params.get("tol", TOLERANCE))


def _codebook(case: Case, units: Tensor, found: Fit) -> list[Difference]:
    theirs = case.tensor("cluster_indices")
    return [
        indices("cluster_indices", found.labels.view(theirs.shape), theirs),
        tokens("cluster_means", found.means(units), case.tensor("cluster_means")),
    ]


def _attend(case: Case, labels: Tensor, codes: Tensor) -> Tensor:
    params = case.meta["params"]
    heads, layers = params["num_heads"], params["num_layers"]
    module = VQAttention(params["query_dim"], params["context_dim"], heads, layers, as_published=True).eval()
    weights = {name[3:]: case.tensor(name) for name in case.arrays if name.startswith("sd.")}
    module.to(codes.dtype).load_state_dict(weights)
    with torch.no_grad():
        rows: Tensor = module(labels, codes)
    return rows
