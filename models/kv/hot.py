"""HOT memory: blocks at hand, read once and pruned at commit, rendered for every question to share."""

from __future__ import annotations

from math import log1p
from typing import TYPE_CHECKING

import torch

from models.kv import proxy, prune
from models.kv.block import typical
from models.kv.positions import Positions
from models.kv.reading import SINKS, read_segment, replay
from models.kv.render import Slab
from models.kv.tiers import Tiers

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from models.kv.block import Block
    from models.kv.budget import Plan
    from models.kv.ledger import Entry, Ledger
    from models.kv.packed import Packed
    from models.kv.reading import Reader
    from models.kv.snapshot import Found
    from models.rows import Rows

MOST_PINS = 8
_PROXY_PACE = 0.2  # of the moving mean of attention from later blocks
_PATH = 18  # column of `Rows.motion`: path length (`models.dynamics_map.MOTION_NAMES`)
_HIGHEST = 16_384  # position at which `lazy_rebase` moves down, or 3/4 of the trained range where that is less


class Hot:
    """The blocks a question can attend to without recall, after the sinks."""

    def __init__(
        self, reader: Reader, plan: Plan, ledger: Ledger, sinks: Block, make_way: Callable[[Slab, Tiers], None]
    ) -> None:
        """`make_way` is called before a new rendering is made, when the one in use has been let go."""
        self.reader = reader
        self.plan = plan
        self.ledger = ledger
        self.sinks = sinks
        self.make_way = make_way
        self.bound = reader.config.hot_blocks or 0
        self.tiers = Tiers(plan, ledger, reader.sketch_layer, reader.stamp)
        trained = int(0.75 * reader.backbone.trained_positions)
        highest = max(min(_HIGHEST, trained), plan.slab_tokens)
        self.positions = Positions(reader.config.positions or "lazy_rebase", highest)
        self.positions.place(SINKS, sinks.tokens)
        self.promotions: set[int] = set()  # ids that come back at the next commit
        self.slab = self._render()

    def read_by(self, reader: Reader) -> None:
        """From now on stamps are of another epoch; what was read stays as it was read."""
        self.reader, self.tiers.stamp = reader, reader.stamp

    @property
    def blocks(self) -> dict[int, Block]:
        """By id, oldest first."""
        return self.tiers.hot

    @property
    def most_pins(self) -> int:
        """Blocks that may be pinned at once; the rest of HOT stays free for what comes."""
        return min(MOST_PINS, self.bound // 2)

    def in_view(self) -> list[Block]:
        """What is rendered, in order: the sinks, then blocks by time."""
        return [self.sinks, *self.blocks.values()]

    def commit(self, rows: Rows, entry: Entry, now_s: float) -> None:
        """Read a closed segment against what is at hand and keep it for good."""
        tokens = len(rows.mass) + len(self.reader.layout.text_ids(self.reader.stamp(rows.span_s)))
        self._make_room(tokens, now_s)
        start = self.positions.next
        block, mass = read_segment(self.reader, entry.id, rows, start, self.slab.view())
        self.positions.place(entry.id, block.tokens)
        self._note_proxy(mass)
        entry.tokens = block.tokens
        entry.activity = float((rows.motion[:, _PATH] * rows.mass).sum() / rows.mass.sum().clamp_min(1e-6))
        entry.value = float(block.values.float().norm(dim=-1).mean())
        entry.used_s, entry.reason = now_s, "newly committed"
        self.ledger.add(entry)
        self.blocks[entry.id] = self._adopt(block)
        self.slab.append([block], [start])
        self._note_asked()

    def rebuild(self) -> None:
        """Render anew from raw keys."""
        self.slab = Slab(self.reader.backbone, 0)  # let go first: the plan counts two renderings, never three
        self.make_way(self.slab, self.tiers)
        self.slab = self._render()

    def load(self, found: Found, now_s: float) -> None:
        """Go on from a snapshot whose ledger is loaded already; what a larger memory had beyond the bound is pruned."""
        state = found.state
        self.positions.starts = {int(block_id): start for block_id, start in state.starts.items()}
        self.positions.next, self.positions.epoch = state.next_position, state.epoch
        self.promotions = set(state.promotions)
        self.tiers.hot = {i: self._adopt(block) for i, block in sorted(found.hot.items())}
        self.tiers.warm = {i: self.tiers.stored(block) for i, block in found.warm.items()}
        self.tiers.cold = found.cold
        pinned = sorted(entry.id for entry in self.ledger.entries.values() if entry.pinned)
        for block_id in pinned[: max(0, len(pinned) - self.most_pins)]:  # the oldest: pins never leave by pruning
            self.ledger.entries[block_id].pinned = False
        self._prune(self.bound, now_s)
        if self.reader.config.policy in prune.FORGETTING:
            self.tiers.forget_reserve(f"the policy {self.reader.config.policy} keeps nothing in reserve")
        self.tiers.fit(now_s)
        self.rebuild()

    def _make_room(self, tokens: int, now_s: float) -> None:
        """Before a block is read: bring back what was recalled twice, prune, keep positions bounded."""
        came = self._promote(now_s)
        left = False
        if len(self.blocks) + 1 > self.bound:
            left = self._prune(min(self.bound - 1, int(prune.HYSTERESIS * self.bound)), now_s)
        if came or left:
            self.positions.after_change(self.in_view(), came)
        if self.positions.must_move(tokens):
            self.positions.renumber(self.in_view())
            came = True
        if came or left:
            self.rebuild()

    def _prune(self, keep: int, now_s: float) -> bool:
        config = self.reader.config
        gone = prune.victims(config.policy, self._facts(now_s), keep, config.seed)
        for block_id, score, reason in gone:
            if config.policy in prune.FORGETTING:
                self.tiers.forget(block_id, score, reason)
            else:
                self.tiers.demote(block_id, score, reason, now_s)
            self.positions.forget(block_id)
        return bool(gone)

    def _promote(self, now_s: float) -> bool:
        """Blocks recalled twice within an hour come back; never so many that they push out all the rest."""
        wanted = [i for i in sorted(self.promotions) if i in self.tiers.warm or i in self.tiers.cold]
        wanted = wanted[-max(1, self.bound // 4) :]
        self.promotions.clear()
        self._prune(max(0, self.bound - 1 - len(wanted)), now_s) if wanted else None
        for block_id in wanted:
            warm, cold = self.tiers.warm.pop(block_id, None), self.tiers.cold.pop(block_id, None)
            if warm is not None:
                block: Block | Packed = warm
            elif cold is not None:
                block = replay(self.reader, self.sinks, [cold])[0]
            else:  # thinned away by the pruning just above
                continue
            self.blocks[block_id] = self._adopt(block)
            self.ledger.move(block_id, "hot", block.tokens, "recalled twice within an hour")
        self.tiers.hot = dict(sorted(self.blocks.items()))
        return bool(wanted)

    def _adopt(self, block: Block | Packed) -> Block:
        """A block that comes to HOT: on the device, with what the policy looks at, worked out once."""
        here = block.to(self.reader.backbone.like.device)
        entry = self.ledger.entries[here.id]
        entry.key_length = entry.key_length or here.key_length()  # a snapshot may be older than this fact
        return here.with_unit_key() if self.reader.config.policy in prune.COMPARING else here

    def _facts(self, now_s: float) -> list[prune.Facts]:
        """What scores look at, for every block at hand."""
        found, blocks = [], list(self.blocks.values())
        compared = typical(blocks) if self.reader.config.policy in prune.COMPARING else [0.0] * len(blocks)
        for block, alike, like_all in zip(blocks, self._likeness(), compared, strict=True):
            entry = self.ledger.entries[block.id]
            found.append(
                prune.Facts(
                    id=block.id,
                    age_s=max(0.0, now_s - entry.until_s),
                    novelty=1.0 - alike,
                    mass=log1p(entry.patches) + entry.activity,
                    proxy=entry.proxy,
                    use=entry.use_at(now_s),
                    value=entry.value,
                    pinned=entry.pinned,
                    key_length=entry.key_length,
                    asked=entry.asked,
                    typical=like_all,
                )
            )
        return found

    def _likeness(self) -> list[float]:
        """Largest cosine of each block's mean raw key to any later block's; -1 for the newest."""
        if not self.blocks:
            return []
        about = torch.stack([block.mean_key for block in self.blocks.values()])
        later = torch.ones(len(about), len(about), dtype=torch.bool, device=about.device).triu(1)
        found: list[float] = (about @ about.T).masked_fill(~later, -1.0).amax(1).tolist()
        return found

    def _note_proxy(self, mass: Tensor) -> None:
        """How much a new block attends to each older one stands in for questions that nobody has asked yet."""
        mass = mass.cpu()  # once: a device would be waited for at every block
        shares, at = {}, self.sinks.tokens
        for block in self.blocks.values():
            shares[block.id] = float(mass[at + block.rows_from : at + block.tokens].sum())
            at += block.tokens
        total = sum(shares.values()) or 1.0
        for block_id, share in shares.items():
            entry = self.ledger.entries[block_id]
            pace = _PROXY_PACE if entry.proxies else 1.0
            entry.proxy += pace * (share / total * len(shares) - entry.proxy)
            entry.proxies += 1

    def _note_asked(self) -> None:
        """Ask a question that nobody asked of all that is at hand; only under policies that go by the answer."""
        if self.reader.config.policy not in prune.ASKING:
            return
        shares = proxy.ask(self.reader, self.slab.view(), self.positions.next, self.in_view())
        for block, share in zip(self.blocks.values(), shares[1:], strict=True):
            self.ledger.entries[block.id].asked = share

    def _render(self) -> Slab:
        blocks = self.in_view()
        slab = Slab(self.reader.backbone, self.plan.slab_tokens)
        slab.append(blocks, [self.positions.starts[block.id] for block in blocks])
        return slab
