"""The questions in progress on one memory: how many, and how many bytes they may hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from stream.flow import Status

if TYPE_CHECKING:
    from models.kv.fork import View
    from models.kv.render import Slab
    from models.kv.tiers import Tiers


class Crowded(RuntimeError):
    """More questions at once than the memory's budget holds; asking again later will do."""

    status: Status = "overloaded"


class Forks:
    """Views that are open. One that is dropped without being closed leaves with the last reference to it."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self.most = most
        self.most_bytes = most_bytes
        self._views: WeakSet[View] = WeakSet()

    def make_room(self) -> None:
        """Raises `Crowded` when `most` are open already."""
        for view in [v for v in self._views if v.closed]:
            self._views.discard(view)
        if len(self._views) >= self.most:
            raise Crowded(f"{len(self._views)} questions are being answered already; ask again in a moment.")

    def admit(self, view: View, current: Slab, tiers: Tiers) -> None:
        """Raises `Crowded` when the bytes it may come to hold are not there."""
        if self._bytes(current, tiers) + view.reserved > self.most_bytes:
            raise Crowded(
                "Questions in progress fill the memory's budget; ask again in a moment or raise memory.budget."
            )
        self._views.add(view)

    def held(self, tiers: Tiers) -> int:
        """Bytes that open views hold or may come to hold: their own rows, and blocks that memory itself let go."""
        known = {tensor.data_ptr() for tensor in tiers.tensors()} if self._views else set()
        left = {t.data_ptr(): t.nbytes for view in self._views for t in view.reached() if t.data_ptr() not in known}
        return sum(view.reserved for view in self._views) + sum(left.values())

    def stale(self, current: Slab) -> list[int]:
        """Bytes of each old rendering that an open view still reads."""
        held = {id(v.slab): v.slab.bytes() for v in self._views if v.slab is not None and v.slab is not current}
        return list(held.values())

    def expel(self, current: Slab, tiers: Tiers) -> None:
        """The last resort that keeps the budget: end the views that hold the oldest renderings."""
        for view in sorted(self._views, key=lambda v: v.seen_s):
            if self._bytes(current, tiers) <= self.most_bytes:
                return
            if view.slab is not current:
                view.close("memory moved on while it was being answered, and its budget has no room for both")

    def close(self, because: str) -> None:
        """End all views."""
        for view in list(self._views):
            view.close(because)

    def _bytes(self, current: Slab, tiers: Tiers) -> int:
        """What views hold, and old renderings beyond the one that the plan counts already."""
        return self.held(tiers) + sum(self.stale(current)[1:])
