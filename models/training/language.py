"""Stage three: cross-dynamics attention and language model, on composed histories."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from models.prompt import Layout
from models.training import pointing
from models.training.attention import Note, packed_attention
from models.training.histories import History, Packed, compose, fuse, glance, pack

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from models.checkpoint import Checkpoint
    from models.training.lessons import Teacher
    from models.training.tokens import RunTokens

# columns of Rows.motion that the fused tokens must still tell (positions, velocity, entry, exit, ends): an auxiliary
# head on these made "where" and "moving" learnable in minutes, without it they stay at chance (docs/LOG.md)
TOLD = (2, 3, 6, 7, 8, 9, 10, 11, 12, 14)
POINTING = 1.0  # weight of looking at the right rows beside saying the right words


@dataclass(frozen=True, slots=True)
class LanguagePlan:
    """How the language stage is run."""

    minutes: float = 60.0
    batch: int = 2  # small: here the number of steps counts, not the questions in a step (docs/LOG.md)
    questions: int = 20
    earlier: int = 3  # at most so many whole runs before the last
    glances_fraction: float = 0.1  # of the time, at the start: single frames only, twice as many per step
    long_fraction: float = 0.2  # of the time, at the end: long histories oftenest
    learning_rate: float = 9e-4
    seed: int = 0
    save_every_minutes: float = 8.0
    exam_batches: int = 40  # of four histories, at the end
    probe_pictures: int = 1200  # labelled pictures that tell which rows show what


def train_language(
    checkpoint: Checkpoint,
    teacher: Teacher,
    runs: list[RunTokens],
    held_out: list[RunTokens],
    plan: LanguagePlan,
    *,
    say: Callable[[str], None],
    save: Callable[[dict[str, float]], None],
) -> dict[str, float]:
    """Train for so many minutes; returns accuracy per question kind on runs that were not trained on."""
    students = _Students(checkpoint, teacher, plan)
    optimiser = torch.optim.AdamW(students.groups(), lr=plan.learning_rate, betas=(0.9, 0.98))
    rng = np.random.default_rng(plan.seed)
    started = saved = shown = time.monotonic()
    step, smooth, scores = 0, np.zeros(4), {}
    while (spent := (time.monotonic() - started) / 60) < plan.minutes:
        part = spent / plan.minutes
        rate = plan.learning_rate * min(1.0, (step + 1) / 40) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * part)))
        for group in optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        histories = _draw(runs, teacher, plan, rng, part)
        loss, told = students.loss(histories)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(students.parameters(), 1.0)
        optimiser.step()
        smooth = 0.98 * smooth + 0.02 * told if step else told
        step += 1
        now = time.monotonic()
        if now - shown > 30:
            shown = now
            losses = "answers {:.3f}  looks {:.2f} {:.2f} {:.2f}".format(*smooth)
            say(f"language {spent:5.1f} min  step {step}  {losses}  rate {rate:.1e}")
        if now - saved > plan.save_every_minutes * 60:
            scores = students.examine(held_out, teacher, plan)
            say("language  " + "  ".join(f"{kind} {value:.2f}" for kind, value in sorted(scores.items())))
            save(scores)
            saved = time.monotonic()
    scores = students.examine(held_out, teacher, plan, batches=plan.exam_batches)
    save(scores)
    return scores


def _draw(
    runs: list[RunTokens], teacher: Teacher, plan: LanguagePlan, rng: np.random.Generator, part: float
) -> list[History]:
    """A batch of one length class: single frames first, then short histories, then all lengths."""
    found: list[History] = []
    if part < plan.glances_fraction:
        while len(found) < 2 * plan.batch:
            seen = glance(runs, teacher, rng, plan.questions // 2)
            found += [seen] if seen else []
        return found
    grown = (part - plan.glances_fraction) / (1 - plan.glances_fraction) * 4  # all lengths a quarter of the rest on
    most = min(plan.earlier, int(grown * (plan.earlier + 1)))
    # As much time for each length, since a step costs what its history is long; in the end mostly long ones.
    share = np.arange(1.0, most + 2) ** (1 if part > 1 - plan.long_fraction else -1)
    earlier = int(rng.choice(most + 1, p=share / share.sum()))
    while len(found) < plan.batch:
        history = compose(runs, teacher, rng, earlier, plan.questions)
        if history.items:
            found.append(history)
    return found


class _Students:
    """The trained parts, with the heads that are thrown away afterwards."""

    def __init__(self, checkpoint: Checkpoint, teacher: Teacher, plan: LanguagePlan) -> None:
        self.checkpoint = checkpoint
        probe = pointing.fit_probe(checkpoint, teacher, pictures=plan.probe_pictures, seed=plan.seed)
        self.pointer = pointing.Pointer(checkpoint, teacher, probe)
        self.dynamics = checkpoint.cross_dynamics.train()
        self.language = checkpoint.model.model.language_model.train()
        self.head = checkpoint.model.lm_head
        self.newline = checkpoint.model.model.image_newline
        self.told = nn.Linear(checkpoint.dim, len(TOLD))
        self.layout = Layout(checkpoint.tokenizer, int(checkpoint.model.config.video_token_id))
        self.end_id = int(checkpoint.tokenizer.eos_token_id)
        with torch.no_grad():
            if float(self.dynamics.gate) == 0.0:
                self.dynamics.gate.fill_(0.3)  # at exactly zero the inner weights get no gradient for the first steps

    def parameters(self) -> list[nn.Parameter]:
        return [*self.dynamics.parameters(), *self.language.parameters(), self.newline, *self.told.parameters()]

    def groups(self) -> list[dict[str, object]]:
        matrices = [p for p in self.parameters() if p.ndim >= 2]
        vectors = [p for p in self.parameters() if p.ndim < 2]
        return [
            {"params": matrices, "weight_decay": 0.05, "scale": 1.0},
            {"params": vectors, "weight_decay": 0.0, "scale": 1.0},
        ]

    def loss(self, histories: list[History]) -> tuple[Tensor, NDArray[np.float64]]:
        """What to lower, and its parts for people: of the words, of where was looked."""
        fused = fuse(histories, self.dynamics)
        packed = self._pack(histories, fused)
        looks = self.pointer.looks(histories, packed.laid, packed.embeds.shape[1])
        notes = tuple(look.note() for look in looks)
        words = cross_entropy(self._logits(packed, notes), packed.answer_ids)
        looked = torch.stack([look.miss(note) for look, note in zip(looks, notes, strict=True)])
        motion = torch.cat([rows.motion for h in histories for rows in [*(r for _, r in h.blocks), *h.instant]]).float()
        told = self.told(torch.cat([t for tokens in fused for t in tokens]))
        loss = words + 0.5 * mse_loss(told, motion[:, list(TOLD)]) + POINTING * looked.sum()
        return loss, np.array([float(words.detach()), *looked.tolist()])

    @torch.no_grad()
    def examine(
        self, held_out: list[RunTokens], teacher: Teacher, plan: LanguagePlan, batches: int = 8
    ) -> dict[str, float]:
        """Share of answers whose every token is the most likely one: what greedy decoding would say."""
        self.dynamics.eval()
        self.language.eval()
        right: defaultdict[str, list[float]] = defaultdict(list)
        rng = np.random.default_rng(plan.seed + 1)
        for _ in range(batches):
            histories = _draw(held_out, teacher, replace(plan, batch=4), rng, 1.0)
            packed = self._pack(histories, fuse(histories, self.dynamics))
            hit = self._logits(packed).argmax(1) == packed.answer_ids
            items = [item for h in histories for item in h.items]
            whole = torch.ones(len(items)).scatter_reduce_(0, packed.owner, hit.float(), "amin")
            for item, value in zip(items, whole.tolist(), strict=True):
                right[item.kind].append(value)
                right[f"all {item.mode}"].append(value)
        self.dynamics.train()
        self.language.train()
        return {kind: sum(values) / len(values) for kind, values in right.items()}

    def _pack(self, histories: list[History], fused: list[list[Tensor]]) -> Packed:
        return pack(histories, fused, self.layout, self.language.embed_tokens, newline=self.newline, end_id=self.end_id)

    def _logits(self, packed: Packed, notes: tuple[Note, ...] = ()) -> Tensor:
        """(n, V) logits at the rows whose next token is an answer token."""
        with packed_attention(self.language):
            out = self.language(
                inputs_embeds=packed.embeds,
                position_ids=packed.positions,
                use_cache=False,
                tails=packed.tails,
                notes=notes,
            )
        hidden = out.last_hidden_state[packed.answer_at[:, 0], packed.answer_at[:, 1]]
        return self.head(hidden)  # type: ignore[no-any-return]
