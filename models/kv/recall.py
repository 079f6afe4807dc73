"""Bringing evicted blocks back: is the question about the past, and which blocks speak to it?

The gate is cheap and reads only the words. Scoring is late interaction (ColBERT, arXiv 2004.12832) between the
question's raw queries and each block's raw keys at one layer, so it does not depend on where either stands; what a
block would answer to any question at all is taken off (debiasing, as MemStream, arXiv 2602.18434, found necessary).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import tzinfo

    from torch import Tensor

GENERIC_QUESTION = "What is in the video?"
_DIVERSITY = 0.3  # price of likeness to a block already taken, in standard deviations of relevance
_BATCH = 256
_PAST = re.compile(
    r"\b(ago|already|before|earlier|ever|first|formerly|gone|had|happened|history|last|late[rs]t?|did|disappeared|"
    r"morning|night|noon|past|previous(ly)?|since|so far|then|today|until|was|were|went|when|yesterday|came|"
    # words that may be of now as well, where only their company tells: "what is on the left?", "the man who has a box"
    r"(?<!the )(?<!its )(?<!to )(?<!your )(?<!our )left(?! (side|of|hand|corner|edge|half|or right|one|most)\b)|"
    r"ha(s|ve)(n't)? (not |anyone |anybody |anything |someone |somebody |something |there |it |they |he |she |you |"
    r"(the|a|an|any|this|that|another) (\w+ ){1,3})?(ever |already |just |been|\w+ed\b|come|gone|seen|left|had|passed|"
    r"entered|stood|sat|run|driven|taken|brought|put|got)|for a while|(a|the) (short |long |little )?while|"
    r"how (long|often|many times)|(in (which|what)|the) order|order (of|did|were|was)|after)\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?\b")
_AGO = re.compile(r"\b(\d{1,4})\s*(s|sec|second|min|minute|h|hour)s?\s+ago\b", re.IGNORECASE)
_SINCE = re.compile(r"\b(?:last|past)\s+(\d{1,4})?\s*(s|sec|second|min|minute|h|hour)s?\b", re.IGNORECASE)
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


def about_past(text: str) -> bool:
    """Do the words ask about anything but this moment?"""
    return bool(_PAST.search(text) or _CLOCK.search(text) or _AGO.search(text) or _SINCE.search(text))


def named_span(text: str, now_wall_s: float, zone: tzinfo) -> tuple[float, float] | None:
    """Unix time that the words name, by clock, by `5 minutes ago` or by `the last hour`; None when they name none."""
    clocks = [_latest(match, now_wall_s, zone) for match in _CLOCK.finditer(text)][:2]
    if len(clocks) == 2:
        return min(c[0] for c in clocks), max(c[0] for c in clocks)
    if clocks:
        return clocks[0]
    if found := _AGO.search(text):
        unit = _UNIT_S[found[2][0].lower()]
        at = now_wall_s - int(found[1]) * unit
        return at - unit / 2, min(at + unit / 2, now_wall_s)
    if found := _SINCE.search(text):
        return now_wall_s - int(found[1] or 1) * _UNIT_S[found[2][0].lower()], now_wall_s
    return None


def relevance(query: Tensor, keys: Tensor, scale: float) -> Tensor:
    """How well each block speaks to a question, (B,): mean over heads and words of the best key.

    query (heads, n, d) raw, keys (B, kv heads, m, d) raw.
    """
    folded = query.reshape(keys.shape[1], -1, query.shape[-1]).to(keys.device, torch.float32)
    return (folded @ keys.float().transpose(2, 3) * scale).amax(-1).mean((1, 2)).cpu()


def pick(query: Tensor, generic: Tensor, keys: Sequence[Tensor], scale: float, most: int) -> list[int]:
    """Indices of at most `most` blocks: debiased relevance, each next one unlike those taken. Ties to the older.

    keys: (kv heads, m_i, d) raw, one per block.
    """
    if not keys or most < 1:
        return []
    score, about = torch.zeros(len(keys)), torch.zeros(len(keys), keys[0].shape[0] * keys[0].shape[2])
    for members in _alike(keys):
        batch = torch.stack([keys[i] for i in members])
        score[members] = relevance(query, batch, scale) - relevance(generic, batch, scale)
        about[members] = normalize(batch.float().mean(2).flatten(1), dim=1).cpu()
    score = (score - score.mean()) / score.std(unbiased=False).clamp_min(1e-6)
    taken: list[int] = []
    likeness = torch.full((len(keys),), -1.0)
    while len(taken) < min(most, len(keys)):
        value = score - _DIVERSITY * likeness
        value[taken] = float("-inf")
        best = int(value.argmax())
        taken.append(best)
        likeness = torch.maximum(likeness, about @ about[best])
    return taken


def _alike(keys: Sequence[Tensor]) -> Iterator[list[int]]:
    """Indices of blocks of one size and place, in batches that stay small."""
    groups: dict[tuple[int, str], list[int]] = {}
    for index, block in enumerate(keys):
        groups.setdefault((block.shape[1], str(block.device)), []).append(index)
    for members in groups.values():
        for start in range(0, len(members), _BATCH):
            yield members[start : start + _BATCH]


def _latest(match: re.Match[str], now_wall_s: float, zone: tzinfo) -> tuple[float, float]:
    """The last time the clock showed this, and how long it did: a minute, or a second where seconds are named."""
    now = datetime.fromtimestamp(now_wall_s, zone)
    hour, minute, second = int(match[1]), int(match[2]), match[3]
    at = now.replace(hour=hour, minute=minute, second=int(second or 0), microsecond=0)
    if at > now:
        at -= timedelta(days=1)
    return at.timestamp(), at.timestamp() + (1.0 if second else 60.0)
