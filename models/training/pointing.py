"""Where to look: one head of the language part is told by the truth which rows a question's words name.

From answers alone the language part takes hours to find out that "the red car" means the rows that look red and like a
car: the gradient reaches that link only through everything behind it. Here one attention head is scored, at the word
that names a thing, by how much of its attention falls on rows that show it; where nothing is there, on the first row of
the prompt. An earlier head is told to bring the colour to that word first, and a later one is asked the same within an
answer: at the word before a thing is named, and where the answer is a moment or a number. Only training knows of this:
all are ordinary heads afterwards. Measured in docs/LOG.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from models.training.attention import Note
from models.training.grounding import forms, look_at_cells

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from models.checkpoint import Checkpoint
    from models.rows import Rows
    from models.training.histories import History
    from models.training.lessons import Item, Teacher
    from models.training.packing import Laid

JOINED = 0, 2  # layer and head that join "red" to "car", before anything is looked for
ASKED = 1, 0  # the rest reads what was found
FETCHED = 2, 0  # where the answer begins, what was found (or that nothing was) is read off the words that named it
SAID = 3, 0  # by then it is known which of the things that were found is the answer
NEAR_S = 3.0  # the pause between two frames, and a little
SURE = 0.3  # a thing whose best row matches less is not pointed at: the rows do not show it


class Probe(nn.Module):
    """All labels of a token, read off by one linear map each, fitted on labelled cells."""

    def __init__(self, dim: int, classes: Mapping[str, int]) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, affine=False)
        self.maps = nn.ModuleDict({name: nn.Linear(dim, count) for name, count in classes.items()})

    def forward(self, embeds: Tensor) -> dict[str, Tensor]:
        """(n, D) to probabilities (n, classes) per label; column 0 is nothing."""
        normed = self.norm(embeds)
        return {name: linear(normed).softmax(1) for name, linear in self.maps.items()}


def fit_probe(
    checkpoint: Checkpoint, teacher: Teacher, *, pictures: int, seed: int, steps: int = 300, workers: int = 0
) -> Probe:
    """A probe for this tower, from pictures of its own."""
    tokens, labels = look_at_cells(checkpoint, teacher, pictures, seed + 1, workers)
    probe = Probe(checkpoint.dim, {name: 1 + len(classes) for name, classes in teacher.labels.items()})
    probe.norm.train()
    probe.norm.momentum = None  # the mean over all that is shown
    probe.norm(tokens)
    probe.eval()
    normed = probe.norm(tokens)
    optimiser = torch.optim.Adam(probe.maps.parameters(), lr=0.02, weight_decay=1e-4)
    for _ in range(steps):
        each = [
            cross_entropy(linear(normed), labels[:, column], ignore_index=-1)
            for column, linear in enumerate(probe.maps.values())
        ]
        optimiser.zero_grad()
        torch.stack(each).sum().backward()
        optimiser.step()
    return probe.requires_grad_(False)


@dataclass(slots=True, eq=False)
class Look:
    """Rows of a packed batch that are to look somewhere with one head, and at what."""

    layer: int
    head: int
    at: Tensor  # (m, 2) batch, ascending, and row
    wanted: Tensor  # (m, S) half, 0..1: how well each row of the sequence fits what is named
    most: int  # rows of any one batch

    def to(self, device: torch.device) -> Look:
        """The same there."""
        return replace(self, at=self.at.to(device), wanted=self.wanted.to(device))

    def note(self) -> Note:
        """What attention is to note on the way."""
        return Note(self.layer, self.head, self.at, self.most)

    def miss(self, note: Note) -> Tensor:
        """Minus log of the attention that fell where it was wanted, mean over all looks; 0 where there were none."""
        if note.log_shares is None:
            return torch.zeros((), device=self.at.device)
        return -torch.logsumexp(note.log_shares + self.wanted.float().log(), 1).mean()


class _Looks:
    """The looks of one head, as they are found."""

    def __init__(self, layer: int, head: int) -> None:
        self.layer, self.head = layer, head
        self._at: list[tuple[int, int]] = []
        self._wanted: list[Tensor] = []

    def add(self, batch: int, row: int, wanted: Tensor) -> None:
        self._at.append((batch, row))
        self._wanted.append(wanted)

    def whole(self, longest: int) -> Look:
        at = torch.tensor(self._at, dtype=torch.long).view(-1, 2)
        wanted = torch.stack(self._wanted).half() if self._wanted else torch.zeros(0, longest).half()
        return Look(self.layer, self.head, at, wanted, int(torch.bincount(at[:, 0]).max()) if len(at) else 0)


Fit = list[tuple[str, int]]  # a label and a class of it: a thing is what one of these says


class Pointer:
    """Finds the words that name things in a packed batch, and the rows that show them."""

    def __init__(self, checkpoint: Checkpoint, teacher: Teacher, probe: Probe) -> None:
        vocabulary: dict[str, int] = checkpoint.tokenizer.get_vocab()
        self._probe = probe
        self._fits = _fits(teacher.labels)
        self._things = {i: fit for name, fit in self._fits.items() for i in _ids(vocabulary, name)}
        self._shades = {name: place for place, name in enumerate(teacher.labels["colour"], start=1)}
        self._colours = {i: place for name, place in self._shades.items() for i in _ids(vocabulary, name)}
        self._digits = {i: digit for digit in range(10) for i in _ids(vocabulary, str(digit))}

    @torch.no_grad()
    def looks(self, histories: Sequence[History], laid: Sequence[Laid], longest: int) -> list[Look]:
        """Where the packed batch is to look: to join names, to find them, to fetch what was found, and to say it."""
        joined, asked, fetched, said = _Looks(*JOINED), _Looks(*ASKED), _Looks(*FETCHED), _Looks(*SAID)
        for b, (history, where) in enumerate(zip(histories, laid, strict=True)):
            shown = self._shown(history, where, longest)
            for i, item in enumerate(history.items):
                start = where.starts[i] + where.leads[i]
                about, question = shown.of(item, i), where.questions[i]
                named = self._named(question)
                if named:
                    fetched.add(b, start + len(question) - 1, _some([start + at for at, _, _ in named], longest))
                for at, fit, colour in named:
                    if colour is not None:
                        joined.add(b, start + at, _some([start + at - 1], longest))
                    look = shown.rows(fit, colour, about) if item.there else shown.nothing()
                    if look is not None:
                        asked.add(b, start + at, look)
                for at, look in self._answered(item, where.answers[i], about, shown):
                    said.add(b, start + len(question) + at - 1, look)
        return [head.whole(longest) for head in (joined, asked, fetched, said)]

    @torch.no_grad()
    def rank(self, item: Item, blocks: Sequence[Rows]) -> list[float]:
        """How well the best row of each block fits one of the things that a question names."""
        if not item.named or not blocks:
            return [0.0] * len(blocks)
        counts = [len(rows.embeds) for rows in blocks]
        labels = self._labels(blocks)
        best = torch.zeros(sum(counts))
        for name, colour in item.named:
            shade = None if colour is None else self._shades[colour]
            best = torch.maximum(best, _fitting(labels, self._fits.get(name, []), shade))
        return [float(part.max()) if len(part) else 0.0 for part in best.split(counts)]

    def _answered(self, item: Item, ids: Sequence[int], about: Tensor, shown: _Shown) -> Iterator[tuple[int, Tensor]]:
        """(place of a word of the answer, what to look at just before it is said)."""
        looks: list[tuple[int, Tensor | None]] = []
        if item.there and item.time_s is not None:  # the answer is when, and the clock is read off what is looked at
            looks.append((0, self._moment(item, about, shown)))
        for at, fit, colour in self._named(ids):
            if colour is not None and at > 1:  # "the" red car: here the colour has to be known
                looks.append((at - 1, shown.rows(fit, colour, about)))
        digits = [(at, self._digits[token]) for at, token in enumerate(ids) if token in self._digits]
        for place, (at, digit) in enumerate(digits[:2], start=1):
            looks.append((at, shown.rows([(f"digit{place}", digit + 1)], None, about)))
        if item.there and not looks:  # a colour, a side, yes: read off the thing itself when it was there
            things = self._things_of(item, shown, shown.during(item, about))
            looks += [(at, things) for at in range(len(ids) - 1)]  # at each word: only the last of "on the left" tells
        return ((at, look) for at, look in looks if look is not None)

    def _things_of(self, item: Item, shown: _Shown, here: Tensor) -> Tensor | None:
        """Rows that show one of the things that the answer is read from."""
        found = [shown.rows(self._fits.get(kind, []), self._shades.get(colour), here) for kind, colour in item.shown]
        seen = [look for look in found if look is not None]
        return torch.stack(seen).amax(0) if seen else None

    def _moment(self, item: Item, about: Tensor, shown: _Shown) -> Tensor | None:
        """Rows that show what is asked about, in the block that holds the moment; all of its rows where none fits."""
        here = shown.at(float(item.time_s or 0.0))
        here = here[torch.isin(here, about)]  # a block that is not in reach cannot be looked at
        if not len(here):
            return None
        for name, colour in item.named:
            look = shown.rows(self._fits.get(name, []), None if colour is None else self._shades[colour], here)
            if look is not None:
                return look
        return shown.all(here)

    def _named(self, ids: Sequence[int]) -> list[tuple[int, Fit, int | None]]:
        """(place of the word, what it looks like, colour where one is named) of each thing in a text."""
        return [
            (at, self._things[token], self._colours.get(ids[at - 1]) if at else None)
            for at, token in enumerate(ids)
            if token in self._things
        ]

    def _labels(self, rows: Sequence[Rows]) -> dict[str, Tensor]:
        return self._probe(torch.cat([r.embeds.float() for r in rows]))  # type: ignore[no-any-return]

    def _shown(self, history: History, laid: Laid, longest: int) -> _Shown:
        rows = [block.rows for block in history.blocks] + history.instant
        labels = self._labels(rows)
        counts = [len(r.embeds) for r in rows]
        places = torch.cat([torch.arange(first, first + n) for first, n in zip(laid.rows, counts, strict=True)])
        owners = torch.arange(len(rows)).repeat_interleave(torch.tensor(counts))
        return _Shown(labels, places, owners, history, longest)


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """What the rows of one history show. Rows are chosen by their index among all rows."""

    labels: dict[str, Tensor]  # (n, classes) each
    places: Tensor  # (n,) in the sequence
    owners: Tensor  # (n,) which block, or after all blocks which instant frame
    history: History
    longest: int

    def of(self, item: Item, index: int) -> Tensor:
        """Rows that a question is about: the newest frame, or the blocks in its reach."""
        if item.mode == "present":
            return (self.owners == int(self.owners[-1])).nonzero()[:, 0]
        reach = torch.tensor(sorted(self.history.reach[index]), dtype=torch.long)
        return torch.isin(self.owners, reach).nonzero()[:, 0]

    def during(self, item: Item, chosen: Tensor) -> Tensor:
        """Of the chosen rows those of blocks that hold what tells the answer; all for a question about now."""
        if item.mode == "present":
            return chosen
        a, b = item.evidence_span
        blocks = [i for i, x in enumerate(self.history.blocks) if x.span_s[0] <= b and x.span_s[1] >= a]
        return chosen[torch.isin(self.owners[chosen], torch.tensor(blocks, dtype=torch.long))]

    def at(self, time_s: float) -> Tensor:
        """Rows of the last block that had begun by then; none where that ended more than `NEAR_S` before."""
        begun = [i for i, block in enumerate(self.history.blocks) if block.span_s[0] <= time_s]
        if not begun or self.history.blocks[begun[-1]].span_s[1] < time_s - NEAR_S:
            return torch.zeros(0, dtype=torch.long)
        return (self.owners == begun[-1]).nonzero()[:, 0]

    def rows(self, looks_like: Fit, colour: int | None, chosen: Tensor) -> Tensor | None:
        """(S,) how well each chosen row fits; None where none does."""
        fit = _fitting(self.labels, looks_like, colour)[chosen]
        if not len(fit) or float(fit.max()) < SURE:
            return None
        return torch.zeros(self.longest).index_copy_(0, self.places[chosen], fit)

    def all(self, chosen: Tensor) -> Tensor:
        """(S,) each chosen row alike."""
        return torch.zeros(self.longest).index_fill_(0, self.places[chosen], 1.0)

    def nothing(self) -> Tensor:
        """(S,) the first row of the prompt: what is looked at when nothing is there."""
        return _some([0], self.longest)


def _fitting(labels: Mapping[str, Tensor], looks_like: Fit, colour: int | None) -> Tensor:
    """(n,) how well rows of such labels fit what is named."""
    fit = torch.zeros(len(labels["colour"]))
    for label, kind in looks_like:
        fit += labels[label][:, kind]
    return fit if colour is None else fit * labels["colour"][:, colour]


def _some(rows: list[int], longest: int) -> Tensor:
    return torch.zeros(longest).index_fill_(0, torch.tensor(rows), 1.0)


def _fits(labels: Mapping[str, Sequence[str]]) -> dict[str, Fit]:
    """By the word for a thing: a kind, or a fixture in any of its states."""
    found: dict[str, Fit] = {name: [("kind", place)] for place, name in enumerate(labels["kind"], start=1)}
    for place, name in enumerate(labels.get("state", ()), start=1):
        found.setdefault(name.split()[0], []).append(("state", place))
    return found


def _ids(vocabulary: Mapping[str, int], name: str) -> list[int]:
    """Token ids of a name, in every form that is one token."""
    return [vocabulary[token] for token in forms(name) if token in vocabulary]
