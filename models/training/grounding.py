"""Between stage one and three: words begin where the tower already puts what they name.

The tower's tokens carry kind and colour along fixed directions. The language model would have to find them out from
answers alone; instead the word "red" starts as the direction that tells red cells from others, at the size of the other
words, and the projector is scaled so that pictures and words enter the residual stream at one size. Both are
starting points only: everything goes on being trained. Measured in docs/LOG.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from models.training.pictures import painted
from models.vision.torch_tower import see

if TYPE_CHECKING:
    from torch import Tensor

    from models.checkpoint import Checkpoint
    from models.training.lessons import Teacher

WORD_NORM = 1.0
PICTURE_NORM = 1.5  # of a new checkpoint; a trained one has grown its own
RIDGE = 1e-2  # of the mean variance: directions of rare classes stay tame


@torch.no_grad()
def ground(
    checkpoint: Checkpoint,
    teacher: Teacher,
    *,
    norm: float = 0.0,
    pictures: int = 1200,
    seed: int = 0,
    workers: int = 0,
) -> None:
    """Give tokens their size (0: `PICTURE_NORM`) and start the words of all labels."""
    tokens, labels = look_at_cells(checkpoint, teacher, pictures, seed, workers)
    _size(checkpoint, tokens, norm or PICTURE_NORM)
    words = checkpoint.model.model.language_model.embed_tokens.weight
    drawn = torch.randn(words.shape, generator=torch.Generator().manual_seed(seed))
    words.copy_(normalize(drawn, dim=1) * WORD_NORM)
    for names, directions in _named_directions(teacher, tokens, labels):
        _start(words, checkpoint.tokenizer.get_vocab(), names, directions)


@torch.no_grad()
def ground_new(
    checkpoint: Checkpoint,
    teacher: Teacher,
    known: Collection[str],
    *,
    norm: float,
    pictures: int,
    seed: int,
    workers: int = 0,
) -> None:
    """Give tokens another size (0: they keep theirs); start only the words that an older vocabulary did not have."""
    tokens, labels = look_at_cells(checkpoint, teacher, pictures, seed, workers)
    if norm:
        _size(checkpoint, tokens, norm)
    words = checkpoint.model.model.language_model.embed_tokens.weight
    new = {token: i for token, i in checkpoint.tokenizer.get_vocab().items() if token not in known}
    for names, directions in _named_directions(teacher, tokens, labels):
        _start(words, new, names, directions)


def _size(checkpoint: Checkpoint, tokens: Tensor, norm: float) -> None:
    """Tokens to a mean length of `norm`, and what the dynamics mix into them with it.

    Layers normalise what they read, so they give what they gave; only how much of a row is still seen behind what they
    add to it changes. A language model that has been trained for hours adds a hundred times what it began with.
    """
    factor = norm / float(tokens.norm(dim=1).mean())
    last = checkpoint.model.model.multi_modal_projector.linear_2
    for weight in (last.weight, last.bias, checkpoint.cross_dynamics.out.weight):
        weight.mul_(factor)


@torch.no_grad()
def look_at_cells(
    checkpoint: Checkpoint, teacher: Teacher, count: int, seed: int, workers: int = 0
) -> tuple[Tensor, Tensor]:
    """(n, D) tokens of cells whose kind is clear, and their (n, labels) labels."""
    lots = painted(checkpoint, teacher, seed + 77, workers)
    found: list[Tensor] = []
    truth: list[Tensor] = []
    while sum(len(labels) for labels in truth) < count:
        pixels, labels = next(lots)
        truth.append(labels[:count])
        parts = pixels[:count].split(64)
        found += [see(checkpoint.model, part.float().to(checkpoint.device)).cpu() for part in parts]
    told = torch.cat(truth).flatten(0, 2)
    clear = told[:, 0] >= 0
    return torch.cat(found).flatten(0, 1)[clear], told[clear]


def _named_directions(teacher: Teacher, tokens: Tensor, labels: Tensor) -> Iterator[tuple[Sequence[str], Tensor]]:
    """Names and their directions, for each label; the first label last: it has the last word."""
    for column, names in reversed(list(enumerate(teacher.labels.values()))):
        shown = [c for c in range(len(names)) if bool((labels[:, column] == c + 1).any())]
        if shown:
            found = _directions(tokens, labels[:, column], shown)
            yield [names[c] for c in shown], found


def _directions(tokens: Tensor, labels: Tensor, classes: Sequence[int]) -> Tensor:
    """(classes, D) unit vectors: ridge regression of each class against all other cells (linear discriminants)."""
    centred = tokens - tokens.mean(0)
    covariance = centred.T @ centred / len(centred)
    covariance += RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance))
    means = torch.stack([centred[labels == c + 1].mean(0) for c in classes])
    return normalize(torch.linalg.solve(covariance, means.T).T, dim=1)


def _start(words: Tensor, vocabulary: Mapping[str, int], names: Sequence[str], directions: Tensor) -> None:
    """Each name, with and without the space before it, and its plural."""
    for name, direction in zip(names, directions, strict=True):
        for token in forms(name):
            if token in vocabulary:
                words[vocabulary[token]] = direction * WORD_NORM


def forms(name: str) -> list[str]:
    """Tokens that may stand for a name: itself and its plural, each with and without the space before it."""
    words = (name, name + "s", name + "es", "people" if name == "person" else name)
    return [token for word in dict.fromkeys(words) for token in (word, "Ġ" + word)]  # Ġ: a space in byte-level BPE


def naming_tokens(vocabulary: Mapping[str, int], labels: Mapping[str, Sequence[str]]) -> list[str]:
    """The tokens that name a thing or a fixture: at these, one head is told to look (`models/training/pointing.py`)."""
    names = {*labels["kind"], *(state.split()[0] for state in labels.get("state", ()))}
    return sorted({token for name in names for token in forms(name) if token in vocabulary})
