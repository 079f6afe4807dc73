"""Stage one: vision tower and projector on dense labels, one per pooled cell.

Measured before (docs/LOG.md): trained from answers alone, a small tower does not find objects in the time there is;
trained on labels per cell it does in minutes. The heads are thrown away; what they force into each token is that kind
and colour can be read off it by one linear map, which is also what makes tokens of one object fall into one code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from models.training.course import narrow
from models.vision.torch_tower import see

REFRESH = 80  # steps between new pictures
RENEWED = 120  # pictures renewed each time

if TYPE_CHECKING:
    from torch import Tensor

    from models.checkpoint import Checkpoint
    from models.training.course import Course
    from models.training.lessons import Teacher


def train_tower(
    checkpoint: Checkpoint,
    teacher: Teacher,
    course: Course,
    *,
    seed: int,
    batch: int = 16,
    pictures: int = 6000,
    learning_rate: float = 1e-3,
) -> dict[str, float]:
    """Train until the course is over; returns the running accuracies on cells that hold something."""
    eyes = _Eyes(checkpoint, teacher)
    optimiser = torch.optim.AdamW(eyes.parameters(), lr=learning_rate, weight_decay=0.02, betas=(0.9, 0.98))
    scores: dict[str, float] = {}
    if found := course.resume():
        eyes.load_state_dict(found["eyes"])
        optimiser.load_state_dict(found["optimiser"])
        scores = found["scores"]
    pool = _Pool(checkpoint, teacher, pictures, seed * 1_000_003 + course.step)
    course.begin()
    while not course.over:
        rate = learning_rate * min(1.0, (course.step + 1) / 100) * (1 - 0.95 * course.part)
        for group in optimiser.param_groups:
            group["lr"] = rate
        if course.step and course.step % REFRESH == 0:
            pool.renew(seed * 1_000_003 + course.step)
        with narrow(checkpoint.device):
            loss, right = eyes(*pool.draw(batch))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(eyes.parameters(), 1.0)
        optimiser.step()
        scores = {name: 0.98 * scores.get(name, value) + 0.02 * value for name, value in right.items()} | {
            name: value for name, value in scores.items() if name not in right
        }
        course.step += 1
        course.note({"loss": float(loss.detach()), **scores})
        if course.due:
            course.keep({"eyes": eyes.state_dict(), "optimiser": optimiser.state_dict(), "scores": scores})
    course.keep({"eyes": eyes.state_dict(), "optimiser": optimiser.state_dict(), "scores": scores})
    checkpoint.model.eval()
    return {**scores, "steps": float(course.step), "minutes": course.minutes}


class _Eyes(nn.Module):
    """Tower, projector and one linear head per label; the heads are thrown away afterwards."""

    def __init__(self, checkpoint: Checkpoint, teacher: Teacher) -> None:
        super().__init__()
        whole: Any = checkpoint.model.train()
        self._whole = [whole]  # in a list: its language model is not ours to train
        self.tower, self.projector = whole.model.vision_tower, whole.model.multi_modal_projector
        self.heads = nn.ModuleDict({n: nn.Linear(checkpoint.dim, 1 + len(c)) for n, c in teacher.labels.items()})
        self.heads.to(checkpoint.device)

    def forward(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, float]]:
        """(B, 3, S, S) pixels and (B, rows, columns, labels) to the loss and the accuracy per label that occurs."""
        tokens = see(self._whole[0], pixels)
        losses, right = [], {}
        for column, (name, head) in enumerate(self.heads.items()):
            logits, wanted = head(tokens).flatten(0, 1), labels[..., column].flatten()
            losses.append(_loss(logits, wanted))
            if bool((wanted > 0).any()):
                right[name] = _accuracy(logits, wanted)
                right[f"false_{name}"] = _false(logits, wanted)
        return torch.stack(losses).sum(), right


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
        """(B, 3, S, S) pixels with random gain, tint and noise, (B, rows, columns, labels) labels."""
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


def _false(logits: Tensor, wanted: Tensor) -> float:
    """Share of empty cells that are taken for something."""
    empty = wanted == 0
    return float((logits.argmax(1) > 0)[empty].float().mean()) if bool(empty.any()) else 0.0


def _accuracy(logits: Tensor, wanted: Tensor) -> float:
    held = wanted > 0
    return float((logits.argmax(1) == wanted)[held].float().mean()) if bool(held.any()) else 0.0
