"""Bringing evicted blocks back: is the question about the past, and which blocks speak to it?

The gate is cheap and reads only the words. Blocks are ranked by the attention that the question's words would pay them
at one layer if all were in reach, before rotation, so it does not depend on where either stands (retrieval by the
model's own attention, as in ReKV, arXiv 2503.00540). Where a checkpoint says which words its head was trained to look
for, only those are asked: what the others attend to is chance, and on days it took most of the places (docs/LOG.md).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import tzinfo

    from torch import Tensor

_BATCH = 256
STRONG = 10.0  # log: a block that stands out less far than the first by more than this is no match
_PAST = re.compile(
    r"\b(ago|already|before|earlier|ever|first|formerly|gone|had|happened|history|last|late[rs]t?|did|disappeared|"
    r"morning|night|noon|past|previous(ly)?|since|so far|then|today|until|was|were|went|when|yesterday|came|"
    # words that may be of now as well, where only their company tells: "what is on the left?", "the man who has a box"
    r"(?<!the )(?<!its )(?<!to )(?<!your )(?<!our )left(?! (side|of|hand|corner|edge|half|or right|one|most)\b)|"
    r"ha(s|ve)(n't)? (not |anyone |anybody |anything |someone |somebody |something |there |it |they |he |she |you |"
    r"(the|a|an|any|this|that|another) (\w+ ){1,3})?(ever |already |just |been|\w+ed\b|come|gone|seen|left|had|passed|"
    r"entered|stood|sat|run|driven|taken|brought|put|got)|for a while|(a|the) (short |long |little )?while|"
    r"how (long|often|many times)|(in (which|what)|the) order|order (of|did|were|was)|after|who put)\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?\b")
_AGO = re.compile(r"\b(\d{1,4})\s*(s|sec|second|min|minute|h|hour)s?\s+ago\b", re.IGNORECASE)
_SINCE = re.compile(r"\b(?:last|past)\s+(\d{1,4})?\s*(s|sec|second|min|minute|h|hour)s?\b", re.IGNORECASE)
# what stands before a time and makes it one end of a stretch: an open one, or one that reaches to now
_UP_TO = re.compile(
    r"\b(before|until|till|by|up to|more than|over|at least|(earlier|longer|older) than)\s+(about\s+)?$", re.IGNORECASE
)
_FROM = re.compile(r"\b(since|after|from|between|within|less than|later than)\s+(about\s+)?$", re.IGNORECASE)
_NOW = re.compile(
    r"\b(now|currently|at the moment|any ?more)\b|\b(is|are|isn't|aren't|does|do)\b.*\bstill\b", re.IGNORECASE
)
_PRESENT = re.compile(r"\b(is|isn't|are|aren't|am|do|don't|does|doesn't|can|will|now|currently)\b", re.IGNORECASE)
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


def about_past(text: str) -> bool:
    """Do the words ask about anything but this moment?"""
    return bool(_PAST.search(text) or _CLOCK.search(text) or _AGO.search(text) or _SINCE.search(text))


def about_now(text: str) -> bool:
    """Do the words ask about this moment too, though they name another: is the car of 14:05 still there?"""
    return bool(_NOW.search(text))


def about_moment(text: str) -> bool:
    """Do the words ask about this moment and about nothing else?"""
    return bool(_PRESENT.search(text)) and not about_past(text)


def named_span(text: str, now_wall_s: float, zone: tzinfo) -> tuple[float, float] | None:
    """Unix time that the words name, by clock, by `5 minutes ago` or by `the last hour`; None when they name none.

    `since 14:05` reaches to now. `before 14:05` names an end and no beginning: None.
    """
    clocks = list(_CLOCK.finditer(text))[:2]
    if len(clocks) == 2:
        first, second = (_latest(match, now_wall_s, zone) for match in clocks)
        if second[0] < first[0] and _of_day(clocks[1]) > _of_day(clocks[0]):  # its end is yet to come today
            return first[0], now_wall_s
        return min(first[0], second[0]), max(first[0], second[0])
    if clocks:
        return _led(text[: clocks[0].start()], _latest(clocks[0], now_wall_s, zone), now_wall_s)
    if found := _AGO.search(text):
        unit = _UNIT_S[found[2][0].lower()]
        at = now_wall_s - int(found[1]) * unit
        return _led(text[: found.start()], (at - unit / 2, min(at + unit / 2, now_wall_s)), now_wall_s)
    if found := _SINCE.search(text):
        return now_wall_s - int(found[1] or 1) * _UNIT_S[found[2][0].lower()], now_wall_s
    return None


def _led(before: str, span: tuple[float, float], now_wall_s: float) -> tuple[float, float] | None:
    """A named time as the words before it mean it: until now after `since`, nothing bounded after `before`."""
    if _UP_TO.search(before):
        return None
    return (span[0], now_wall_s) if _FROM.search(before) else span


def attention_shares(query: Tensor, keys: Sequence[Tensor], scale: float, heads: Sequence[int] = ()) -> Tensor:
    """The attention each block would get from a question's words if all blocks were in reach, (B,); sums to 1.

    query (heads, n, d) raw; keys (kv heads, m_i, d) raw, one per block. `heads`: which are asked, none: all. Without
    rotation, so what counts is what is said, not how long ago it was seen.
    """
    return _pulls(query, keys, scale, heads).softmax(0).mean((1, 2))


def standing_out(query: Tensor, keys: Sequence[Tensor], scale: float, heads: Sequence[int] = ()) -> Tensor:
    """How far each block stands out for the word it speaks to most, (B,): log of its pull over the usual block's."""
    pulls = _pulls(query, keys, scale, heads)
    return (pulls - pulls.median(0).values).amax((1, 2))


def pick(
    query: Tensor,
    keys: Sequence[Tensor],
    scale: float,
    most: int,
    heads: Sequence[int] = (),
    words: Sequence[int] = (),
) -> list[int]:
    """Indices of the at most `most` blocks, keys oldest first, that speak to a question. Ties to the older.

    `words`: which of the question's words the heads were trained to look for, where that is known. Only these are
    asked then, and as what is asked for is mostly the last of many sightings, half of the places go to the latest of
    those that stand out about as far as the first (`docs/decisions/0051-recall-asks-the-words-that-name.md`).
    """
    if not keys or most < 1:
        return []
    if not words:
        return _largest(attention_shares(query, keys, scale, heads))[:most]
    far = standing_out(query[:, list(words)], keys, scale, heads)
    order = _largest(far)
    chosen = order[: most - most // 2]
    latest = [i for i in range(len(keys) - 1, -1, -1) if float(far[i]) >= float(far.max()) - STRONG]
    return list(dict.fromkeys([*chosen, *latest, *order]))[:most]


def _largest(values: Tensor) -> list[int]:
    return [int(i) for i in values.argsort(descending=True, stable=True)]


def _pulls(query: Tensor, keys: Sequence[Tensor], scale: float, heads: Sequence[int]) -> Tensor:
    """(B, heads, n) log of each block's pull on each word, of the heads that are asked."""
    pulls = torch.empty(len(keys), *query.shape[:2])
    for members in _alike(keys):
        batch = torch.stack([keys[i] for i in members]).float()
        folded = query.reshape(batch.shape[1], -1, query.shape[-1]).to(batch)
        pulls[members] = (
            (folded @ batch.transpose(2, 3) * scale).logsumexp(-1).view(len(members), *query.shape[:2]).cpu()
        )
    return pulls[:, list(heads)] if heads else pulls


def _alike(keys: Sequence[Tensor]) -> Iterator[list[int]]:
    """Indices of blocks of one size and place, in batches that stay small."""
    groups: dict[tuple[int, str], list[int]] = {}
    for index, block in enumerate(keys):
        groups.setdefault((block.shape[1], str(block.device)), []).append(index)
    for members in groups.values():
        for start in range(0, len(members), _BATCH):
            yield members[start : start + _BATCH]


def _of_day(match: re.Match[str]) -> tuple[int, int]:
    return int(match[1]), int(match[2])


def _latest(match: re.Match[str], now_wall_s: float, zone: tzinfo) -> tuple[float, float]:
    """The last time the clock showed this, and how long it did: a minute, or a second where seconds are named."""
    now = datetime.fromtimestamp(now_wall_s, zone)
    hour, minute, second = int(match[1]), int(match[2]), match[3]
    at = now.replace(hour=hour, minute=minute, second=int(second or 0), microsecond=0)
    if at > now:
        at -= timedelta(days=1)
    return at.timestamp(), at.timestamp() + (1.0 if second else 60.0)
