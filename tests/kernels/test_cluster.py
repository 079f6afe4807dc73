"""The kernels of online clustering against loops that anyone can follow."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from kernels import ops
from models.dynamics_map import MOTION_NAMES


@pytest.mark.parametrize(("tokens", "codes"), [(1, 1), (7, 5), (196, 33)])
def test_nearest_code_is_what_a_loop_finds(tokens: int, codes: int) -> None:
    torch.manual_seed(tokens)
    units, centroids = normalize(torch.randn(tokens, 12), dim=1), normalize(torch.randn(codes, 12), dim=1)
    alive = torch.rand(codes) > 0.3
    alive[0] = True
    index, cosine = ops.nearest_code(units, centroids, alive)
    for row in range(tokens):
        found = [(float(units[row] @ centroids[c]), -c) for c in range(codes) if alive[c]]
        best, code = max(found)
        assert int(index[row]) == -code and float(cosine[row]) == pytest.approx(best, abs=1e-6)


def test_nearest_code_breaks_ties_downwards_and_never_names_the_dead() -> None:
    same = torch.tensor([[1.0, 0.0]]).repeat(3, 1)
    assert ops.nearest_code(same[:1], same, torch.tensor([True, True, True]))[0].tolist() == [0]
    assert ops.nearest_code(same[:1], same, torch.tensor([False, True, True]))[0].tolist() == [1]
    assert ops.nearest_code(same[:1], same, torch.zeros(3, dtype=torch.bool))[1].tolist() == [-math.inf]


def test_move_codes_is_a_forgetting_weighted_mean() -> None:
    torch.manual_seed(0)
    sums, weights = torch.randn(4, 6), torch.tensor([2.0, 1.0, 0.0, 5.0])
    units, mass, index = torch.randn(5, 6), torch.rand(5) + 0.5, torch.tensor([0, 0, 2, 3, 0])
    moved, weighed = sums.clone(), weights.clone()
    assert ops.move_codes(moved, weighed, units, mass, index, 0.25).tolist() == [0, 2, 3]
    for code in range(4):
        hit = index == code
        keep = 0.75 if bool(hit.any()) else 1.0
        expected = sums[code] * keep + (units[hit] * mass[hit, None]).sum(0)
        assert torch.allclose(moved[code], expected, atol=1e-6)
        assert float(weighed[code]) == pytest.approx(float(weights[code]) * keep + float(mass[hit].sum()))
    assert torch.equal(moved[1], sums[1])  # a code that was not hit forgets nothing


@pytest.mark.parametrize("seed", range(5))
def test_move_codes_writes_what_writing_every_row_would(seed: int) -> None:
    """Bit for bit the plain form, in which all K rows are made anew each frame."""
    torch.manual_seed(seed)
    sums, weights = torch.randn(64, 16), torch.rand(64)
    units, mass, index = torch.randn(49, 16), torch.rand(49), torch.randint(0, 20, (49,))
    mass[0] = 0.0
    hit = torch.zeros(64).index_add_(0, index, mass)
    keep = torch.where(hit > 0, 0.95, 1.0)
    added = torch.zeros(64, 16).index_add_(0, index, units * mass[:, None])
    plain = sums * keep[:, None] + added, weights * keep + hit
    untouched = sums[20:].clone()
    ops.move_codes(sums, weights, units, mass, index, 0.05)
    assert torch.equal(sums, plain[0]) and torch.equal(weights, plain[1])
    assert torch.equal(sums[20:], untouched)


def test_motion_statistics_against_loops() -> None:
    torch.manual_seed(3)
    frames, height, width, count = 6, 3, 4, 5
    labels, errors = torch.randint(-1, count, (frames, height, width)), torch.rand(frames, height, width)
    times = torch.tensor([0.0, 0.5, 1.0, 2.0, 2.5, 3.0])
    mass, cells, motion = ops.motion_statistics(labels, errors, times, count)
    column = {name: motion[:, i] for i, name in enumerate(MOTION_NAMES)}
    for row in range(count):
        at = [(t, y, x) for t in range(frames) for y in range(height) for x in range(width) if labels[t, y, x] == row]
        assert float(mass[row]) == len(at)
        xs = [(x + 0.5) / width - 0.5 for _, _, x in at]
        assert float(column["mean_x"][row]) == pytest.approx(sum(xs) / len(xs), abs=1e-5)
        assert float(column["mean_error"][row]) == pytest.approx(sum(float(errors[p]) for p in at) / len(at), abs=1e-5)
        seen = sorted({t for t, _, _ in at})
        assert float(column["presence"][row]) == pytest.approx(len(seen) / frames)
        assert float(column["entry"][row]) == pytest.approx(seen[0] / frames)
        assert float(column["exit"][row]) == pytest.approx((seen[-1] + 1) / frames)
        assert float(cells[row].sum()) == pytest.approx(1.0)
        share = sum((y, x) == (1, 2) for _, y, x in at) / len(at)
        assert float(cells[row, 1 * width + 2]) == pytest.approx(share, abs=1e-6)
        means = [sum((x + 0.5) / width - 0.5 for t, _, x in at if t == s) / sum(t == s for t, _, _ in at) for s in seen]
        clock = [float(times[s]) for s in seen]
        middle = sum(clock) / len(clock)
        slope = sum((c - middle) * m for c, m in zip(clock, means, strict=True)) / sum((c - middle) ** 2 for c in clock)
        assert float(column["velocity_x"][row]) == pytest.approx(max(-2.0, min(2.0, 4 * slope)), abs=1e-4)


def test_motion_statistics_of_a_single_frame_are_numbers() -> None:
    _, _, motion = ops.motion_statistics(
        torch.zeros(1, 2, 2, dtype=torch.long), torch.zeros(1, 2, 2), torch.zeros(1), 2
    )
    assert bool(torch.isfinite(motion).all())
