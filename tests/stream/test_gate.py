"""What the gate lets through: real changes, however small or slow, and not the noise of the sensor."""

from __future__ import annotations

import numpy as np
import pytest

from stream.flow import Frame
from stream.gate import COLUMNS, ROWS, ChangeGate, KeepAll, thumbnail

HEIGHT, WIDTH = 180, 320


def frame(rgb: np.ndarray, time_s: float) -> Frame:
    return Frame(int(time_s * 2), time_s, time_s, rgb)


def scene(level: int = 100) -> np.ndarray:
    """A still room: a gradient with a door."""
    rgb = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
    rgb += (np.arange(WIDTH) // 8).astype(np.uint8)[None, :, None]
    rgb[40:150, 200:240] = 60
    return rgb


GRAIN = np.random.default_rng(1).standard_normal((16, HEIGHT, WIDTH, 3), np.float32)  # 16 moments of a sensor


def noisy(rgb: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return np.clip(rgb + sigma * GRAIN[rng.integers(16)], 0, 255).astype(np.uint8)


def test_a_still_picture_is_looked_at_only_to_refresh() -> None:
    gate = ChangeGate(refresh_s=4.0)
    admitted = [t / 2 for t in range(40) if gate.admits(frame(scene(), t / 2))]
    assert admitted == [0.0, 4.0, 8.0, 12.0, 16.0]
    assert (gate.admitted, gate.refused, gate.refreshed, gate.cuts) == (5, 35, 4, 0)


@pytest.mark.parametrize("sigma", [2.0, 8.0, 20.0])
def test_noise_alone_does_not_pass(sigma: float) -> None:
    gate, rng = ChangeGate(refresh_s=1000.0), np.random.default_rng(1)
    for t in range(60):  # learn the sensor
        gate.admits(frame(noisy(scene(), sigma, rng), t / 2))
    before = gate.admitted
    for t in range(60, 160):
        gate.admits(frame(noisy(scene(), sigma, rng), t / 2))
    assert gate.admitted - before <= 2


@pytest.mark.parametrize("sigma", [0.0, 2.0, 8.0])
def test_a_small_thing_that_moves_passes_also_in_noise(sigma: float) -> None:
    gate, rng = ChangeGate(refresh_s=1000.0), np.random.default_rng(2)
    for t in range(60):
        gate.admits(frame(noisy(scene(), sigma, rng), t / 2))
    before = gate.admitted
    for step in range(10):  # 0.1 % of the picture: a person far away
        rgb = scene()
        rgb[100:109, 20 + 12 * step : 27 + 12 * step] = 230
        gate.admits(frame(noisy(rgb, sigma, rng), 30 + step / 2))
    assert gate.admitted - before >= 9


def test_it_compares_with_the_last_kept_frame_so_a_slow_change_adds_up() -> None:
    gate = ChangeGate(threshold=6.0, refresh_s=1000.0)
    dusk = [scene(100 + t // 4) for t in range(100)]  # a quarter of a grey level per frame
    assert 5 <= sum(gate.admits(frame(rgb, t / 2)) for t, rgb in enumerate(dusk)) <= 40


def test_a_cut_passes_at_once_and_is_counted() -> None:
    gate = ChangeGate(refresh_s=1000.0)
    gate.admits(frame(scene(40), 0))
    assert not gate.admits(frame(scene(40), 0.5))
    assert gate.admits(frame(scene(180), 1.0))
    assert gate.cuts == 1


def test_another_resolution_is_another_picture() -> None:
    gate = ChangeGate(refresh_s=1000.0)
    gate.admits(frame(scene(), 0))
    assert gate.admits(frame(np.ascontiguousarray(scene()[::2, ::2]), 0.5))


def test_reset_forgets_the_picture() -> None:
    gate = ChangeGate(refresh_s=1000.0)
    gate.admits(frame(scene(), 0))
    assert not gate.admits(frame(scene(), 0.5))
    gate.reset()
    assert gate.admits(frame(scene(), 1.0))


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (24, 32), (1080, 1920)])
def test_a_thumbnail_keeps_the_mean_at_any_size(shape: tuple[int, int]) -> None:
    small = thumbnail(np.full((*shape, 3), 77, np.uint8))
    assert small.shape == (ROWS, COLUMNS)
    np.testing.assert_allclose(small, 77, atol=0.1)


def test_the_open_gate_admits_everything() -> None:
    gate = KeepAll()
    assert all(gate.admits(frame(scene(), t)) for t in range(5))
    assert (gate.admitted, gate.refused) == (5, 0)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="refresh above 0"):
        ChangeGate(refresh_s=0)
