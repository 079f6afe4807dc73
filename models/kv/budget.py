"""One byte budget per camera, turned into parts at start; what cannot hold is refused with the smallest that would."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from models.inner.registry import Methods, make_methods
from models.kv import closer, ledger, positions, proxy, prune
from models.kv.packed import BITS, EXACT
from models.kv.sizes import Sizes
from models.perception import PerceptionConfig
from models.reducers.registry import OURS

QUESTION_TOKENS = 1024  # a longer question is refused
ANSWER_TOKENS = 512  # the most an answer may have, whatever is asked for
_USUAL_TOKENS = 192  # question and answer, when eight are asked at once
_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


class TooSmall(ValueError):
    """A budget that cannot hold what is asked of it; `least`: the bytes that can."""

    def __init__(self, config: MemoryConfig, least: int) -> None:
        super().__init__(refusal(config, parse_bytes(config.budget), least))
        self.config = config
        self.least = least


def parse_bytes(text: str | int) -> int:
    """Bytes in `256MiB`, `1.5 GB` or `4096`. Raises ValueError with a sentence."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*", str(text))
    if not found or found[2].lower() not in _UNITS:
        raise ValueError(f"{str(text)[:40]!r} is no size in bytes; write it like 256MiB or 1.5GiB.")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def bytes_text(count: float) -> str:
    """`256 MiB`."""
    return f"{count / (1 << 20):.0f} MiB" if count >= 10 << 20 else f"{count / (1 << 10):.0f} KiB"


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """The `memory` section of a configuration; None means: as the checkpoint recommends."""

    budget: str | int = "256MiB"  # per camera, everything included
    hot_blocks: int | None = None
    reducer: str = OURS
    length: Literal["fixed", "adaptive"] | None = None
    fused_tokens: int | None = None
    fused_min: int | None = None
    fused_max: int | None = None
    distortion_target: float | None = None
    segment_s: float | None = None
    base_codes: int = 512
    spawn_below: float | None = None  # cosine below which a token opens a code
    idle_frames: int | None = None  # a code that none of so many frames went to is retired; None: never
    map_frames: int = 256
    instant_frames: int | None = None
    warm_fraction: float = 0.30
    warm_bits: Literal[16, 8, 6] = 16  # of a number of a block in reserve; 16: exactly as the model made it
    cold_fraction: float = 0.15
    policy: prune.Policy = "score+strata"  # which blocks leave HOT; `models/kv/prune.py` says how each chooses
    positions: positions.Policy | None = None
    recall: bool = True
    recall_blocks: int | None = None
    recall_layer: int | None = None  # whose keys and queries recall compares; None: the middle one
    recall_heads: Sequence[int] | None = None  # of that layer; None: all
    recall_words: Sequence[str] | None = None  # tokens that they were trained to look for; None: not known
    present_blocks: int | None = None  # before the last frames that a question about this moment reads; None: all
    pointer_layer: int | None = None  # the head that tells what time `<|then|>` means; None: no head does
    pointer_head: int | None = None
    inner: Literal["none", "fastv", "holitom_inner", "mustdrop"] = "none"  # fewer rows while a question is read
    decode: Literal["none", "dycoke"] = "none"  # and while its answer is said
    max_forks: int = 8
    timezone: str = "UTC"
    stamps: bool | None = None  # clock stamps in front of blocks; off reproduces a checkpoint's plain video prompt
    seed: int = 0  # of the `random` policy

    def __post_init__(self) -> None:
        """Raises ValueError with a sentence for settings that cannot work."""
        if self.hot_blocks is not None and self.hot_blocks < 0:
            raise ValueError(f"memory.hot_blocks must be 0 (no memory) or more, not {self.hot_blocks}.")
        if not (0 <= self.warm_fraction <= 1 and 0 <= self.cold_fraction <= 1):
            raise ValueError("memory.warm_fraction and cold_fraction are shares of the budget, each between 0 and 1.")
        if self.warm_fraction + self.cold_fraction > 0.95:
            raise ValueError(
                "memory.warm_fraction and cold_fraction leave no room for anything else; keep their sum below 0.95."
            )
        if self.policy not in get_args(prune.Policy):
            raise ValueError(f"memory.policy must be one of {', '.join(get_args(prune.Policy))}, not {self.policy!r}.")
        if self.warm_bits not in {EXACT, *BITS}:
            raise ValueError(f"memory.warm_bits must be 16 (exact), 8 or 6, not {self.warm_bits}.")
        if self.positions is not None and self.positions not in get_args(positions.Policy):
            raise ValueError(f"memory.positions must be one of {', '.join(get_args(positions.Policy))}.")
        if (self.present_blocks or 0) < 0:
            raise ValueError(f"memory.present_blocks must be 0 or more, not {self.present_blocks}.")
        if not 0 <= (self.recall_blocks or 0) <= 64 or not 1 <= self.max_forks <= 64:
            raise ValueError("memory.recall_blocks must be 0 to 64 and memory.max_forks 1 to 64.")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"memory.timezone {self.timezone!r} is not a known time zone; write it like Europe/Berlin."
            ) from None
        parse_bytes(self.budget)
        self.perception()
        self.methods()

    def with_recommended(self, card: Mapping[str, Any]) -> MemoryConfig:
        """Fill what was left open (None) from a checkpoint's card, then from the defaults."""
        usual: dict[str, Any] = {
            "hot_blocks": 64,
            "length": "fixed",
            "fused_tokens": 32,
            "fused_min": 4,
            "fused_max": 64,
            "distortion_target": 0.05,
            "segment_s": 8.0,
            "spawn_below": 0.85,
            "instant_frames": 4,
            "positions": "lazy_rebase",
            "stamps": True,
            "recall_layer": None,
            "recall_heads": None,
            "recall_blocks": 8,
            "recall_words": None,
            "present_blocks": None,
            "idle_frames": None,
            "pointer_layer": None,
            "pointer_head": None,
        }
        open_names = [f.name for f in fields(self) if getattr(self, f.name) is None]
        return replace(self, **{name: card.get(name, usual[name]) for name in open_names})

    @property
    def pointer(self) -> tuple[int, int] | None:
        """Layer and head that say what time `<|then|>` means, where the checkpoint names them."""
        layer, head = self.pointer_layer, self.pointer_head
        return None if layer is None or head is None else (layer, head)

    def check_heads(self, layers: int, heads: int, model_id: str) -> None:
        """Raises ValueError where a checkpoint's card names a layer or a head that it does not have."""
        if (self.pointer_layer is None) != (self.pointer_head is None):
            raise ValueError("memory.pointer_layer and pointer_head name one head together: give both or neither.")
        asked = {"recall": (self.recall_layer or 0, list(self.recall_heads or ()))}
        if self.pointer is not None:
            asked["pointer"] = (self.pointer[0], [self.pointer[1]])
        for use, (layer, those) in asked.items():
            if not 0 <= layer < layers or not all(0 <= head < heads for head in those):
                raise ValueError(
                    f"memory.{use}_layer {layer} and {use} heads {those} are not among the {layers} layers and "
                    f"{heads} heads of {model_id}."
                )

    def methods(self) -> Methods:
        """What acts inside the language model. Raises ValueError with a sentence for a name that is not known."""
        return make_methods(self.inner, self.decode)

    def perception(self) -> PerceptionConfig:
        """The settings of clustering and segments."""
        given = {
            "length": self.length,
            "fused_tokens": self.fused_tokens,
            "fused_min": self.fused_min,
            "fused_max": self.fused_max,
            "distortion_target": self.distortion_target,
            "segment_s": self.segment_s,
            "spawn_below": self.spawn_below,
            "instant_frames": self.instant_frames,
        }
        return PerceptionConfig(
            reducer=self.reducer,
            base_codes=self.base_codes,
            idle_frames=self.idle_frames,
            map_frames=self.map_frames,
            **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The budget in parts, bytes. What the fixed parts leave over goes to forks."""

    budget: int
    hot: int  # raw keys, values and meaning of HOT blocks, the sinks, and one block in the making
    rendered: int  # two slabs: the one in use and the one that replaces it
    ledger: int
    warm: int
    cold: int
    forks: int  # all questions in progress together
    warm_bits: int
    most_warm: int  # blocks, however small they are
    most_cold: int
    slab_tokens: int
    block_tokens: int
    hot_blocks: int
    warm_blocks: int  # of full size
    cold_blocks: int
    segment_s: float

    def sentence(self) -> str:
        """What the budget buys, for start-up."""
        hot, warm = (count * self.segment_s / 60 for count in (self.hot_blocks, self.warm_blocks))
        return (
            f"{bytes_text(self.budget)} per camera: at {self.segment_s:g} s a block about {hot:.0f} min at hand, "
            f"{warm:.0f} min exact in reserve, and {self.cold_blocks} blocks thinned by age for all time before."
        )


def plan(config: MemoryConfig, sizes: Sizes) -> Plan:
    """Divide the budget. Raises `TooSmall` naming the smallest that would hold. `config` has nothing left open."""
    if config.policy in prune.FORGETTING:  # nothing goes there
        config = replace(config, warm_fraction=0.0, cold_fraction=0.0)
    budget, hot_blocks = parse_bytes(config.budget), config.hot_blocks or 0
    rows = (config.fused_tokens if config.length == "fixed" else config.fused_max) or 0
    tokens = rows + (sizes.stamp if config.stamps else 0)
    block = sizes.block(rows, tokens, means=1 + (config.policy in prune.COMPARING))
    warm = block if config.warm_bits == EXACT else sizes.packed(rows, tokens, config.warm_bits)
    cold, slab_tokens = sizes.cold(rows), sizes.sinks + hot_blocks * tokens
    hot = sizes.sinks * sizes.token + hot_blocks * block + block // 2  # a new block holds rotated keys for a moment
    hot += proxy.MOST_TOKENS * sizes.token if config.policy in prune.ASKING else 0
    rendered = 2 * slab_tokens * sizes.token
    needed = hot + rendered + sizes.perception + _forks(config, sizes, tokens, slab_tokens)
    fewest = 1.0 if config.length == "fixed" else max(0.1, (config.fused_min or 1) / max(rows, 1))
    warm_bytes, cold_bytes = int(budget * config.warm_fraction), int(budget * config.cold_fraction)
    most_warm, most_cold = int(warm_bytes / warm / fewest), int(cold_bytes / cold / fewest)
    written = ledger.ENTRY_BYTES * (hot_blocks + 2 + most_warm + most_cold + ledger.RECENT) + ledger.PROGRESS_BYTES
    if needed + written + warm_bytes + cold_bytes > budget:
        raise TooSmall(config, _least(config, needed, warm * fewest, cold * fewest))
    return Plan(
        budget=budget,
        hot=hot,
        rendered=rendered,
        ledger=written,
        warm=warm_bytes,
        cold=cold_bytes,
        forks=budget - hot - rendered - sizes.perception - written - warm_bytes - cold_bytes,
        warm_bits=config.warm_bits,
        most_warm=most_warm,
        most_cold=most_cold,
        slab_tokens=slab_tokens,
        block_tokens=tokens,
        hot_blocks=hot_blocks,
        warm_blocks=warm_bytes // warm,
        cold_blocks=cold_bytes // cold,
        segment_s=float(config.segment_s or 0),
    )


def _forks(config: MemoryConfig, sizes: Sizes, tokens: int, slab_tokens: int) -> int:
    """Bytes that must be there for questions: one of the largest kind, the others of the usual kind."""
    shown = (config.instant_frames or 0) * sizes.cells + tokens + sizes.stamp + 1
    private = slab_tokens + ((config.recall_blocks or 0) * tokens if config.recall else 0)
    worst = shown + QUESTION_TOKENS + ANSWER_TOKENS + private
    seen = (config.hot_blocks or 0) * (tokens - (sizes.stamp if config.stamps else 0))
    own, words = config.methods().own_tokens, slab_tokens - seen
    worst += own(private - seen, seen, shown + QUESTION_TOKENS)
    usual = shown + _USUAL_TOKENS + own(words, seen, shown + _USUAL_TOKENS)
    if config.pointer is not None:
        worst, usual = (each + closer.own_tokens((sizes.sinks, tokens)) for each in (worst, usual))
    read = (worst + (config.max_forks - 1) * usual) * sizes.token
    return read + config.max_forks * sizes.shown(config.instant_frames or 0, tokens)


def _least(config: MemoryConfig, needed: int, warm: float, cold: float) -> int:
    """The smallest budget, bytes, that holds the fixed parts and the shares with their ledger."""
    warm_share = config.warm_fraction * (1 + ledger.ENTRY_BYTES / warm)
    cold_share = config.cold_fraction * (1 + ledger.ENTRY_BYTES / cold)
    entries = ledger.ENTRY_BYTES * ((config.hot_blocks or 0) + 2 + ledger.RECENT) + ledger.PROGRESS_BYTES
    return int((needed + entries) / max(0.01, 1 - warm_share - cold_share)) + 1


def refusal(config: MemoryConfig, given: int, least: int) -> str:
    """Why a budget of `given` bytes is refused, with the least one in whole MiB."""
    less = " memory.inner and memory.decode set to none need less too." if config.methods().any else ""
    return (
        f"memory.budget of {bytes_text(given)} per camera is too small: {config.hot_blocks} blocks at "
        f"hand, the instant window and {config.max_forks} questions at once need {-(-least // (1 << 20))} MiB. Raise "
        "memory.budget to that, or lower memory.hot_blocks, instant_frames, max_forks, warm_fraction or cold_fraction."
        f"{less}"
    )
