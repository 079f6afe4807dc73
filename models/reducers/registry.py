"""The names that a configuration may give to `memory.reducer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.reducers.b_vllm import BVllm
from models.reducers.centerclip import CenterClip
from models.reducers.dycoke import DyCoke
from models.reducers.holitom import HoliTom
from models.reducers.mustdrop import MustDrop
from models.reducers.pooling import CausalMean, RegionAttention
from models.reducers.prumerge import PruMerge
from models.reducers.scissor import Scissor
from models.reducers.simple import Random, TemporalMean, Uniform
from models.reducers.tempme import TempMe
from models.reducers.token_dynamics import TokenDynamics
from models.reducers.tome import ToMe
from models.reducers.vqtoken import VQToken

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.reducers.clip import Reducer

OURS = "token_dynamics"
REDUCERS: dict[str, Callable[[], Reducer]] = {
    OURS: TokenDynamics,
    "temporal_mean": TemporalMean,
    "causal_mean": CausalMean,
    "region_attention": RegionAttention,
    "uniform": Uniform,
    "random": Random,
    "tome": ToMe,
    "tempme": TempMe,
    "dycoke": DyCoke,
    "holitom": HoliTom,
    "mustdrop": MustDrop,
    "prumerge": PruMerge,
    "scissor": Scissor,
    "b_vllm": BVllm,
    "centerclip": CenterClip,
    "vqtoken": VQToken,
}
# These ask what attention each cell received in the vision tower; without that they have a stand-in (`Clip.attention`).
SALIENT = frozenset({"holitom", "mustdrop", "prumerge"})


def make_reducer(name: str) -> Reducer:
    """The reducer of a name. Raises ValueError with a sentence for any other word."""
    if name not in REDUCERS:
        raise ValueError(f"memory.reducer {name[:40]!r} is not known; choose one of {', '.join(sorted(REDUCERS))}.")
    return REDUCERS[name]()
