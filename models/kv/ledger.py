"""The ledger: what became of every stretch of time, and why. Bounded; the sums are exact for ever."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from stream.flow import BlockRecord, BlockState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RECENT = 256  # blocks that left and are still listed
ENTRY_BYTES = 1024  # a generous bound on one entry or record as Python objects
PROGRESS_BYTES = 1024  # a generous bound on a camera's progress, its scores included
JUDGED = 8  # pictures whose median says whether a camera is out of the model's depth: one odd picture does not
USE_HALF_LIFE_S = 3600.0
ALIVE: tuple[BlockState, ...] = ("hot", "warm", "cold")


@dataclass(slots=True)
class Entry:
    """What is known of a block that is still held; the tensors themselves are immutable, this is not."""

    id: int
    state: BlockState
    from_s: float
    until_s: float
    frames: int
    tokens: int
    patches: float
    activity: float = 0.0  # how much moved in it, picture widths
    value: float = 0.0  # mean L2 norm of its values
    key_length: float = 0.0  # mean L2 norm of its rows' keys; 0: not worked out yet
    asked: float = 0.0  # pooled attention of the last proxy question at its best place; 0: under policies that ask none
    proxy: float = 0.0  # moving share of attention from blocks committed after it
    proxies: int = 0  # how many such blocks there were
    use: float = 0.0  # attention in real answers, halved every hour
    used_s: float = 0.0  # media time at which `use` was last brought up to date
    recalls: int = 0
    recalled_s: float = float("-inf")
    merges: int = 0
    score: float | None = None
    reason: str = ""
    pinned: bool = False

    @property
    def span_s(self) -> tuple[float, float]:
        """Media time covered."""
        return self.from_s, self.until_s

    def use_at(self, now_s: float) -> float:
        """The use term, decayed to now."""
        return float(self.use * 2.0 ** (-max(0.0, now_s - self.used_s) / USE_HALF_LIFE_S))

    def record(self) -> BlockRecord:
        """The line as others see it."""
        return BlockRecord(
            id=self.id,
            state=self.state,
            span_s=self.span_s,
            frames=self.frames,
            tokens=self.tokens,
            patches=self.patches,
            score=self.score,
            reason=self.reason,
            pinned=self.pinned,
            recalls=self.recalls,
        )


@dataclass(slots=True)
class Progress:
    """How far a camera has been watched."""

    opened: Entry | None = None  # the segment being watched
    next_id: int = 0
    patches_seen: float = 0.0
    frames_seen: int = 0
    seen_s: float = 0.0  # media time of the newest thing seen, or known to be unchanged
    depths: list[float] = field(default_factory=list)  # of the last pictures that were judged

    def bytes(self) -> int:
        """A bound on what this takes."""
        return PROGRESS_BYTES

    @property
    def depth(self) -> float | None:
        """How unlike the training pictures the last ones were; None where none was judged."""
        return median(self.depths) if self.depths else None

    def judge(self, depth: float | None) -> None:
        """Take note of one picture's score; none: the checkpoint does not judge."""
        if depth is not None:
            self.depths = [*self.depths, depth][-JUDGED:]

    def see(self, now_s: float, patches: float) -> None:
        """One frame more, after the segment that it closed has been taken."""
        if self.opened is None:
            self.opened = Entry(self.next_id, "open", now_s, now_s, 0, 0, 0.0, reason="still being watched")
        self.opened.frames += 1
        self.opened.patches += patches
        self.patches_seen += patches
        self.frames_seen += 1
        self.until(now_s)

    def until(self, time_s: float) -> None:
        """What is on screen lasts until then."""
        self.seen_s = max(self.seen_s, time_s)
        if self.opened is not None:
            self.opened.until_s = max(self.opened.until_s, time_s)

    def take(self) -> Entry | None:
        """The open segment, which has closed."""
        opened, self.opened = self.opened, None
        return opened

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Progress:
        """Go on from what `asdict` gave."""
        opened = state["opened"]
        depths = [float(depth) for depth in state.get("depths", ())][-JUDGED:]
        return cls(**{**state, "opened": None if opened is None else Entry(**opened), "depths": depths})


class Ledger:
    """Entries of blocks held, the last few that left, and the sums of all that ever left."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}  # by id, oldest first
        self.recent: deque[BlockRecord] = deque(maxlen=RECENT)
        self.tokens_gone = {"merged": 0, "dropped": 0}
        self.patches_dropped = 0.0
        self.tokens_committed = 0

    def add(self, entry: Entry) -> None:
        """A new block."""
        self.entries[entry.id] = entry
        self.tokens_committed += entry.tokens

    def move(self, block_id: int, state: BlockState, tokens: int, reason: str) -> None:
        """A block changed tier; tokens it lost on the way (its stamp, in COLD) count as merged."""
        entry = self.entries[block_id]
        self.tokens_gone["merged"] += max(0, entry.tokens - tokens)
        self.tokens_committed += max(0, tokens - entry.tokens)  # a replayed COLD block has its stamp again
        entry.state, entry.tokens, entry.reason = state, tokens, reason

    def merge(self, kept_id: int, gone_id: int, tokens: int) -> None:
        """Two COLD neighbours became one of `tokens` rows."""
        kept, gone = self.entries[kept_id], self.entries.pop(gone_id)
        self.tokens_gone["merged"] += kept.tokens + gone.tokens - tokens
        gone.state, gone.reason = "merged", f"merged into block {kept_id} as memory of that time was thinned"
        self.recent.append(gone.record())
        kept.from_s, kept.until_s = min(kept.from_s, gone.from_s), max(kept.until_s, gone.until_s)
        kept.frames, kept.patches = kept.frames + gone.frames, kept.patches + gone.patches
        kept.tokens, kept.merges = tokens, kept.merges + gone.merges + 1
        kept.recalls, kept.use = kept.recalls + gone.recalls, max(kept.use, gone.use)
        kept.reason = f"stands for {kept.merges + 1} blocks, thinned by age"

    def drop(self, block_id: int, reason: str) -> None:
        """A block is forgotten."""
        entry = self.entries.pop(block_id)
        entry.state, entry.reason = "dropped", reason
        self.tokens_gone["dropped"] += entry.tokens
        self.patches_dropped += entry.patches
        self.recent.append(entry.record())

    def records(self) -> tuple[BlockRecord, ...]:
        """Blocks held, oldest first."""
        return tuple(self.entries[i].record() for i in sorted(self.entries))

    def tokens_by_state(self) -> dict[str, int]:
        """Tokens ever committed, each in exactly one state."""
        return {s: sum(e.tokens for e in self.entries.values() if e.state == s) for s in ALIVE} | self.tokens_gone

    def patches_by_state(self) -> dict[str, float]:
        """Patches ever closed into a segment, each in exactly one state."""
        held: dict[str, float] = {"dropped": self.patches_dropped}
        for state in ALIVE:
            held[state] = sum((e.patches for e in self.entries.values() if e.state == state), start=0.0)
        return held

    def bytes(self) -> int:
        """A bound on what the ledger itself takes."""
        return ENTRY_BYTES * (len(self.entries) + RECENT)

    def state(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "entries": [asdict(entry) for entry in self.entries.values()],
            "tokens_gone": self.tokens_gone,
            "patches_dropped": self.patches_dropped,
            "tokens_committed": self.tokens_committed,
            "recent": [asdict(record) for record in self.recent],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.entries = {int(e["id"]): Entry(**e) for e in state["entries"]}
        self.tokens_gone = {key: int(state["tokens_gone"][key]) for key in ("merged", "dropped")}
        self.patches_dropped = float(state["patches_dropped"])
        self.tokens_committed = int(state["tokens_committed"])
        self.recent.clear()
        self.recent.extend(_record(words) for words in state["recent"])


def _record(words: Mapping[str, Any]) -> BlockRecord:
    """A record as `asdict` gave it, its span a pair again after JSON."""
    from_s, until_s = words["span_s"]
    return BlockRecord(**{**words, "span_s": (float(from_s), float(until_s))})


def uncovered(
    asked_s: tuple[float, float], held: Iterable[tuple[float, float]], slack_s: float
) -> tuple[tuple[float, float], ...]:
    """Parts of `asked_s` that no span in `held` covers; holes of at most `slack_s` are the pause between two frames."""
    holes, at = [], asked_s[0]
    for start, end in sorted(held):
        if start > asked_s[1]:
            break
        if start - at > slack_s:
            holes.append((at, start))
        at = max(at, end)
    if asked_s[1] - at > slack_s:
        holes.append((at, asked_s[1]))
    return tuple(holes)
