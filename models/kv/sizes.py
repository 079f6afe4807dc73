"""How many bytes the parts of a memory take, worked out before there are any."""

from __future__ import annotations

from dataclasses import dataclass

from models.rows import MOTION_FEATURES


@dataclass(frozen=True, slots=True)
class Sizes:
    """What does not depend on the settings: the model's shape and the camera's grid."""

    token: int  # bytes of keys and values of one token
    dim: int  # width of the language model
    key: int  # numbers in one layer's key of one token, all heads
    number: int  # bytes per number
    cells: int  # of the picture's grid
    sinks: int  # tokens of the pinned prefix
    stamp: int  # tokens of a time stamp, at most
    perception: int  # bytes of token base, dynamics map, open segment and instant window

    def block(self, rows: int, tokens: int, means: int = 1) -> int:
        """Bytes of one block: keys, values, and what it means; `means`: vectors of the shape of a key of all layers."""
        return tokens * self.token + self._meaning(rows) + means * (self.token // self.number // 2 * 4)

    def packed(self, rows: int, tokens: int, bits: int) -> int:
        """Bytes of the same block with `bits` to a number; every channel has a scale of two float32."""
        numbers = self.token // self.number
        return numbers * tokens * bits // 8 + numbers * 8 + self._meaning(rows)

    def _meaning(self, rows: int) -> int:
        return rows * (self.dim * self.number + 4 + self.cells * 4)

    def cold(self, rows: int) -> int:
        """Bytes of the same block in COLD."""
        return rows * (self.dim * self.number + 4 + self.cells * 2 + self.key * self.number) + self.dim * 4

    def shown(self, frames: int, rows: int) -> int:
        """Bytes of the instant window and the open segment as a question holds them: rows, motion, fused rows."""
        row = 2 * self.dim * 4 + (MOTION_FEATURES + 1) * 4 + 8
        return (frames * self.cells + rows) * row + rows * self.cells * 4
