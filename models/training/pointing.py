"""Where to look: one head of the language part is told by the truth which rows a question's words name.

From answers alone the language part takes hours to find out that "the red car" means the rows that look red and like a
car: the gradient reaches that link only through everything behind it. Here one attention head is scored, at the word
that names a thing, by how much of its attention falls on rows that show it; where nothing is there, on the first row of
the prompt. An earlier head is told to bring the colour to that word first, and a later one is asked the same within an
answer, at the word before a thing is named. Only training knows of this: all are ordinary heads afterwards. Measured in
docs/LOG.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from models.training.attention import Note
from models.training.grounding import forms, look_at_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from models.checkpoint import Checkpoint
    from models.training.histories import History, Laid
    from models.training.lessons import Teacher

JOINED = 0, 2  # layer and head that join "red" to "car", before anything is looked for
ASKED = 1, 0  # the rest reads what was found
SAID = 3, 0  # by then it is known which of the things that were found is the answer
SURE = 0.3  # a thing whose best row matches less is not pointed at: the rows do not show it


class Probe(nn.Module):
    """Kind and colour of a token, read off by two linear maps that are fitted on labelled cells."""

    def __init__(self, dim: int, kinds: int, colours: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, affine=False)
        self.kind = nn.Linear(dim, kinds + 1)
        self.colour = nn.Linear(dim, colours + 1)

    def forward(self, embeds: Tensor) -> tuple[Tensor, Tensor]:
        """(n, D) to probabilities (n, kinds + 1) and (n, colours + 1); column 0 is nothing."""
        normed = self.norm(embeds)
        return self.kind(normed).softmax(1), self.colour(normed).softmax(1)


def fit_probe(checkpoint: Checkpoint, teacher: Teacher, *, pictures: int, seed: int, steps: int = 300) -> Probe:
    """A probe for this tower, from pictures of its own."""
    tokens, labels = look_at_cells(checkpoint, teacher, pictures, seed + 1)
    probe = Probe(checkpoint.dim, len(teacher.kinds), len(teacher.colours))
    probe.norm.train()
    probe.norm.momentum = None  # the mean over all that is shown
    probe.norm(tokens)
    probe.eval()
    normed = probe.norm(tokens)
    optimiser = torch.optim.Adam(probe.parameters(), lr=0.02, weight_decay=1e-4)
    for _ in range(steps):
        loss = cross_entropy(probe.kind(normed), labels[:, 0]) + cross_entropy(probe.colour(normed), labels[:, 1])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return probe.requires_grad_(False)


class Looks:
    """Rows of a packed batch that are to look somewhere with one head, and at what."""

    def __init__(self, layer: int, head: int) -> None:
        self.layer, self.head = layer, head
        self._at: list[tuple[int, int]] = []
        self._wanted: list[Tensor] = []

    def add(self, batch: int, row: int, wanted: Tensor) -> None:
        """`wanted` (S,) 0..1: how well each row of the sequence fits what is named."""
        self._at.append((batch, row))
        self._wanted.append(wanted)

    def note(self) -> Note:
        """What attention is to note on the way."""
        return Note(self.layer, self.head, torch.tensor(self._at, dtype=torch.long).view(-1, 2))

    def miss(self, note: Note) -> Tensor:
        """Minus log of the attention that fell where it was wanted, mean over all looks; 0 where there were none."""
        if note.log_shares is None:
            return torch.zeros(())
        wanted = torch.stack(self._wanted).to(note.log_shares).log()
        return -torch.logsumexp(note.log_shares + wanted, 1).mean()


class Pointer:
    """Finds the words that name things in a packed batch, and the rows that show them."""

    def __init__(self, checkpoint: Checkpoint, teacher: Teacher, probe: Probe) -> None:
        vocabulary: dict[str, int] = checkpoint.tokenizer.get_vocab()
        self._probe = probe
        self._kinds = _ids(vocabulary, teacher.kinds)
        self._colours = _ids(vocabulary, teacher.colours)

    @torch.no_grad()
    def looks(self, histories: Sequence[History], laid: Sequence[Laid], longest: int) -> tuple[Looks, Looks, Looks]:
        """Where the packed batch of these histories is to look: to join names, to find them, and to say them."""
        joined, asked, said = Looks(*JOINED), Looks(*ASKED), Looks(*SAID)
        for b, (history, where) in enumerate(zip(histories, laid, strict=True)):
            shown = self._shown(history, where, longest)
            for i, item in enumerate(history.items):
                start, question, answer = where.starts[i], where.questions[i], where.answers[i]
                for at, kind, colour in self._named(question):
                    if colour is not None:
                        joined.add(b, start + at, _one(start + at - 1, longest))
                    look = shown.rows(kind, colour, item.mode) if item.there else shown.nothing()
                    if look is not None:
                        asked.add(b, start + at, look)
                for at, kind, colour in self._named(answer):
                    look = shown.rows(kind, colour, item.mode) if colour is not None and at > 1 else None
                    if look is not None:  # "the" red car: here the colour has to be known
                        said.add(b, start + len(question) + at - 2, look)
        return joined, asked, said

    def _named(self, ids: Sequence[int]) -> list[tuple[int, int, int | None]]:
        """(place of the word, kind, colour where one is named) of each thing in a text."""
        return [
            (at, self._kinds[token], self._colours.get(ids[at - 1]) if at else None)
            for at, token in enumerate(ids)
            if token in self._kinds
        ]

    def _shown(self, history: History, laid: Laid, longest: int) -> _Shown:
        rows = [rows for _, rows in history.blocks] + history.instant
        kinds, colours = self._probe(torch.cat([r.embeds.float() for r in rows]))
        places = torch.cat(
            [torch.arange(first, first + len(r.embeds)) for first, r in zip(laid.rows, rows, strict=True)]
        )
        past = sum(len(r.embeds) for _, r in history.blocks)
        now = len(places) - len(history.instant[-1].embeds)
        return _Shown(kinds, colours, places, past, now, longest)


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """What the rows of one history show."""

    kinds: Tensor  # (n, kinds + 1)
    colours: Tensor  # (n, colours + 1)
    places: Tensor  # (n,) in the sequence
    past: int  # rows before this one are blocks
    now: int  # rows from this one on are the newest frame
    longest: int

    def rows(self, kind: int, colour: int | None, mode: str) -> Tensor | None:
        """(S,) how well each row fits; None where none does."""
        fit = self.kinds[:, kind + 1] * (1.0 if colour is None else self.colours[:, colour + 1])
        chosen = slice(self.now, None) if mode == "present" else slice(0, self.past)
        fit, places = fit[chosen], self.places[chosen]
        if not len(fit) or float(fit.max()) < SURE:
            return None
        return torch.zeros(self.longest).index_copy_(0, places, fit)

    def nothing(self) -> Tensor:
        """(S,) the first row of the prompt: what is looked at when nothing is there."""
        return _one(0, self.longest)


def _one(row: int, longest: int) -> Tensor:
    return torch.zeros(longest).index_fill_(0, torch.tensor([row]), 1.0)


def _ids(vocabulary: dict[str, int], names: Sequence[str]) -> dict[int, int]:
    """Token id to index of the name, for every form that is one token."""
    return {
        vocabulary[token]: index for index, name in enumerate(names) for token in forms(name) if token in vocabulary
    }
