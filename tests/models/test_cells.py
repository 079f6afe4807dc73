"""Tokens of a frame are on the host, in float32, and hold nothing but themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from models.perception import Perception, PerceptionConfig
from models.vision.cells import as_tokens
from models.vision.torch_tower import TorchVision
from stream.flow import Frame
from tests.models.yard import bundled, pictures

FRAME = Frame(3, 1.5, 0.0, np.zeros((2, 2, 3), np.uint8))


class Elsewhere(torch.Tensor):
    """A tensor that says it is on another device until it is brought here, as far as `as_tokens` looks."""

    came = False

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("cuda")

    def cpu(self, *_args: object, **_kwargs: object) -> Tensor:
        Elsewhere.came = True
        return self.as_subclass(Tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tokens_come_to_the_host_whatever_made_them(dtype: torch.dtype) -> None:
    Elsewhere.came = False
    rows = torch.randn(20, 16).to(dtype)
    tokens = as_tokens(rows.as_subclass(Elsewhere), FRAME, (4, 5))
    assert Elsewhere.came
    assert type(tokens.embeds) is Tensor and tokens.embeds.dtype == torch.float32
    assert torch.equal(tokens.embeds, rows.float())
    assert Perception(PerceptionConfig(), 16, (4, 5)).see(tokens) is None  # token base and map take them as they are


def test_a_frame_does_not_keep_the_batch_it_was_seen_in() -> None:
    seen = TorchVision(bundled()).encode(pictures(5))
    assert all(tokens.embeds.untyped_storage().nbytes() == tokens.embeds.nbytes for tokens in seen)
    assert torch.stack([tokens.embeds for tokens in seen]).untyped_storage().nbytes() == 5 * seen[0].embeds.nbytes
    batch = torch.randn(2, 20, 16)
    assert batch[1].untyped_storage().nbytes() == 2 * batch[1].nbytes  # the control: a row of a batch is a view of it
