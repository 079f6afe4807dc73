"""Stage three: cross-dynamics attention and language model, on composed histories."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from models.prompt import Layout
from models.training import pointing
from models.training.attention import Note, packed_attention
from models.training.batch import Batch, make_batch
from models.training.course import narrow
from models.training.feed import feed
from models.training.packing import Packed, Packer
from models.training.syllabus import LanguagePlan, draw
from models.training.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from models.checkpoint import Checkpoint
    from models.training.course import Course
    from models.training.lessons import Teacher
    from models.training.tokens import RunTokens

LOSSES = ("words", "told", "kept", "joined", "asked", "fetched", "said")
POINTING = 1.0  # weight of looking at the right rows beside saying the right words
TELLING = 0.5  # weight of rows that tell where things were
SETTLING = 12  # batches by which the heads that are thrown away find their place
READ = pointing.SAID[0]  # the layer at which answers are read off the rows


def train_language(
    checkpoint: Checkpoint,
    teacher: Teacher,
    runs: list[RunTokens],
    held_out: list[RunTokens],
    plan: LanguagePlan,
    course: Course,
    save: Callable[[dict[str, float]], None],
) -> dict[str, float]:
    """Train until the course is over; returns accuracy per question kind on runs that were not trained on.

    What is saved last is the mean of the weights that the stage began from and of what they became, by
    `plan.new_share`: training on teaches the new and forgets less of the old (WiSE-FT, arXiv 2109.01903, section 3).
    """
    students = _Students(checkpoint, teacher, runs, plan)
    began = [weights.detach().clone() for weights in students.parameters()]
    fused = checkpoint.device.type == "cuda"
    optimiser = torch.optim.AdamW(students.groups(), lr=plan.learning_rate, betas=(0.9, 0.98), fused=fused)
    found = course.resume()
    part = torch.tensor(course.part).share_memory_()  # those who compose beside it read how far it is
    batches = feed(students.batches(runs, teacher, plan, part, course.step), plan.workers)
    if found is not None:
        students.load_state_dict(found["students"])
        optimiser.load_state_dict(found["optimiser"])
    else:
        students.settle([next(batches).to(checkpoint.device) for _ in range(SETTLING)])
    smooth: Tensor | None = None
    course.begin()
    while not course.over:
        part.fill_(course.part)
        warm = min(1.0, (course.step + 1) / 40)
        rate = plan.learning_rate * warm * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * course.part)))
        for group in optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        batch = next(batches).to(checkpoint.device)
        with narrow(checkpoint.device):
            loss, told = students.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(students.parameters(), 1.0)
        optimiser.step()
        smooth = told if smooth is None else 0.98 * smooth + 0.02 * told
        course.step += 1
        if course.telling:  # numbers wait for the device: only when they are read
            course.note(dict(zip(LOSSES, smooth.tolist(), strict=True)))
        if course.step % plan.exam_every == 0:
            scores = students.examine(held_out, teacher, plan)
            course.note({f"exam {kind}": value for kind, value in sorted(scores.items())}, always=True)
        if course.due:
            course.keep({"students": students.state_dict(), "optimiser": optimiser.state_dict()})
            save({})
    course.keep({"students": students.state_dict(), "optimiser": optimiser.state_dict()})
    students.back_towards(began, 1.0 - plan.new_share)
    scores = students.examine(held_out, teacher, plan, batches=plan.exam_batches)
    save(scores)
    return scores


class _Students(nn.Module):
    """The trained parts, with the heads that are thrown away afterwards."""

    def __init__(self, checkpoint: Checkpoint, teacher: Teacher, runs: list[RunTokens], plan: LanguagePlan) -> None:
        super().__init__()
        model: Any = checkpoint.model
        probe = pointing.fit_probe(
            checkpoint, teacher, pictures=plan.probe_pictures, seed=plan.seed, workers=plan.workers
        )
        self.pointer = pointing.Pointer(checkpoint, teacher, probe)
        self.dynamics = checkpoint.cross_dynamics.train()
        self.language = model.model.language_model.train()
        self.newline = model.model.image_newline
        self.told = Telling(checkpoint.dim, runs).to(checkpoint.device)  # by the fused rows
        self.kept = Telling(checkpoint.dim, runs).to(checkpoint.device)  # and by what the layers make of them
        self.device = checkpoint.device
        self._head = [model.lm_head]  # tied to the embedding, so not ours twice
        layout = Layout(checkpoint.tokenizer, int(model.config.video_token_id))
        self.packer = Packer(layout, int(checkpoint.tokenizer.eos_token_id))
        with torch.no_grad():
            if float(self.dynamics.gate) == 0.0:
                self.dynamics.gate.fill_(0.3)  # at exactly zero the inner weights get no gradient for the first steps

    @torch.no_grad()
    def back_towards(self, began: Sequence[Tensor], share: float) -> None:
        """Go back so much of the way to the weights of before, given in the order of `parameters`."""
        for now, before in zip(self.parameters(), began, strict=True):
            now.lerp_(before, share)

    def groups(self) -> list[dict[str, object]]:
        matrices = [p for p in self.parameters() if p.ndim >= 2]
        vectors = [p for p in self.parameters() if p.ndim < 2]
        return [
            {"params": matrices, "weight_decay": 0.05, "scale": 1.0},
            {"params": vectors, "weight_decay": 0.0, "scale": 1.0},
        ]

    def batches(
        self, runs: list[RunTokens], teacher: Teacher, plan: LanguagePlan, part: Tensor, step: int
    ) -> Callable[[int, int], Iterator[Batch]]:
        """What process `number` of so many makes, endlessly; `part` of the stage is over by then."""
        packer, pointer = self.packer, self.pointer  # and no weights

        def make(number: int, _of: int) -> Iterator[Batch]:
            rng = np.random.default_rng((plan.seed, step, number))
            while True:
                yield make_batch(draw(runs, teacher, plan, rng, float(part), pointer.rank), packer, pointer)

        return make

    def settle(self, batches: list[Batch]) -> None:
        """Heads that are new begin where the rest is, which may be well trained."""
        read = [self._seen(batch) for batch in batches]
        fused, states, motion = (torch.cat(part) for part in zip(*read, strict=True))
        self.told.fit(fused, motion)
        self.kept.fit(states, motion)

    @torch.no_grad()
    def _seen(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Fused rows of a batch, their states before layer `READ`, and their motion."""
        with narrow(self.device):
            fused = batch.shown.fuse(self.dynamics)
            _, states = self._read(batch.packed, fused)
        at = batch.packed.row_at
        return fused.float(), states[at[:, 0], at[:, 1]].float(), batch.shown.motion

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What to lower, and its parts for people: of the words, of what rows tell, of where was looked."""
        fused = batch.shown.fuse(self.dynamics)
        notes = tuple(look.note() for look in batch.looks)
        logits, states = self._read(batch.packed, fused, notes)
        each = cross_entropy(logits.float(), batch.packed.answer_ids, reduction="none")
        words = (each * batch.weights).sum() / batch.weights.sum()
        looked = torch.stack([look.miss(note) for look, note in zip(batch.looks, notes, strict=True)])
        motion, at = batch.shown.motion, batch.packed.row_at
        told, kept = self.told.miss(fused, motion), self.kept.miss(states[at[:, 0], at[:, 1]], motion)
        loss = words + TELLING * (told + kept) + POINTING * looked.sum()
        return loss, torch.stack([words, told, kept, *looked]).detach()

    @torch.no_grad()
    def examine(
        self, held_out: list[RunTokens], teacher: Teacher, plan: LanguagePlan, batches: int = 8
    ) -> dict[str, float]:
        """Share of answers whose every token is the most likely one: what greedy decoding would say."""
        self.eval()
        right: defaultdict[str, list[float]] = defaultdict(list)
        rng = np.random.default_rng(plan.seed + 1)
        for _ in range(batches):
            drawn = draw(held_out, teacher, replace(plan, batch=4), rng, 1.0, self.pointer.rank)
            batch = make_batch(drawn, self.packer, self.pointer).to(self.device)
            with narrow(self.device):
                logits, _ = self._read(batch.packed, batch.shown.fuse(self.dynamics))
            hit = logits.argmax(1) == batch.packed.answer_ids
            whole = torch.ones(len(batch.kinds))
            whole.scatter_reduce_(0, batch.packed.owner.cpu(), hit.float().cpu(), "amin")
            for kind, mode, value in zip(batch.kinds, batch.modes, whole.tolist(), strict=True):
                right[kind].append(value)
                right[f"all {mode}"].append(value)
        self.train()
        return {kind: sum(values) / len(values) for kind, values in right.items()}

    def _read(self, packed: Packed, fused: Tensor, notes: tuple[Note, ...] = ()) -> tuple[Tensor, Tensor]:
        """(m, V) logits at the rows whose next token is an answer token, and (B, S, D) states before layer `READ`."""
        with packed_attention(self.language):
            out = self.language(
                inputs_embeds=packed.embed(self.language.embed_tokens, fused, self.newline),
                position_ids=packed.positions,
                use_cache=False,
                output_hidden_states=True,
                tails=packed.tails,
                notes=notes,
            )
        hidden = out.last_hidden_state[packed.answer_at[:, 0], packed.answer_at[:, 1]]
        return self._head[0](hidden), out.hidden_states[READ]
