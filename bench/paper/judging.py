"""Right or wrong, without a judge: the letter that was said, or the words.

**Letters.** Models say `B`, `(B)`, `B. a dog`, `Answer: B`, `The answer is B` or only the option's words. In this
order: a letter that stands alone or before `.`, `)`, `:` or `,` at the beginning; a letter in brackets; a letter after
`answer` or `option`; the one option whose words are all that was said, or are in it while no other's are. `A dog` is
no letter A. What is none of these is wrong, and is counted as not understood.

**Words.** Without case, articles and punctuation, small numbers as digits: equal, or the true words are among those
said in one piece. For yes and no the first of them counts. The papers have a language model judge open answers, and
give partial scores by it: figures by exact words are lower, and are not the same measurement.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bench.paper.items import LETTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.paper.items import Item

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def letter_said(said: str, options: Sequence[str]) -> str | None:
    """The letter meant; None where none is understood."""
    marks, told = LETTERS[: len(options)], said.strip()
    for pattern in (
        rf"\W*([{marks}{marks.lower()}])\W*$",
        rf"[\s(\[*\"']*([{marks}])[.):,\]*]",
        rf".*?\(([{marks}])\)",
        rf".*?\b(?:answer|option|choice)(?: is)?[:\s]*\(?([{marks}])\b(?! [a-z])",
    ):
        found = re.match(pattern, told, re.DOTALL | (re.IGNORECASE if "answer" in pattern else 0))
        if found and found[1].upper() in marks:
            return found[1].upper()
    mine, theirs = normal(told), [normal(option) for option in options]
    same = [i for i, words in enumerate(theirs) if words == mine]
    within = [i for i, words in enumerate(theirs) if words and _holds(mine, words)]
    one = same if len(same) == 1 else within
    return LETTERS[one[0]] if len(one) == 1 else None


def is_right(item: Item, said: str) -> tuple[bool, bool]:
    """(right, understood)."""
    if item.options:
        told = letter_said(said, item.options)
        return told == item.answer, told is not None
    mine, true = normal(said), normal(item.answer)
    if true in {"yes", "no"}:
        first = next((word for word in mine.split() if word in {"yes", "no"}), None)
        return first == true, first is not None
    return bool(true) and _holds(mine, true), bool(mine)


def is_exact(item: Item, said: str) -> bool:
    """Whether the answer is the true one and nothing besides."""
    return normal(said) == normal(item.answer)


def normal(text: str) -> str:
    """Lower case words, no articles and punctuation, numbers to ten as digits."""
    words = re.sub(r"[^\w\s]", " ", text.lower().replace("'", "")).split()
    return " ".join(str(_NUMBERS.index(w)) if w in _NUMBERS else w for w in words if w not in {"a", "an", "the"})


def _holds(said: str, words: str) -> bool:
    return f" {words} " in f" {said} "
