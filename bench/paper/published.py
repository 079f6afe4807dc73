"""Published figures, printed beside measured ones: accuracy in percent, visual tokens given to the language model.

As the papers print them. Percentages of tokens in the first paper mix the denominators of 16 and 32 frames, so counts
are given here; "10 %" and the like are of 32 frames of 196 tokens, and None is where a paper lets no count be told.
Open answers were judged by a language model there.
"""

from __future__ import annotations

from dataclasses import dataclass

VQTOKEN = "VQToken, arXiv 2503.16980"
DYCOKE = "DyCoke, arXiv 2411.15024"
HOLITOM = "HoliTom, arXiv 2505.21334"
B_VLLM = "B-VLLM, arXiv 2412.09919"
STORM = "STORM, arXiv 2503.04130"
_SMALL, _LARGE = "LLaVA-OV 0.5B", "LLaVA-OV 7B"


@dataclass(frozen=True, slots=True)
class Published:
    """One figure of a paper."""

    dataset: str
    method: str
    model: str
    tokens: float | None
    accuracy: float  # percent
    source: str

    @property
    def density(self) -> float | None:
        """TokDense: percent per visual token."""
        return None if self.tokens is None else self.accuracy / self.tokens


def _vqtoken() -> list[Published]:
    table = (
        ("baseline, 16 frames", 11664, 58.38),
        ("token pruning", 1152, 29.12),
        ("ToMe", 1152, 35.72),
        ("VidToMe", 1152, 39.64),
        ("interpolation", 3136, 57.20),
        ("DyCoke", 1662.12, 57.7),
        ("Token Dynamics / VQToken, dynamic", 13.08, 57.72),
        ("Token Dynamics / VQToken, fixed 12", 12, 57.03),
        ("Token Dynamics / VQToken, fixed 32", 32, 57.46),
        ("Token Dynamics / VQToken, fixed 64", 64, 57.1),
        ("base model, 32 frames", 23328, 57.2),
        ("codebook only", 32, 35.2),
    )
    across = (("actnet_qa", 50.5, 46.3), ("longvideobench", 45.8, 39.3), ("videomme", 43.5, 38.2))
    found = [Published("nextqa_mc", method, _SMALL, tokens, right, VQTOKEN) for method, tokens, right in table]
    for dataset, base, theirs in across:
        found.append(Published(dataset, "base model, 32 frames", _SMALL, 23328, base, VQTOKEN))
        found.append(Published(dataset, "Token Dynamics / VQToken, fixed 32", _SMALL, 32, theirs, VQTOKEN))
    return found


def _others() -> list[Published]:
    small, large = 6272.0, 6272.0  # 32 frames of 196
    rows = (
        ("nextqa_mc", "full", _SMALL, small, 57.2, DYCOKE),
        ("nextqa_mc", "DyCoke, K 0.7", _SMALL, None, 57.7, DYCOKE),
        ("nextqa_mc", "full", _LARGE, large, 79.4, DYCOKE),
        ("nextqa_mc", "DyCoke, K 0.7", _LARGE, None, 78.2, DYCOKE),
        ("actnet_qa", "full", _SMALL, small, 47.93, DYCOKE),
        ("actnet_qa", "DyCoke, K 0.7", _SMALL, None, 47.70, DYCOKE),
        ("videomme", "full", _SMALL, small, 44.1, DYCOKE),
        ("videomme", "DyCoke, K 0.7", _SMALL, None, 45.2, DYCOKE),
        ("videomme", "full", _LARGE, large, 58.6, HOLITOM),
        ("videomme", "HoliTom, 10 %", _LARGE, 627.2, 56.8, HOLITOM),
        ("mvbench", "full", _LARGE, large, 58.3, HOLITOM),
        ("mvbench", "HoliTom, 10 %", _LARGE, 627.2, 57.3, HOLITOM),
        ("mvbench", "FastV", _LARGE, None, 55.9, HOLITOM),
        ("mvbench", "DyCoke, 25 %", _LARGE, 1568.0, 53.1, HOLITOM),
        ("mvbench", "B-VLLM", "VideoLLaMA2-type 7B", 576.0, 50.8, B_VLLM),
        ("egoschema", "full", _LARGE, large, 60.4, HOLITOM),
        ("egoschema", "HoliTom, 10 %", _LARGE, 627.2, 61.2, HOLITOM),
        ("longvideobench", "full", _LARGE, large, 56.4, HOLITOM),
        ("longvideobench", "HoliTom, 10 %", _LARGE, 627.2, 56.3, HOLITOM),
        ("videomme", "STORM, temporal pooling 25 %", "PaliGemma-SigLIP + Qwen2-VL", None, 63.4, STORM),
    )
    return [Published(*row) for row in rows]


PUBLISHED = (*_vqtoken(), *_others())
