"""What is worked out once, or not at all, gives bit for bit what working it out each time would give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from kernels import ops
from models import segment
from models.evidence import Attention, Stretch, shares, sightings
from models.instant import WholeFrames
from models.rows import Rows
from tests.models.scripted import ScriptedPerception, ask, frame, memory


def plain_split(flat: Tensor, labels: Tensor, rows: int, places: Tensor) -> Tensor:
    """`segment._split` with everything looked for anew at each cut."""
    labels = segment._number(labels)
    count = int(labels.max()) + 1
    if count >= rows:
        return labels
    units = normalize(flat.float(), dim=1)
    loss = [segment._loss(units[labels == row]) for row in range(count)]
    while count < rows:
        row = max(range(count), key=lambda r: (loss[r], -r))
        members = (labels == row).nonzero()[:, 0]
        spread = places[members].amax(0) - places[members].amin(0)
        axis = int((spread + torch.tensor([0.0, 1e-4, 2e-4])).argmax())
        order = places[members, axis].argsort(stable=True)
        half = members[order[len(members) // 2 :]]
        labels[half] = count
        loss[row] = segment._loss(units[labels == row])
        loss.append(segment._loss(units[half]))
        count += 1
    return labels


@pytest.mark.parametrize("seed", range(6))
def test_rows_are_cut_as_before(seed: int) -> None:
    torch.manual_seed(seed)
    frames, grid = 9, (4, 5)
    flat, labels = torch.randn(frames * 20, 12), torch.randint(0, 2 + seed, (frames * 20,))
    places = segment._places(torch.arange(frames).double() / 2, grid)
    for rows in (1, 8, 60, 180):
        found = segment._split(normalize(flat, dim=1), labels.clone(), rows, places)
        assert torch.equal(found, plain_split(flat, labels.clone(), rows, places))
        assert rows < 8 or len(found.unique()) == rows


def test_a_whole_frame_has_the_motion_it_had() -> None:
    torch.manual_seed(0)
    grid, cells = (3, 4), 12
    whole = WholeFrames(grid)
    for frames in (1, 2, 5):
        slots, errors = torch.randint(0, 5, (frames, *grid)), torch.rand(frames, *grid) * 2.2
        times = 100 + torch.arange(frames).double() / 2
        found = whole.rows(torch.randn(cells, 8), float(times[-1]), slots, errors, times)
        used, labels = slots.unique(return_inverse=True)
        _, _, by_code = ops.motion_statistics(labels, errors, times, len(used))
        here = torch.arange(cells).view(1, *grid)
        mass, share, motion = ops.motion_statistics(here, errors[-1:], times[-1:], cells)
        for column in (1, 6, 7, 8, 9, 10, 11, 18, 19, 20, 21):
            motion[:, column] = by_code[labels[-1].view(-1), column]
        assert torch.equal(found.motion, motion) and torch.equal(found.cells, share) and torch.equal(found.mass, mass)


def test_an_open_segment_that_would_not_be_shown_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    inner = ScriptedPerception.open_segment

    def noted(self: ScriptedPerception) -> Rows | None:
        made.append(len(self.open))
        return inner(self)

    monkeypatch.setattr(ScriptedPerception, "open_segment", noted)
    mem = memory(every=6, instant=3)
    for index in range(5):
        mem.append(frame(index))
        mem.fork(ask(id=str(index))).close()
    assert made == [4, 5]


def test_evidence_is_added_up_as_before() -> None:
    torch.manual_seed(1)
    cells = torch.rand(5, 6)
    stretches = [
        Stretch(3 + 5 * i, (float(i), i + 1.0), cells, (2, 3), 4, i if i < 9 else None, instant=i > 9)
        for i in range(12)
    ]
    attention, total = Attention(), torch.zeros(66)
    for steps in range(1, 4):
        mass = torch.rand(63 + steps)
        attention.note(mass)
        total[: 63 + steps] += mass
        each = [(total[: 63 + steps][s.at : s.at + 5] / steps).float() for s in stretches]
        weights = [float(share.sum()) for share in each]
        found = shares(attention, stretches)
        assert found == {i: weights[i] / sum(weights) for i in range(9)}
    now = each[10] @ cells + each[11] @ cells
    seen_now = next(s for s in sightings(attention, stretches) if s.block is None and s.span_s[0] == 10.0)
    assert seen_now.cells == tuple(tuple(float(c) for c in row) for row in (now / now.sum()).view(2, 3))
