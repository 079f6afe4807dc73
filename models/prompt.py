"""How a conversation about a video is laid out as one sequence of rows, for answering and for training alike.

    prefix | block block ... block | now instant newline | before question after | answer
    pinned   [stamp] F fused rows    [now ...] frames      the user's words        the model's

`prefix`, `before` and `after` are read off the checkpoint's own chat template, so a hub checkpoint and the bundled one
go the same way. Everything here is pure: text to token ids, and a list of parts to rows and kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Kind = Literal["prefix", "stamp", "rows", "now", "instant", "newline", "question", "answer"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # `embed` numbers kinds by their place here
_SENTINEL = "xqzsentinelzqx"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A run of rows of one kind: token ids, or embeddings that are there already."""

    kind: Kind
    ids: tuple[int, ...] = ()
    embeds: Tensor | None = None  # (n, D); then `ids` is empty

    def __len__(self) -> int:
        return len(self.ids) if self.embeds is None else int(self.embeds.shape[0])


def block_text(span_wall_s: tuple[float, float], zone: tzinfo) -> str:
    """Time stamp that leads a block, as `[12:08:31-12:08:39]`; Unix times in, clock of `zone` out."""
    return f"[{clock_text(span_wall_s[0], zone)}-{clock_text(span_wall_s[1], zone)}]"


def now_text(wall_s: float, zone: tzinfo) -> str:
    """Time stamp that leads the instant window, as `[now 12:08:43]`."""
    return f"[now {clock_text(wall_s, zone)}]"


def note_text(uncovered_wall_s: Sequence[tuple[float, float]], zone: tzinfo) -> str:
    """What the question asked for and memory no longer holds, in words; empty when nothing is missing."""
    spans = ", ".join(f"{clock_text(a, zone)}-{clock_text(b, zone)}" for a, b in uncovered_wall_s)
    return f"[no memory of {spans}] " if spans else ""


def clock_text(wall_s: float, zone: tzinfo) -> str:
    """A Unix time as `12:08:31`, rounded down to the second."""
    return datetime.fromtimestamp(int(wall_s), zone).strftime("%H:%M:%S")


class Layout:
    """The sequence of one checkpoint: its chat template, cut at the video and at the question.

    `stamps=False` leaves the time stamps out: then a prompt of instant frames alone is the checkpoint's plain video
    prompt (SimpleStream, arXiv 2604.02317).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, video_token_id: int, stamps: bool = True) -> None:
        self.tokenizer = tokenizer
        self.stamps = stamps
        turn: dict[str, Any] = {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": _SENTINEL}]}
        text = str(tokenizer.apply_chat_template([turn], tokenize=False, add_generation_prompt=True))
        video = str(tokenizer.convert_ids_to_tokens(video_token_id))
        prefix, found, rest = text.partition(video)
        before, asked, after = rest.partition(_SENTINEL)
        if not found or not asked:
            raise ValueError(
                f"the checkpoint's chat template must render a video as {video} and then the user's text; "
                "use a LLaVA-OneVision checkpoint with its own chat_template.jinja"
            )
        self.prefix_ids = self._template_ids(prefix)
        self.before_ids = self._template_ids(before)
        self.after_ids = self._template_ids(after)
        self._video = video_token_id
        self._never = frozenset({video_token_id, *(int(i) for i in tokenizer.all_special_ids)})

    def text_ids(self, text: str) -> tuple[int, ...]:
        """Ids of text from outside: markers of the template inside it are read as plain letters, never obeyed."""
        found = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return tuple(int(i) for i in found if int(i) not in self._never)

    def question_ids(self, text: str, note: str = "") -> tuple[int, ...]:
        """From the end of the video to where the model begins to speak."""
        return self.before_ids + self.text_ids(note + text) + self.after_ids

    def prefix(self) -> list[Part]:
        """The pinned beginning: the sinks."""
        return [Part("prefix", self.prefix_ids)]

    def block(self, stamp: str, rows: Tensor) -> list[Part]:
        """One committed block: its stamp and its fused rows (F, D)."""
        return [*self._stamp("stamp", stamp), Part("rows", embeds=rows)]

    def tail(
        self,
        now: str,
        instant: Sequence[Tensor],
        newline: Tensor | None,
        question: str,
        note: str = "",
    ) -> list[Part]:
        """What each question reads for itself: the last frames (N, D) each, one newline row (D,), its own words."""
        shown = [Part("instant", embeds=frame) for frame in instant]
        end = [Part("newline", embeds=newline.unsqueeze(0))] if newline is not None else []
        lead = self._stamp("now", now) if shown else []
        return [
            *lead,
            *shown,
            *end,
            Part("question", self.question_ids(question, note)),
        ]

    def answer(self, text: str, end_id: int | None) -> list[Part]:
        """The words to learn, and the token that ends them."""
        return [Part("answer", self.text_ids(text) + (() if end_id is None else (end_id,)))]

    def sequence(
        self,
        blocks: Sequence[tuple[str, Tensor]],
        now: str,
        instant: Sequence[Tensor],
        newline: Tensor | None,
        question: str,
    ) -> list[Part]:
        """The whole prompt as memory lays it out while nothing has been evicted: what training must imitate."""
        middle = [part for stamp, rows in blocks for part in self.block(stamp, rows)]
        return [*self.prefix(), *middle, *self.tail(now, instant, newline, question)]

    def _stamp(self, kind: Kind, text: str) -> list[Part]:
        return [Part(kind, self.text_ids(text))] if self.stamps else []

    def _template_ids(self, text: str) -> tuple[int, ...]:
        return tuple(int(i) for i in self.tokenizer(text, add_special_tokens=False)["input_ids"])


def embed(parts: Sequence[Part], embedding: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Parts to rows (n, D) in the embedding's dtype and device, and kinds (n,) int64: places in `KINDS`."""
    ids = torch.tensor([i for part in parts for i in part.ids], dtype=torch.long)
    words = embedding(ids)
    rows, kinds, at = [], [], 0
    for part in parts:
        if part.embeds is None:
            rows.append(words[at : at + len(part.ids)])
            at += len(part.ids)
        else:
            rows.append(part.embeds.to(words))
        kinds.append(torch.full((len(part),), KINDS.index(part.kind), dtype=torch.long))
    return torch.cat(rows), torch.cat(kinds)
