"""Stage three: cross-dynamics attention and language model, on composed histories."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from models.prompt import Layout
from models.training import pointing
from models.training.attention import Note, packed_attention
from models.training.course import narrow
from models.training.histories import History, compose, fuse, glance
from models.training.packing import Packed, Packer
from models.training.telling import Telling

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from models.checkpoint import Checkpoint
    from models.rows import Rows
    from models.training.course import Course
    from models.training.lessons import Teacher
    from models.training.tokens import RunTokens

LOSSES = ("words", "told", "kept", "joined", "asked", "fetched", "said")
ABSENT = 2.0  # weight of an answer about what was not there: to invent is worse than to miss
POINTING = 1.0  # weight of looking at the right rows beside saying the right words
TELLING = 0.5  # weight of rows that tell where things were
READ = pointing.SAID[0]  # the layer at which answers are read off the rows


@dataclass(frozen=True, slots=True)
class LanguagePlan:
    """How the language stage is run."""

    batch: int = 2  # small: here the number of steps counts, not the questions in a step (docs/LOG.md)
    questions: int = 28
    earlier: int = 3  # at most so many whole runs before the last
    glances_fraction: float = 0.1  # of the time, at the start: single frames only, twice as many per step
    glances_share: float = 0.4  # of the steps later on: they cost little, and histories ask little about now
    long_fraction: float = 0.2  # of the time, at the end: long histories oftenest
    learning_rate: float = 9e-4
    seed: int = 0
    exam_every: int = 400  # steps
    exam_batches: int = 40  # of four histories, at the end
    probe_pictures: int = 1200  # labelled pictures that tell which rows show what


def train_language(
    checkpoint: Checkpoint,
    teacher: Teacher,
    runs: list[RunTokens],
    held_out: list[RunTokens],
    plan: LanguagePlan,
    course: Course,
    save: Callable[[dict[str, float]], None],
) -> dict[str, float]:
    """Train until the course is over; returns accuracy per question kind on runs that were not trained on."""
    students = _Students(checkpoint, teacher, runs, plan)
    optimiser = torch.optim.AdamW(students.groups(), lr=plan.learning_rate, betas=(0.9, 0.98))
    if found := course.resume():
        students.load_state_dict(found["students"])
        optimiser.load_state_dict(found["optimiser"])
    rng = np.random.default_rng((plan.seed, course.step))
    smooth: NDArray[np.float64] | None = None
    course.begin()
    while not course.over:
        warm = min(1.0, (course.step + 1) / 40)
        rate = plan.learning_rate * warm * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * course.part)))
        for group in optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        with narrow(checkpoint.device):
            loss, told = students.loss(_draw(runs, teacher, plan, rng, course.part))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(students.parameters(), 1.0)
        optimiser.step()
        smooth = told if smooth is None else 0.98 * smooth + 0.02 * told
        course.step += 1
        course.note(dict(zip(LOSSES, smooth.tolist(), strict=True)))
        if course.step % plan.exam_every == 0:
            scores = students.examine(held_out, teacher, plan)
            course.note({f"exam {kind}": value for kind, value in sorted(scores.items())}, always=True)
        if course.due:
            course.keep({"students": students.state_dict(), "optimiser": optimiser.state_dict()})
            save({})
    course.keep({"students": students.state_dict(), "optimiser": optimiser.state_dict()})
    scores = students.examine(held_out, teacher, plan, batches=plan.exam_batches)
    save(scores)
    return scores


def _draw(
    runs: list[RunTokens], teacher: Teacher, plan: LanguagePlan, rng: np.random.Generator, part: float
) -> list[History]:
    """A batch of one length class: single frames first, then short histories, then all lengths and some last looks."""
    found: list[History] = []
    early = part < plan.glances_fraction
    if early or (part < 1 and rng.random() < plan.glances_share):
        while len(found) < 2 * plan.batch:
            seen = glance(runs, teacher, rng, plan.questions // 2, frames=1 if early else 4)
            found += [seen] if seen else []
        return found
    grown = (part - plan.glances_fraction) / (1 - plan.glances_fraction) * 4  # all lengths a quarter of the rest on
    most = min(plan.earlier, int(grown * (plan.earlier + 1)))
    # As much time for each length, since a step costs what its history is long; in the end mostly long ones.
    share = np.arange(1.0, most + 2) ** (1 if part > 1 - plan.long_fraction else -1)
    earlier = int(rng.choice(most + 1, p=share / share.sum()))
    while len(found) < max(1, plan.batch // (1 + earlier // 2)):  # long ones cost more and ask about more
        history = compose(runs, teacher, rng, earlier, plan.questions)
        if history.items:
            found.append(history)
    return found


def _words(logits: Tensor, packed: Packed, histories: list[History]) -> Tensor:
    """Mean cross-entropy of the answers' tokens, those about what was not there weighing `ABSENT`."""
    weights = torch.tensor([1.0 if item.there else ABSENT for h in histories for item in h.items])
    weights = weights.to(logits.device)[packed.owner]
    return (cross_entropy(logits.float(), packed.answer_ids, reduction="none") * weights).sum() / weights.sum()


class _Students(nn.Module):
    """The trained parts, with the heads that are thrown away afterwards."""

    def __init__(self, checkpoint: Checkpoint, teacher: Teacher, runs: list[RunTokens], plan: LanguagePlan) -> None:
        super().__init__()
        model: Any = checkpoint.model
        probe = pointing.fit_probe(checkpoint, teacher, pictures=plan.probe_pictures, seed=plan.seed)
        self.pointer = pointing.Pointer(checkpoint, teacher, probe)
        self.dynamics = checkpoint.cross_dynamics.train()
        self.language = model.model.language_model.train()
        self.newline = model.model.image_newline
        self.told = Telling(checkpoint.dim, runs).to(checkpoint.device)  # by the fused rows
        self.kept = Telling(checkpoint.dim, runs).to(checkpoint.device)  # and by what the layers make of them
        self._head = [model.lm_head]  # tied to the embedding, so not ours twice
        layout = Layout(checkpoint.tokenizer, int(model.config.video_token_id))
        self.packer = Packer(layout, self.language.embed_tokens, self.newline, int(checkpoint.tokenizer.eos_token_id))
        with torch.no_grad():
            if float(self.dynamics.gate) == 0.0:
                self.dynamics.gate.fill_(0.3)  # at exactly zero the inner weights get no gradient for the first steps

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
        packed = self.packer.pack(histories, fused)
        looks = self.pointer.looks(histories, packed.laid, packed.embeds.shape[1])
        notes = tuple(look.note() for look in looks)
        logits, states = self._read(packed, notes)
        words = _words(logits, packed, histories)
        looked = torch.stack([look.miss(note) for look, note in zip(looks, notes, strict=True)])
        shown = [rows for h in histories for rows in [*(block.rows for block in h.blocks), *h.instant]]
        motion = torch.cat([rows.motion for rows in shown])
        told = self.told.miss(torch.cat([t for tokens in fused for t in tokens]), motion)
        kept = self.kept.miss(states[*_places(packed, shown)], motion)
        loss = words + TELLING * (told + kept) + POINTING * looked.sum()
        return loss, np.array([float(x.detach()) for x in (words, told, kept, *looked)])

    @torch.no_grad()
    def examine(
        self, held_out: list[RunTokens], teacher: Teacher, plan: LanguagePlan, batches: int = 8
    ) -> dict[str, float]:
        """Share of answers whose every token is the most likely one: what greedy decoding would say."""
        self.eval()
        right: defaultdict[str, list[float]] = defaultdict(list)
        rng = np.random.default_rng(plan.seed + 1)
        for _ in range(batches):
            histories = _draw(held_out, teacher, replace(plan, batch=4), rng, 1.0)
            packed = self.packer.pack(histories, fuse(histories, self.dynamics))
            hit = self._read(packed)[0].argmax(1) == packed.answer_ids
            items = [item for h in histories for item in h.items]
            whole = torch.ones(len(items)).scatter_reduce_(0, packed.owner.cpu(), hit.float().cpu(), "amin")
            for item, value in zip(items, whole.tolist(), strict=True):
                right[item.kind].append(value)
                right[f"all {item.mode}"].append(value)
        self.train()
        return {kind: sum(values) / len(values) for kind, values in right.items()}

    def _read(self, packed: Packed, notes: tuple[Note, ...] = ()) -> tuple[Tensor, Tensor]:
        """(n, V) logits at the rows whose next token is an answer token, and (B, S, D) states before layer `READ`."""
        with packed_attention(self.language):
            out = self.language(
                inputs_embeds=packed.embeds,
                position_ids=packed.positions,
                use_cache=False,
                output_hidden_states=True,
                tails=packed.tails,
                notes=notes,
            )
        hidden = out.last_hidden_state[packed.answer_at[:, 0], packed.answer_at[:, 1]]
        return self._head[0](hidden), out.hidden_states[READ]


def _places(packed: Packed, shown: list[Rows]) -> tuple[Tensor, Tensor]:
    """Of all rows that are shown, in order: which history of the batch, and which row of its sequence."""
    firsts = [(b, first) for b, laid in enumerate(packed.laid) for first in laid.rows]
    batch = [torch.full((len(rows.embeds),), b) for (b, _), rows in zip(firsts, shown, strict=True)]
    row = [torch.arange(first, first + len(rows.embeds)) for (_, first), rows in zip(firsts, shown, strict=True)]
    return torch.cat(batch), torch.cat(row)
