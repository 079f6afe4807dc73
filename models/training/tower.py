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
from models.training.pictures import LOT, Lot, painted
from models.vision.torch_tower import see

REFRESH = 80  # steps between new pictures where one processor does everything
SCORED = 4  # steps between two looks at how well it does: a look waits for the device
REFRESH_AHEAD = 4  # and where others paint

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    workers: int = 0,
) -> dict[str, float]:
    """Train until the course is over; returns the running accuracies on cells that hold something.

    `workers`: processes that paint beside it.
    """
    eyes = _Eyes(checkpoint, teacher)
    optimiser = torch.optim.AdamW(eyes.parameters(), lr=learning_rate, weight_decay=0.02, betas=(0.9, 0.98))
    scores: dict[str, float] = {}
    refresh = REFRESH_AHEAD if workers else REFRESH
    if found := course.resume():
        eyes.load_state_dict(found["eyes"])
        optimiser.load_state_dict(found["optimiser"])
        scores = found["scores"]
    pool = _Pool(checkpoint, painted(checkpoint, teacher, seed * 1_000_003 + course.step, workers), pictures)
    course.begin()
    while not course.over:
        rate = learning_rate * min(1.0, (course.step + 1) / 100) * (1 - 0.95 * course.part)
        for group in optimiser.param_groups:
            group["lr"] = rate
        if course.step and course.step % refresh == 0:
            pool.renew()
        with narrow(checkpoint.device):
            loss, logits, wanted = eyes(*pool.draw(batch))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(eyes.parameters(), 1.0)
        optimiser.step()
        if course.step % SCORED == 0:
            scores = _smoothed(scores, {"loss": float(loss.detach()), **_right(logits, wanted)})
        course.step += 1
        course.note(scores)
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

    def forward(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """(B, 3, S, S) pixels and (B, rows, columns, labels) to the loss; (cells, classes), (cells,) by label."""
        tokens = see(self._whole[0], pixels)
        logits = {name: head(tokens).flatten(0, 1) for name, head in self.heads.items()}
        wanted = {name: labels[..., column].flatten() for column, name in enumerate(self.heads)}
        return torch.stack([_loss(logits[name], wanted[name]) for name in logits]).sum(), logits, wanted


class _Pool:
    """Pictures painted once and looked at several times, each time in another light; a few are new all the while."""

    def __init__(self, checkpoint: Checkpoint, lots: Iterator[Lot], size: int) -> None:
        self._device, self._lots = checkpoint.device, lots
        self._next = 0
        first = [next(lots) for _ in range(max(1, size // LOT))]
        self._pixels = torch.cat([pixels for pixels, _ in first]).to(self._device)
        self._labels = torch.cat([labels for _, labels in first]).to(self._device)

    def renew(self) -> None:
        """Replace the oldest pictures."""
        pixels, labels = next(self._lots)
        at = slice(self._next, self._next + LOT)
        self._pixels[at], self._labels[at] = pixels.to(self._device), labels.to(self._device)
        self._next = (self._next + LOT) % len(self._pixels)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) pixels with random gain, tint and noise, (B, rows, columns, labels) labels."""
        device = self._device
        at = torch.randint(len(self._pixels), (count,), device=device)
        light = (
            1 + 0.15 * torch.randn(count, 1, 1, 1, device=device) + 0.04 * torch.randn(count, 3, 1, 1, device=device)
        )
        noise = 0.03 * torch.randn(1, device=device) * torch.randn(count, *self._pixels.shape[1:], device=device)
        return self._pixels[at].float() * light + noise, self._labels[at]


def _smoothed(before: dict[str, float], now: dict[str, float]) -> dict[str, float]:
    """Running means; what did not occur now stays as it was."""
    return before | {name: 0.95 * before.get(name, value) + 0.05 * value for name, value in now.items()}


def _right(logits: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    """Per label that occurs: accuracy where something is, and share of empty cells taken for something."""
    found = {}
    for name, told in logits.items():
        if bool((wanted[name] > 0).any()):
            found[name] = _accuracy(told, wanted[name])
            found[f"false_{name}"] = _false(told, wanted[name])
    return found


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
