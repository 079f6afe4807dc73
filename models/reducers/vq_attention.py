"""VQToken's attention between the map of labels and the codebook (arXiv 2503.16980). It must be trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.functional import one_hot

if TYPE_CHECKING:
    from torch import Tensor


class VQAttention(nn.Module):
    """The map asks, the codes are keys and values; layers are torch's transformer decoder, 2048 wide in between.

    `as_published`: a query is a frame, whose labels enter as numbers, so a new numbering of the same clusters gives
    another answer; the fewer of frames and codes are repeated as a whole and cut, which makes max(T, K) rows.

    The default asks once per code, with the share of frames in which the code was in each cell: K rows whatever the
    number of frames, and a new numbering only permutes them.

    The paper has codes ask and motion be the value; that form is `models/cross_dynamics.py`. Published sizes: 729
    cells, width 896, 8 heads, one layer, dropout 0.1 while training.
    """

    def __init__(self, cells: int, width: int, heads: int = 8, layers: int = 1, *, as_published: bool = False) -> None:
        super().__init__()
        self.to_q_proj = nn.Linear(cells, width)  # names as in published checkpoints, so that they load
        layer = nn.TransformerDecoderLayer(width, heads, dim_feedforward=2048, dropout=0.1, batch_first=True)
        self.transformer_decoder = nn.TransformerDecoder(layer, layers)
        self.as_published = as_published

    def forward(self, labels: Tensor, codes: Tensor) -> Tensor:
        """(rows, width) from labels (T, cells) int64 below K and codes (K, width)."""
        if self.as_published:
            count = max(len(labels), len(codes))
            asked, codes = _repeated(labels.to(codes.dtype), count), _repeated(codes, count)
        else:
            asked = one_hot(labels, len(codes)).to(codes.dtype).mean(0).T
        rows: Tensor = self.transformer_decoder(self.to_q_proj(asked)[None], codes[None])[0]
        return rows


def _repeated(rows: Tensor, count: int) -> Tensor:
    """(count, D) the rows from the start again and again."""
    return rows.repeat(-(-count // len(rows)), 1)[:count]
