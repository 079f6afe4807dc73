"""A closer look: of the blocks that a question reached, the one that shows what is asked for alone is meant."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.evidence import A_LITTLE, MOST_CLOSER, MOST_ON, Stretch
from models.kv.closer import MOST_WORDS
from tests.models.pointed import lived, look_of, looked_at_s
from tests.models.scripted import ask


def test_of_those_looked_at_the_latest_block_that_shows_it_is_meant() -> None:
    """Asked is of blocks that more than a little was looked at, the latest first, and of no more than needed."""
    cells = torch.eye(4)[:1]
    blocks = [Stretch(i, (10.0 * i, 10.0 * i + 8.0), cells, (2, 2), 8, i) for i in range(12)]
    look = torch.full((12,), 0.04)
    look[3], look[11] = 0.6, 0.0
    asked: list[int] = []

    def shows(block: int) -> bool:
        asked.append(block)
        return block in {2, 5}

    assert looked_at_s(look, blocks) == 34.0, "without a closer look: the one looked at most"
    assert looked_at_s(look, blocks, shows=shows) == 54.0 and asked == [7, 6, 5], "eight of eleven, the latest first"
    look[5] = A_LITTLE * 0.6 - 1e-3
    assert looked_at_s(look, blocks, shows=shows) == 24.0, "hardly looked at at all"
    assert looked_at_s(look, blocks, shows=lambda _: False) == 34.0, "none shows it: as without"
    asked.clear()
    assert looked_at_s(torch.eye(12)[3], blocks, shows=shows) == 34.0 and not asked, "nothing to choose between"
    now = [Stretch(12, (130.0, 130.0), cells, (2, 2), 1, None, instant=True)]
    assert looked_at_s(torch.cat([look, torch.tensor([0.5])]), blocks + now, shows=shows) == 130.0
    assert MOST_CLOSER == 8 and not asked, "what is there now needs no closer look"


def test_a_visit_is_followed_to_its_end() -> None:
    """Through the blocks right after, though they were not looked at; not over a gap, and not for ever."""
    cells = torch.eye(4)[:1]
    blocks = [Stretch(i, (10.0 * i, 10.0 * i + 9.5), cells, (2, 2), 8, i) for i in range(12)]
    look = torch.zeros(12)
    look[2], look[3], look[8] = 0.5, 0.4, 0.1
    assert looked_at_s(look, blocks, shows=lambda block: block in {2, 3, 4, 5}) == 54.75
    assert looked_at_s(look, blocks, shows=lambda block: block in {2, 3, 5}) == 34.75, "it was gone in between"
    assert looked_at_s(look, blocks, shows=lambda block: block < 8) == 10.0 * (3 + MOST_ON) + 4.75, "not for ever"
    assert looked_at_s(look, blocks, shows=lambda block: block > 7) == 114.75, "the last block of all ends it"
    assert looked_at_s(torch.eye(12)[2], blocks, shows=lambda block: block in {3, 4}) == 44.75, "also of the only one"
    apart = [*blocks[:4], *(replace(b, span_s=(b.span_s[0] + 2, b.span_s[1] + 2)) for b in blocks[4:])]
    assert looked_at_s(look, apart, shows=lambda block: block in {2, 3, 4, 5}) == 34.75, "another visit, maybe"
    opened = [*blocks[:4], replace(blocks[4], block=None)]
    assert looked_at_s(look[:5], opened, shows=lambda _: True) == 34.75, "the open segment is no block yet"


@pytest.mark.parametrize("positions", ["contiguous", "lazy_rebase"])
def test_a_closer_look_reads_the_question_as_if_a_block_were_all_there_was(positions: str) -> None:
    mem = lived(positions=positions, recall=False, max_forks=16)
    alone = [mem.fork(replace(ask(), span_s=(0.5 * (b.span_s[0] + b.span_s[1]),) * 2)) for b in mem.ledger.records()]
    view = mem.fork(ask())
    view.read()
    assert view._closer is not None
    rows = [view._closer.read(stretch.block) for stretch in view._stretches if stretch.block is not None]
    for row, fork in zip(rows, alone, strict=False):  # the open segment has a record too
        torch.testing.assert_close(row, fork.read(), rtol=0.0, atol=2e-5)
    assert len(rows) > 8 and all(float((row - rows[0]).abs().max()) > 1e-3 for row in rows[1:]), "another block tells"


def test_a_closer_look_leaves_the_answer_alone() -> None:
    mem = lived()
    view, plain = mem.fork(ask()), mem.fork(ask())
    assert torch.equal(view.read(), plain.read())
    seen: list[Tensor] = []

    def agrees(row: Tensor) -> bool:
        seen.append(row)
        return False

    assert view.pointed(agrees) == plain.pointed()
    # none agrees: those looked at most, and the block after the one that is meant then
    assert 2 <= len(seen) <= MOST_CLOSER + 1 and all(bool(row.isfinite().all()) for row in seen)
    assert torch.equal(view.say(40), plain.say(40)) and torch.equal(look_of(view), look_of(plain))
    long = mem.fork(ask("when " + "was it " * MOST_WORDS))
    long.read()
    seen.clear()
    assert long.pointed(agrees) is not None and not seen, "too long to be read again"


def test_what_a_time_was_read_off_leads_the_evidence() -> None:
    mem = lived()
    view = mem.fork(ask())
    view.read()
    blocks = [stretch for stretch in view._stretches if stretch.block is not None]
    weakest = min(blocks, key=lambda s: float(look_of(view)[s.at : s.at + s.rows].sum()))
    before = view.evidence().sightings
    assert before[0].block != weakest.block
    shares = view.shares()
    view._meant = weakest
    first, *others = view.evidence().sightings
    assert first.block == weakest.block and first.weight_fraction > 0.5
    assert [s.block for s in before if s.block != weakest.block][:3] == [s.block for s in others][:3], "in their order"
    assert view.shares() == shares, "pruning learns what was looked at"
    meant_s = view.pointed()
    assert meant_s is not None and view.evidence().sightings[0].weight_fraction >= 0.5
    start, end = view.evidence().sightings[0].span_s
    assert start <= meant_s <= end
