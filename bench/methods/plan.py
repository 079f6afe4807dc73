"""What is compared: which methods, at which shares of the raw tokens, on how many streams and questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from bench.watch.plan import Split
from models.kv.budget import MemoryConfig
from models.reducers.registry import OURS, REDUCERS, SALIENT
from stream.config.memory import MemoryConfig as MemorySection
from stream.config.schema import ModelConfig
from stream.config.values import Section

SHARES = (0.35, 0.25, 0.15, 0.10, 0.05, 0.01, 0.0007)  # below the whole
EXTRA_SHARE = 0.25  # at which what is no reducer is compared
CROWDED = 1 / 3  # of a stream's blocks that are kept where the rules of forgetting are compared
EVERY_TOKEN, LAST_4, NO_PICTURE = "every token", "last 4 frames", "no picture"

Group = Literal["whole", "floor", "reducer", "tower", "gate", "length", "policy", "reserve", "inner", "decode"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of the measurement; what they are changes every figure, so results are kept apart by them."""

    split: Split = "test"
    streams: int = 4
    seconds: float = 96.0  # of a stream
    fps: float = 2.0
    moments: int = 4  # of a stream at which questions are asked
    questions: int = 7  # at each of these


FULL = Plan()
SMALL = Plan(streams=1, seconds=24.0, moments=2, questions=2)
SMALL_SHARES = (0.10, 0.0007)


class Sight(NamedTuple):
    """How the vision tower looks at a stream."""

    merging: str = "none"
    salient: bool = False  # it also tells what attention each cell received


@dataclass(frozen=True, slots=True)
class Setting:
    """One method at one budget."""

    method: str
    group: Group
    share: float  # of the raw tokens that may become rows
    config: Mapping[str, Any] = field(default_factory=dict)  # memory settings that differ from the checkpoint's own
    gated: bool = False  # frames that the motion gate refuses are not seen
    tower: str = "none"  # how the vision tower merges
    crowded: float = 1.0  # share of the stream's blocks that there is room for

    @property
    def sight(self) -> Sight:
        """How the tower must look for it."""
        return Sight(self.tower, self.config.get("reducer") in SALIENT)

    @property
    def name(self) -> str:
        """What results are known by."""
        return f"{self.method} @ {self.share:g}"


def settings(reducers: Sequence[str], shares: Sequence[float], extra: float) -> list[Setting]:
    """Everything that is measured on a stream: bounds first, then reducers by budget, then the rest at one budget."""
    return [
        Setting(NO_PICTURE, "floor", 0.0),
        Setting(LAST_4, "floor", 0.0),
        # evenly spaced, with as many rows as tokens: each token as it is, in raster order
        Setting(EVERY_TOKEN, "whole", 1.0, {"reducer": "uniform"}),
        *(Setting(name, "reducer", share, {"reducer": name}) for name in reducers for share in shares if share < 1),
        *_others(extra),
    ]


def _others(share: float) -> Iterator[Setting]:
    """What acts before a reducer, beside it, or after it: each with our own reducer."""
    ours = {"reducer": OURS}
    yield Setting("motion gate", "gate", share, ours, gated=True)
    yield Setting("adaptive length", "length", share, ours | {"length": "adaptive"})
    for word in words("tower_merge", ModelConfig):
        if word != "none":
            yield Setting(f"tower {word}", "tower", share, ours, tower=word)
    for word in words("policy"):
        yield Setting(f"policy {word}", "policy", share, ours | {"policy": word, "recall": False}, crowded=CROWDED)
    for bits in words("warm_bits"):  # what is not at hand is in reserve, and recalled
        yield Setting(f"reserve {bits} bits", "reserve", share, ours | {"warm_bits": int(bits)}, crowded=CROWDED)
    groups: tuple[Group, ...] = ("inner", "decode")
    for group in groups:
        usual = getattr(MemoryConfig(), group, None)
        for word in words(group):
            if word != usual:
                yield Setting(f"{group} {word}", group, share, ours | {group: word})


def words(setting: str, section: type[Section] = MemorySection) -> tuple[str, ...]:
    """The words that a configuration may give to a setting of a section; none where it has no such setting."""
    found = section.model_fields.get(setting)
    return () if found is None else tuple(str(word) for word in get_args(found.annotation))


def all_reducers() -> list[str]:
    """Ours first."""
    return [OURS, *(name for name in REDUCERS if name != OURS)]
