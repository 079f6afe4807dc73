"""One camera's memory: frames in, blocks committed once, pruned to one byte budget, forked per question."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from models.depth import beyond
from models.kv import snapshot as kept
from models.kv.budget import MemoryConfig, plan
from models.kv.fork import View
from models.kv.hot import Hot
from models.kv.ledger import Entry, Ledger, Progress
from models.kv.pool import Crowded, Forks
from models.kv.reach import Reach
from models.kv.reading import Reader, read_sinks
from models.kv.sizes import Sizes
from models.perception import Perception
from stream.flow import BlockRecord, Holdings, MediaEpoch, Question, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from models.backbone import Backbone
    from models.checkpoint import Checkpoint
    from models.cross_dynamics import CrossDynamics
    from models.rows import Rows

    _Shown = tuple[
        tuple[tuple[Rows, Tensor], ...], tuple[Rows, Tensor] | None
    ]  # frames and open segment, with fused rows

__all__ = ["Crowded", "Memory", "MemoryConfig", "open_memory"]

_STAMP_TOKENS = len("[00:00:00-00:00:00]")  # a token is at least one letter
_PROMOTE_WITHIN_S = 3600.0


def open_memory(backbone: Backbone, checkpoint: Checkpoint, config: MemoryConfig, epoch: MediaEpoch) -> Memory:
    """A camera's memory on a checkpoint, with what `config` leaves open as the checkpoint recommends."""
    config = config.with_recommended(checkpoint.card.memory)
    settings, dim, grid = config.perception(), checkpoint.dim, checkpoint.grid
    return Memory(backbone, checkpoint.cross_dynamics, lambda: Perception(settings, dim, grid), config, epoch)


class Memory:
    """Implements `stream.ports.StreamMemory`. All calls from one thread."""

    def __init__(
        self,
        backbone: Backbone,
        cross_dynamics: CrossDynamics,
        perception: Perception | Callable[[], Perception],
        config: MemoryConfig,
        epoch: MediaEpoch,
    ) -> None:
        """`perception`: a fresh one, or what makes one. Raises ValueError when the budget cannot hold it all."""
        self._make = perception if callable(perception) else _another(perception)
        self.perception = perception() if callable(perception) else perception
        self.config = config.with_recommended({})
        layout = backbone.layout(bool(self.config.stamps))
        self._reader = Reader(backbone, layout, cross_dynamics, self.config, epoch, ZoneInfo(config.timezone))
        self.config.check_heads(backbone.layers, backbone.heads, backbone.model_id)
        self.plan = plan(self.config, self._sizes())
        self._sinks = read_sinks(self._reader)
        self._forks = Forks(self.config.max_forks, self.plan.forks)
        self._shown: _Shown | None = None  # until the next frame
        self.ledger: Ledger
        self._hot: Hot
        self._progress: Progress
        self._reset()

    @property
    def epoch(self) -> MediaEpoch:
        """Wall-clock time of media time zero; a restored memory brings its own."""
        return self._reader.epoch

    @epoch.setter
    def epoch(self, epoch: MediaEpoch) -> None:
        if epoch.wall_s != self._reader.epoch.wall_s:
            self._reader = replace(self._reader, epoch=epoch)
            self._hot.read_by(self._reader)

    @property
    def seen_s(self) -> float:
        """Media time of the newest thing seen, or known to be unchanged."""
        return self._progress.seen_s

    @property
    def backbone(self) -> Backbone:
        """The language model that reads this memory."""
        return self._reader.backbone

    def append(self, tokens: Tokens) -> None:
        """See one frame's tokens; a segment that it closes is committed."""
        closed = self.perception.see(tokens)
        if closed is not None:
            self._close(closed)
        self._progress.see(tokens.span_s[1], float(tokens.mass.sum()))
        self._progress.judge(tokens.depth)
        self._shown = None

    def hold(self, until_s: float) -> None:
        """Nothing has changed until `until_s`: what is on screen lasts, and counts as seen, that long."""
        if self._progress.opened is not None:
            self.perception.hold(until_s)
            self._progress.until(until_s)
            self._shown = None

    def fork(self, question: Question) -> View:
        """A snapshot to answer from. Raises `Crowded` when too many are open, ValueError for too long a question."""
        self._forks.make_room()
        view = View(question, self._reach(), self._reader)
        self._forks.admit(view, self._hot.slab, self._hot.tiers)
        return view

    def used(self, view: View) -> None:
        """Take note of what a finished answer attended to; blocks recalled twice within an hour come back to stay."""
        for block_id, share in view.shares().items():
            entry = self.ledger.entries.get(block_id)
            if entry is None:
                continue
            entry.use, entry.used_s = entry.use_at(self.seen_s) + share, self.seen_s
            if block_id in view.recalled:
                if self.seen_s - entry.recalled_s <= _PROMOTE_WITHIN_S:
                    self._hot.promotions.add(block_id)
                entry.recalls, entry.recalled_s = entry.recalls + 1, self.seen_s

    def pin(self, block_id: int, *, pinned: bool = True) -> None:
        """Keep a block at hand for good, or stop doing so. Raises ValueError with a sentence."""
        entry = self.ledger.entries.get(block_id)
        if entry is None or entry.state != "hot":
            raise ValueError(f"Block {block_id} is not at hand; only such blocks can be pinned.")
        most = self._hot.most_pins
        if pinned and not entry.pinned and sum(e.pinned for e in self.ledger.entries.values()) >= most:
            raise ValueError(f"{most} blocks are pinned already; unpin one first.")
        entry.pinned = pinned

    def holdings(self) -> Holdings:
        """What is held now; bytes and counts are exact."""
        entries, progress = self.ledger.entries.values(), self._progress
        opened: tuple[BlockRecord, ...] = () if progress.opened is None else (progress.opened.record(),)
        starts = [e.from_s for e in entries] + [r.span_s[0] for r in opened]
        return Holdings(
            blocks=self.ledger.records() + opened,
            budget_bytes=self.plan.budget,
            bytes_by_part=self.bytes_by_part(),
            tokens_by_state=self.ledger.tokens_by_state(),
            patches_seen=progress.patches_seen,
            patches_by_state=self.ledger.patches_by_state() | {"open": sum(r.patches for r in opened)},
            codes_alive=self.perception.codes_alive,
            frames_seen=progress.frames_seen,
            covered_s=(min(starts), self.seen_s) if starts else None,
            recent=tuple(self.ledger.recent),
            depth_score=progress.depth,
            out_of_depth=beyond(progress.depth),
        )

    def bytes_by_part(self) -> dict[str, int]:
        """Bytes held now, by part; their sum never passes the budget."""
        tiers = self._hot.tiers
        return {
            "hot": self._sinks.size + tiers.hot_bytes(),
            "rendered": self._hot.slab.bytes() + sum(self._forks.stale(self._hot.slab)),
            "warm": tiers.warm_bytes(),
            "cold": tiers.cold_bytes(),
            "forks": self._forks.held(tiers),
            "ledger": self.ledger.bytes() + self._progress.bytes(),
        } | dict(self.perception.bytes())

    def clear(self) -> None:
        """Forget everything but the budget; questions in progress end: what they look at would be held for them."""
        self._forks.close("memory was cleared while it was being answered")
        self.perception = self._make()
        self._reset()

    def snapshot(self, path: Path) -> None:
        """Write all that is needed to answer the same after `restore`; atomic."""
        kept.write(path, self._state(), self.backbone.fingerprint(), self._hot.tiers, self.perception.state_dict())

    def restore(self, path: Path) -> None:
        """Read a snapshot back; nothing is changed when it cannot be. Raises ValueError with a sentence."""
        backbone, grid = self.backbone, self.perception.grid
        limits = kept.Limits(backbone.shape, backbone.dim, grid, self.plan.block_tokens, 2 * self.plan.budget)
        found = kept.read(path, backbone.fingerprint(), limits)
        perception = self._make()
        try:
            perception.load_state_dict(found.perception)
        except (ValueError, KeyError, RuntimeError, TypeError) as error:
            raise ValueError(
                f"The snapshot {path.name} was made with other memory settings; start without it."
            ) from error
        reader = replace(self._reader, epoch=MediaEpoch(found.state.epoch_wall_s))
        ledger, progress = Ledger(), Progress.of(found.state.progress)
        ledger.load(found.state.ledger)
        hot = Hot(reader, self.plan, ledger, self._sinks, self._forks.expel)
        hot.load(found, progress.seen_s)
        # only now: what failed above changed nothing
        self._forks.close("another memory was restored while it was being answered")
        self.perception, self._reader = perception, reader
        self.ledger, self._hot, self._progress, self._shown = ledger, hot, progress, None

    def _close(self, rows: Rows) -> None:
        """A segment ended: commit it, or extend the block before where it says nothing new."""
        opened = self._progress.take()
        patches = rows.patches if opened is None else opened.patches
        if not len(rows.mass):
            self._extend(rows, patches)
            return
        entry = Entry(self._progress.next_id, "hot", *rows.span_s, rows.frames, 0, patches)
        self._progress.next_id += 1
        if not self._hot.bound:
            self.ledger.add(entry)
            self.ledger.drop(entry.id, "no memory is kept (memory.hot_blocks is 0)")
            return
        self._hot.commit(rows, entry, max(self.seen_s, rows.span_s[1]))

    def _extend(self, rows: Rows, patches: float) -> None:
        """A stretch with nothing new adds no token: the block before it lasts longer."""
        newest = max(self.ledger.entries, default=None)
        if newest is None:
            self.ledger.patches_dropped += patches
            return
        entry = self.ledger.entries[newest]
        entry.until_s = max(entry.until_s, rows.span_s[1])
        entry.frames += rows.frames
        entry.patches += patches

    def _reach(self) -> Reach:
        """Everything a question may look at now, by reference."""
        if self._shown is None:
            self._shown = self._look()
        (instant, opened_now), hot, tiers = self._shown, self._hot, self._hot.tiers
        return Reach(
            blocks=tuple(hot.in_view()),
            slab=hot.slab,
            rendered=hot.slab.view(),
            starts=dict(hot.positions.starts),
            next=hot.positions.next,
            warm=tuple(tiers.warm.values()),
            cold=tuple(tiers.cold.values()),
            spans_s={entry.id: entry.span_s for entry in self.ledger.entries.values()},
            frames={entry.id: entry.frames for entry in self.ledger.entries.values()},
            instant=instant,
            opened=opened_now,
            seen_s=self.seen_s,
            depth=self._progress.depth,
        )

    def _sizes(self) -> Sizes:
        backbone, (rows, columns) = self.backbone, self.perception.grid
        return Sizes(
            token=backbone.token_bytes,
            dim=backbone.dim,
            key=backbone.kv_heads * backbone.head_dim,
            number=backbone.like.element_size(),
            cells=rows * columns,
            sinks=len(self._reader.layout.prefix_ids),
            stamp=_STAMP_TOKENS,
            perception=sum(self.perception.bytes().values()),
        )

    def _look(self) -> _Shown:
        """The instant window, and the open segment where it holds more than that."""
        fuse = self._reader.fuse
        instant = tuple((rows, fuse(rows)) for rows in self.perception.instant())
        if not self._hot.bound or self.perception.open_frames <= len(instant):
            return instant, None
        opened = self.perception.open_segment()
        return instant, None if opened is None or not len(opened.mass) else (opened, fuse(opened))

    def _reset(self) -> None:
        self.ledger = Ledger()
        self._hot = Hot(self._reader, self.plan, self.ledger, self._sinks, self._forks.expel)
        self._progress = Progress()
        self._shown = None

    def _state(self) -> kept.State:
        positions = self._hot.positions
        return kept.State(
            ledger=self.ledger.state(),
            progress=asdict(self._progress),
            epoch_wall_s=self.epoch.wall_s,
            starts={str(k): v for k, v in positions.starts.items()},
            next_position=positions.next,
            epoch=positions.epoch,
            promotions=sorted(self._hot.promotions),
        )


def _another(perception: Perception) -> Callable[[], Perception]:
    return lambda: Perception(perception.config, perception.dim, perception.grid)
