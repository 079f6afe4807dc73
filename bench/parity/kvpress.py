"""The scorers of a cache against kvpress: scores, which keys are kept, and keys turned to their new positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from bench.parity.case import Difference, indices, tokens
from kernels import ops
from models.kv import attention_scorers as by_attention
from models.kv import scorers

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from bench.parity.case import Case


def check(case: Case) -> list[Difference]:
    """All that a case offers. Raises ValueError for a scorer that we have not."""
    params = case.meta.get("params", {})
    scorer = _SCORERS.get(str(params.get("scorer")))
    if scorer is None:
        raise ValueError(f"{case.name}: there is no scorer {params.get('scorer')!r} to compare.")
    keys = case.tensor("keys")
    count = scorers.keep_count(keys.shape[2], float(params["compression_ratio"]))
    scores = scorer(case, params, count)
    best = scorers.kept(scores, count)
    found = [
        tokens("scores", scores, case.tensor("scores")),
        indices("how many are kept", [count], [params["n_kept"]]),
        indices("kept", best.sort(-1).values, case.tensor("kept_index_sorted")),
    ]
    if "kept_index_in_output_order" in case.arrays:
        theirs, given = case.tensor("kept_index_in_output_order"), case.tensor("scores")
        found.append(indices("kept, best first", _told_apart(best, given), _told_apart(theirs, given)))
        found += [
            tokens(f"{name} kept", scorers.gathered(case.tensor(name), theirs), _picked(case.tensor(name), theirs))
            for name in ("keys", "values")
        ]
    if "rerotated_keys" in case.arrays:
        turned = scorers.rerotated(keys, best, _frequencies(params))
        found.append(tokens("keys at new positions", turned, case.tensor("rerotated_keys")))
    if "rerotated_values" in case.arrays:
        values = scorers.gathered(case.tensor("values"), best.sort(-1).values)
        found.append(tokens("values in order", values, case.tensor("rerotated_values")))
    return found


def _streaming_llm(case: Case, params: dict[str, Any], count: int) -> Tensor:
    return scorers.streaming_llm(case.tensor("keys"), count, int(params["n_sink"]))


def _knorm(case: Case, _params: dict[str, Any], _count: int) -> Tensor:
    return scorers.knorm(case.tensor("keys"))


def _keydiff(case: Case, _params: dict[str, Any], _count: int) -> Tensor:
    return scorers.keydiff(case.tensor("keys"))


def _lagkv(case: Case, params: dict[str, Any], _count: int) -> Tensor:
    keys, values, cross = case.tensor("keys"), case.tensor("values"), bool(params["cross_scoring"])
    return scorers.lagkv(keys, values, int(params["lag_size"]), int(params["n_sink"]), cross)


def _observed_attention(case: Case, _params: dict[str, Any], _count: int) -> Tensor:
    return by_attention.observed_attention(case.tensor("attentions"), case.tensor("keys").shape[1])


def _snapkv(case: Case, params: dict[str, Any], _count: int) -> Tensor:
    queries = _rotated_queries(case, params, int(params["window_size"]))
    return by_attention.snapkv(case.tensor("keys"), queries, int(params["kernel_size"]))


def _tova(case: Case, params: dict[str, Any], _count: int) -> Tensor:
    return by_attention.tova(case.tensor("keys"), _rotated_queries(case, params, 1))


def _expected_attention(case: Case, params: dict[str, Any], _count: int) -> Tensor:
    length = case.tensor("keys").shape[2]
    future = range(length, length + int(params["n_future_positions"]))
    return by_attention.expected_attention(
        case.tensor("keys"),
        case.tensor("values"),
        _queries(case, params),
        by_attention.mean_rotation(*_rotation(params, future)),
        sinks=int(params["n_sink"]),
        epsilon=float(params["epsilon"]),
        covariance=bool(params["use_covariance"]),
        by_value=bool(params["use_vnorm"]),
    )


_SCORERS: dict[str, Callable[[Case, dict[str, Any], int], Tensor]] = {
    "streaming_llm": _streaming_llm,
    "knorm": _knorm,
    "keydiff": _keydiff,
    "lagkv": _lagkv,
    "observed_attention": _observed_attention,
    "snapkv": _snapkv,
    "tova": _tova,
    "expected_attention": _expected_attention,
}


def _queries(case: Case, params: dict[str, Any]) -> Tensor:
    """Queries (B, heads, S, d) before rotation, from the layer's input and its weights."""
    made = case.tensor("hidden_states") @ case.tensor("q_proj_weight").T
    found: Tensor = made.unflatten(-1, (int(params["heads"]), int(params["head_dim"]))).transpose(1, 2)
    return found


def _rotated_queries(case: Case, params: dict[str, Any], last: int) -> Tensor:
    queries = _queries(case, params)
    length = queries.shape[2]
    return ops.rotate(queries[:, :, -last:], *_rotation(params, range(length - last, length)))


def _frequencies(params: dict[str, Any]) -> Tensor:
    dim = int(params["head_dim"])
    return float(params["rope_theta"]) ** (-torch.arange(0, dim, 2, dtype=torch.float32) / dim)


def _rotation(params: dict[str, Any], positions: range) -> tuple[Tensor, Tensor]:
    angles = torch.tensor(list(positions), dtype=torch.float32)[:, None] * _frequencies(params)
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def _told_apart(index: Tensor, scores: Tensor) -> Tensor:
    """`index`, with -1 for what shares its score: sinks and windows do, and their order is whatever a sort left."""
    shared = (scores.unsqueeze(-1) == scores.unsqueeze(-2)).sum(-1) > 1
    return torch.where(shared.gather(-1, index), -1, index)


def _picked(states: Tensor, index: Tensor) -> Tensor:
    """The reference's own cache: rows of `states` in the order that it stored."""
    return torch.stack(
        [
            torch.stack([rows[chosen] for rows, chosen in zip(*pair, strict=True)])
            for pair in zip(states, index, strict=True)
        ]
    )
