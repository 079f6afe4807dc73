"""What to try next with a broker, and when. Pure but for the dice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from stream.mqtt.broker import Version
from stream.mqtt.limits import Limits, backoff_s
from stream.mqtt.trouble import Trouble, TroubleKind

REFUSED = ("auth_failed", "id_taken", "bad_id")  # a person has to act: trying soon again only fills logs


class Versions:
    """Which protocol version to try next: 5 first, 3.1.1 where a broker refuses it or makes nothing of it."""

    def __init__(self, wanted: Literal["auto", "5", "3.1.1"]) -> None:
        self._fixed = wanted != "auto"
        self.next: Version = "3.1.1" if wanted == "3.1.1" else "5"
        self._refused = False  # the broker said that it does not know version 5: do not ask again

    def other_instead_of(self, version: Version, kind: TroubleKind) -> bool:
        """True when the other version is worth a try at once. A door shut without a word is tried both ways."""
        if self._fixed or kind not in {"version", "unclear"}:
            return False
        self._refused = self._refused or (version == "5" and kind == "version")
        self.next = "3.1.1" if version == "5" or self._refused else "5"
        return version == "5"

    def worked(self) -> None:
        """A connection was made. The next one begins with 5 again, unless that was refused in so many words."""
        if not self._fixed:
            self.next = "3.1.1" if self._refused else "5"


class Patience:
    """How long to wait after each trouble; grows, and starts anew after a connection that lasted.

    Connections that are accepted and lost at once, several in a row, mean that somebody else uses our client id: each
    of the two throws the other out. Version 3.1.1 has no way to say so, and many a broker of version 5 does not.
    """

    def __init__(self, limits: Limits, chance: Callable[[], float]) -> None:
        self._limits, self._chance = limits, chance
        self._tries = self._refusals = self._brief = 0

    def after(self, trouble: Trouble, online_s: float | None) -> tuple[Trouble, float]:
        """What it is taken for, and the pause, s. `online_s`: how long the connection lasted; None: there was none."""
        if online_s is not None and online_s >= self._limits.settled_s:
            self._tries = self._refusals = self._brief = 0
        elif online_s is not None and trouble.kind == "lost":
            self._brief += 1
        if self._brief >= self._limits.brief_losses and trouble.kind == "lost":
            trouble = Trouble("id_taken", f"{trouble} It was so {self._brief} times in a row, right after connecting.")
        if trouble.kind in REFUSED:
            self._refusals += 1
            return trouble, backoff_s(self._limits.refused_backoff_s, self._refusals - 1, self._chance())
        self._tries += 1
        return trouble, backoff_s(self._limits.backoff_s, self._tries - 1, self._chance())
