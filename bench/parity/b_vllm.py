"""B-VLLM beside its published code: frames that say the same, and merging in rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.parity.case import Difference, indices, tokens
from models.reducers.b_vllm import distinct, in_rounds

if TYPE_CHECKING:
    from bench.parity.case import Case


def check(case: Case) -> list[Difference]:
    """All that the reference gave out, and what was recorded inside it. Raises ValueError for any other kind."""
    kind = case.meta["params"]["kind"]
    checks = {"temporal_threshold_merge": _temporal, "multi_round_merge": _rounds}
    if kind not in checks:
        raise ValueError(f"{case.method}/{case.name} is of the kind {kind!r}, which is not known here.")
    return checks[kind](case)


def _temporal(case: Case) -> list[Difference]:
    found = distinct(case.tensor("selector"), case.meta["params"]["threshold"], as_published=True)
    return [
        tokens("best_similarity_f64", found.similarity, case.tensor("best_similarity_f64")),
        indices("best_partner", found.partner, case.tensor("best_partner")),
        indices("removed", found.removed, case.tensor("removed")),
        indices("kept_index", found.kept, case.tensor("kept_index")),
        indices(
            "removed_whose_partner_was_also_removed",
            found.lost,
            case.tensor("removed_whose_partner_was_also_removed"),
        ),
        tokens("output", found.average(case.tensor("features")), case.tensor("output")),
    ]


def _rounds(case: Case) -> list[Difference]:
    found = in_rounds(case.tensor("tokens"), case.meta["params"]["target_num_tokens"], as_published=True)
    return [
        indices("lengths", found.lengths, case.tensor("lengths")),
        tokens("output", found.rows, case.tensor("output")),
    ]
