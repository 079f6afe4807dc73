"""The `memory` section: how much a camera may remember, and by which methods."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from stream.config.values import Bytes, Count, Fraction, Positive, Section

# The names of `models/reducers/registry.py`, which is not imported here: the configuration is read without torch.
Reducer = Literal[
    "token_dynamics",
    "temporal_mean",
    "causal_mean",
    "region_attention",
    "uniform",
    "random",
    "tome",
    "tempme",
    "dycoke",
    "holitom",
    "mustdrop",
    "prumerge",
    "scissor",
    "b_vllm",
    "centerclip",
    "vqtoken",
]

# Those of `models/kv/prune.py`, which is not imported here for the same reason.
Policy = Literal["recent", "window", "random", "knorm", "keydiff", "vnorm", "snapkv", "hermes", "score", "score+strata"]


class MemoryConfig(Section):
    """What each camera may remember. What is left out is as the checkpoint recommends."""

    budget: Bytes = Field(default=256 * 2**20, description="bytes per camera, everything counted")
    hot_blocks: Count | None = None
    reducer: Reducer = Field(default="token_dynamics", description="how video becomes rows; docs/methods.md compares")
    length: Literal["fixed", "adaptive"] | None = None
    fused_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    fused_min: Annotated[int, Field(ge=1, le=4096)] | None = None
    fused_max: Annotated[int, Field(ge=1, le=4096)] | None = None
    distortion_target: Fraction | None = None
    segment_s: Positive | None = None
    base_codes: Annotated[int, Field(ge=2, le=32767)] = 512
    spawn_below: Annotated[float, Field(gt=0, le=1)] | None = None
    idle_frames: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="after which a code that nothing looked like is retired"
    )
    map_frames: Annotated[int, Field(ge=1, le=65535)] = 256
    instant_frames: Annotated[int, Field(ge=1, le=64)] | None = None
    warm_fraction: Fraction = 0.3
    warm_bits: Literal[16, 8, 6] = Field(default=16, description="of a number in reserve; 16: exactly as it was")
    cold_fraction: Fraction = 0.15
    policy: Policy = Field(default="score+strata", description="which blocks leave; docs/methods.md compares")
    positions: Literal["gap", "lazy_rebase", "contiguous"] | None = None
    recall: bool = True
    recall_blocks: Annotated[int, Field(ge=0, le=64)] | None = None
    present_blocks: Annotated[int, Field(ge=0, le=1_000_000)] | None = Field(
        default=None, description="before the last frames that a question about this very moment reads"
    )
    inner: Literal["none", "fastv", "holitom_inner", "mustdrop"] = Field(
        default="none", description="fewer seen rows in deeper layers while a question is read"
    )
    decode: Literal["none", "dycoke"] = Field(
        default="none", description="fewer seen rows in deeper layers while an answer is said"
    )
    max_forks: Annotated[int, Field(ge=1, le=64)] = 8
    timezone: str = Field(
        default="UTC", description="of the time stamps that the model reads, for example Europe/Berlin"
    )

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("not a known time zone; write for example UTC or Europe/Berlin") from error
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> MemoryConfig:
        if self.fused_min is not None and self.fused_max is not None and self.fused_min > self.fused_max:
            raise ValueError(f"fused_min ({self.fused_min}) is above fused_max ({self.fused_max})")
        if self.warm_fraction + self.cold_fraction > 0.95:
            raise ValueError("warm_fraction and cold_fraction leave nothing for the rest; keep their sum below 0.95")
        return self
