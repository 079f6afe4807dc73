"""Words from a view: greedy or sampled decoding, and text that never breaks a letter in two."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import torch

from models.depth import beyond
from stream.flow import Piece

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from models.backbone import Backbone
    from models.kv.fork import View

THEN = "<|then|>"  # said where the time of what is being looked at belongs; the clock is written in its place
OUT_OF_DEPTH = (
    "I am out of my depth here: this picture is unlike the scenes I was trained on, so anything I said would be "
    'a guess. For a camera like this use a checkpoint made for it (README, "Your cameras, your model").'
)
SURE = 0.8  # how likely `<|then|>` must be for a block, looked at alone, to count as showing what is asked for
TOP_P = 0.9  # nucleus of sampling, when the temperature is above 0


class TextAnswerer:
    """Implements `stream.ports.Answerer` for views of `models.memory.Memory`."""

    def __init__(self, backbone: Backbone, out_of_depth: Literal["say", "answer"] = "say") -> None:
        """`out_of_depth`: where pictures are unlike those it was trained on, say so, or answer all the same."""
        self.backbone = backbone
        self._says = out_of_depth == "say"
        self.model_id = backbone.model_id
        self.then_id = then_id(backbone.tokenizer)

    def answer(self, view: View) -> Iterator[Piece]:
        """The first `next` reads the question, each later one says a little; leaving closes the view."""
        try:
            yield from self._say(view)
        finally:
            view.close()

    def _say(self, view: View) -> Iterator[Piece]:
        if self._says and beyond(view.depth):
            yield Piece(OUT_OF_DEPTH, view.seen_s)  # without a look at the model: its words would be a guess
            return
        words = Words(self.backbone.tokenizer)
        coin = _coin(view.question.id)
        token: int | None = None
        for _ in range(view.most_tokens):
            hidden = view.read() if token is None else view.say(token)
            token = choose(self.backbone.logits(hidden[None])[0], view.question.temperature, coin)
            if token in self.backbone.end_ids:
                break
            view.count()
            if text := "".join(map(words.add, self._spelt(token, view))):
                yield Piece(text, view.seen_s)
        if text := words.rest():
            yield Piece(text, view.seen_s)

    def _spelt(self, token: int, view: View) -> list[int]:
        """The tokens that people read for one that was said: a clock for `<|then|>`, where it points at something."""
        time_s = view.pointed(self._says_then) if token == self.then_id else None
        if time_s is None:
            return [token]
        return list(self.backbone.tokenizer(view.clock(time_s), add_special_tokens=False)["input_ids"])

    def _says_then(self, hidden: Tensor) -> bool:
        """Whether a row (D,) is all but sure of `<|then|>`."""
        return bool(torch.softmax(self.backbone.logits(hidden[None])[0], 0)[self.then_id] >= SURE)


def then_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The id of `<|then|>`; None where the checkpoint has no such special token.

    A plain token of that name does not count: users could write it.
    """
    found = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    return found.get(THEN)


class Words:
    """Token ids to text as it grows. Bytes of an unfinished letter wait for the rest of it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self._from = 0  # start of the window that is decoded again with each token
        self._said = 0  # ids whose text was given out

    def add(self, token: int) -> str:
        """The text that this token completes, possibly none."""
        self.ids.append(token)
        return self._new(whole=True)

    def rest(self) -> str:
        """What is left at the end, unfinished letters as the replacement character."""
        return self._new(whole=False)

    def _new(self, *, whole: bool) -> str:
        # Decoding a short window twice keeps spaces and merges right, whatever the tokenizer joins with.
        before = self._decode(self.ids[self._from : self._said])
        now = self._decode(self.ids[self._from :])
        if len(now) <= len(before) or (whole and now.endswith("�")):
            return ""
        self._from, self._said = self._said, len(self.ids)
        return now[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def choose(logits: Tensor, temperature: float, coin: torch.Generator) -> int:
    """Next token from (vocabulary,) float32: the likeliest (lowest id on ties), or one of the nucleus."""
    if temperature <= 0:
        return int(logits.argmax())
    share, order = torch.softmax(logits.cpu() / temperature, 0).sort(descending=True, stable=True)
    before = share.cumsum(0) - share
    share = share.masked_fill(before >= TOP_P, 0.0)
    return int(order[int(torch.multinomial(share, 1, generator=coin))])


def _coin(question_id: str) -> torch.Generator:
    """Sampling depends on the question's id alone, so that an answer can be made again."""
    seed = int.from_bytes(sha256(question_id.encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(seed)
