"""Stage one: vision tower and projector on dense labels, one per pooled cell.

Measured before (docs/LOG.md): trained from answers alone, a small tower does not find objects in the time there is;
trained on labels per cell it does in minutes. The heads are thrown away; what they force into each token is that kind
and colour can be read off it by one linear map, which is also what makes tokens of one object fall into one code.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from models.vision.torch_tower import see

REFRESH = 80  # steps between new pictures
RENEWED = 120  # pictures renewed each time

if TYPE_CHECKING:
    from torch import Tensor

    from models.checkpoint import Checkpoint
    from models.training.lessons import Teacher


def train_tower(
    checkpoint: Checkpoint,
    teacher: Teacher,
    *,
    minutes: float,
    seed: int,
    batch: int = 32,
    pictures: int = 6000,
    learning_rate: float = 1e-3,
    say: Callable[[str], None],
) -> dict[str, float]:
    """Train for so many minutes; returns the running accuracies on cells that hold something."""
    model = checkpoint.model.train()
    heads = nn.ModuleDict(
        {
            "kind": nn.Linear(checkpoint.dim, len(teacher.kinds) + 1),
            "colour": nn.Linear(checkpoint.dim, len(teacher.colours) + 1),
        }
    )
    heads.to(checkpoint.device)
    seen = [*model.model.vision_tower.parameters(), *model.model.multi_modal_projector.parameters()]
    optimiser = torch.optim.AdamW([*seen, *heads.parameters()], lr=learning_rate, weight_decay=0.02, betas=(0.9, 0.98))
    pool = _Pool(checkpoint, teacher, pictures, seed)
    started, step, shown, scores = time.monotonic(), 0, 0.0, dict.fromkeys(heads, 0.0)
    while (spent := (time.monotonic() - started) / 60) < minutes:
        rate = learning_rate * min(1.0, (step + 1) / 100) * (1 - 0.95 * spent / minutes)
        for group in optimiser.param_groups:
            group["lr"] = rate
        if step and step % REFRESH == 0:
            pool.renew(seed * 1_000_003 + step)
        pixels, labels = pool.draw(batch)
        tokens = see(model, pixels)
        losses = {}
        for column, (name, head) in enumerate(heads.items()):
            logits, wanted = head(tokens).flatten(0, 1), labels[..., column].flatten()
            losses[name] = _loss(logits, wanted)
            scores[name] = 0.98 * scores[name] + 0.02 * _accuracy(logits, wanted) if step else _accuracy(logits, wanted)
        loss = torch.stack(list(losses.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(seen, 1.0)
        optimiser.step()
        step += 1
        if time.monotonic() - shown > 15:
            shown = time.monotonic()
            say(
                f"tower {spent:5.1f} min  step {step}  loss {float(loss.detach()):.3f}  "
                + "  ".join(f"{k} {v:.3f}" for k, v in scores.items())
            )
    model.eval()
    return {**scores, "steps": float(step), "minutes": minutes}


class _Pool:
    """Pictures painted once and looked at several times, each time in another light; a few are new all the while."""

    def __init__(self, checkpoint: Checkpoint, teacher: Teacher, size: int, seed: int) -> None:
        self._checkpoint, self._teacher = checkpoint, teacher
        self._rng = torch.Generator().manual_seed(seed)
        self._next = 0
        self._pixels, self._labels = self._paint(size, seed)

    def renew(self, seed: int) -> None:
        """Replace the oldest pictures."""
        pixels, labels = self._paint(RENEWED, seed + 1)
        at = (torch.arange(len(pixels)) + self._next) % len(self._pixels)
        self._pixels[at], self._labels[at] = pixels, labels
        self._next = int(at[-1]) + 1

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) pixels with random gain, tint and noise, (B, rows, columns, 2) labels."""
        at = torch.randint(len(self._pixels), (count,), generator=self._rng)
        light = (
            1
            + 0.15 * torch.randn(count, 1, 1, 1, generator=self._rng)
            + 0.04 * torch.randn(count, 3, 1, 1, generator=self._rng)
        )
        pixels = self._pixels[at].float() * light + 0.03 * torch.randn(1, generator=self._rng) * torch.randn(
            count, *self._pixels.shape[1:], generator=self._rng
        )
        device = self._checkpoint.device
        return pixels.to(device), self._labels[at].to(device)

    def _paint(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        pictures, labels = self._teacher.pictures(count, self._checkpoint.grid, seed)
        pixels = torch.stack([self._checkpoint.picture.tensor(picture).half() for picture in pictures])
        return pixels, torch.from_numpy(labels).long()


def _loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cells that hold something count as much as all empty ones together: most cells are empty."""
    clear = wanted >= 0
    held = wanted > 0
    each = cross_entropy(logits, wanted.clamp_min(0), reduction="none")
    return (each * held).sum() / held.sum().clamp_min(1) + (each * (clear & ~held)).sum() / (
        clear & ~held
    ).sum().clamp_min(1)


def _accuracy(logits: Tensor, wanted: Tensor) -> float:
    held = wanted > 0
    return float((logits.argmax(1) == wanted)[held].float().mean()) if bool(held.any()) else 0.0
