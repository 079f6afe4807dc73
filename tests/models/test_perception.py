"""From tokens to rows: segments close when they should, and renaming codes changes nothing but the order of rows."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from kernels import ops
from models.cross_dynamics import CrossDynamics
from models.dynamics_map import MOTION_NAMES
from models.perception import Perception, PerceptionConfig
from models.rows import MOTION_FEATURES, Rows
from stream.flow import Tokens

GRID = (4, 5)
CELLS = 20
DIM = 16


def scene(frames: int, fps: float = 2.0, seed: int = 0, noise: float = 0.02, still: bool = False) -> list[Tokens]:
    """A striped wall with one odd patch that walks from left to right, one cell per second, then again."""
    torch.manual_seed(seed)
    wall, actor = normalize(torch.randn(3, DIM), dim=1), normalize(torch.randn(DIM), dim=0)
    found = []
    for i in range(frames):
        embeds = wall[torch.arange(CELLS) % 3].clone()
        if not still:
            embeds[GRID[1] * 2 + int(i / fps) % GRID[1]] = actor
        embeds = 3 * embeds + noise * torch.randn(CELLS, DIM)
        found.append(
            Tokens(embeds, torch.zeros(CELLS, 3, dtype=torch.int32), torch.ones(CELLS), GRID, (i / fps, i / fps))
        )
    return found


def watch(config: PerceptionConfig, frames: list[Tokens]) -> tuple[Perception, list[Rows]]:
    perception = Perception(config, DIM, GRID)
    closed = [rows for rows in map(perception.see, frames) if rows is not None]
    return perception, closed


def test_fixed_length_gives_exactly_so_many_rows_and_keeps_every_patch() -> None:
    for count in (4, 7, 32):
        perception, closed = watch(PerceptionConfig(fused_tokens=count), scene(50))
        assert closed
        assert all(len(rows.embeds) == count for rows in closed)
        held = sum(rows.patches for rows in closed) + perception.open_segment().patches
        assert held == perception.patches_seen == 50 * CELLS
        assert all(float(rows.mass.sum()) == pytest.approx(rows.patches) for rows in closed)
        assert all(torch.allclose(rows.cells.sum(1), torch.ones(count), atol=1e-5) for rows in closed)


def test_with_as_many_codes_as_tokens_the_rows_are_the_tokens() -> None:
    frames = scene(4, noise=0.5)
    config = PerceptionConfig(spawn_below=1.01, fused_tokens=1000, cut_fraction=2.0, change_budget_fraction=1e9)
    perception, _ = watch(config, frames)
    rows = perception.open_segment()
    assert torch.equal(rows.embeds, torch.cat([f.embeds for f in frames]))
    fewer, _ = watch(PerceptionConfig(spawn_below=0.9, fused_tokens=8), frames)
    assert len(fewer.open_segment().embeds) == 8  # the control: with fewer codes they are not


def test_adaptive_length_follows_what_there_is_to_say() -> None:
    plain = PerceptionConfig(length="adaptive", fused_min=1, distortion_target=0.02)
    _, dull = watch(plain, scene(40, still=True))
    _, lively = watch(plain, scene(40))
    assert len(dull[0].embeds) == 3  # three stripes
    assert len(lively[0].embeds) == 4  # and the actor
    assert all(len(rows.embeds) == 0 for rows in dull[1:]), (
        "a still picture has nothing new to say after its first segment"
    )
    assert dull[1].patches > 0


def test_a_segment_closes_on_time_on_a_cut_and_on_much_change() -> None:
    _, closed = watch(PerceptionConfig(segment_s=8), scene(60))
    assert [round(rows.span_s[1] - rows.span_s[0], 3) for rows in closed[:2]] == [7.5, 7.5]
    cut = scene(6) + [Tokens(t.embeds, t.places, t.mass, t.grid, (3 + t.span_s[0],) * 2) for t in scene(2, seed=9)]
    _, closed = watch(PerceptionConfig(), cut)
    assert [rows.frames for rows in closed] == [6]
    _, closed = watch(PerceptionConfig(change_budget_fraction=0.2), scene(20))
    assert closed and all(rows.frames < 16 for rows in closed)


def test_motion_tells_where_the_actor_was_and_went() -> None:
    perception, _ = watch(PerceptionConfig(fused_tokens=4, segment_s=100), scene(10))
    rows = perception.open_segment()
    assert len(MOTION_NAMES) == MOTION_FEATURES
    column = {name: rows.motion[:, i] for i, name in enumerate(MOTION_NAMES)}
    mover = int(column["velocity_x"].argmax())
    # five cells in five seconds: 0.2 picture widths per second, stored times four
    assert float(column["velocity_x"][mover]) == pytest.approx(0.8, abs=0.1)
    assert float(rows.mass[mover]) == 10
    assert float(column["first_x"][mover]) == pytest.approx(-0.4) and float(column["last_x"][mover]) == pytest.approx(
        0.4
    )
    assert float(column["mean_y"][mover]) == pytest.approx(0.125)
    others = torch.arange(4) != mover
    assert float(column["path_length"][others].abs().max()) < 0.15


def test_renaming_codes_permutes_rows_and_changes_nothing_else() -> None:
    torch.manual_seed(1)
    labels, errors, times = torch.randint(0, 6, (7, 4, 5)), torch.rand(7, 4, 5), torch.arange(7) / 2
    rename = torch.randperm(6)
    mass, cells, motion = ops.motion_statistics(labels, errors, times, 6)
    mass2, cells2, motion2 = ops.motion_statistics(rename[labels], errors, times, 6)
    assert torch.allclose(mass, mass2[rename]) and torch.allclose(cells, cells2[rename])
    assert torch.allclose(motion, motion2[rename], atol=1e-6)
    assert not torch.allclose(motion, motion2, atol=1e-3)  # the control: the order did change


def test_cross_dynamics_is_the_identity_untrained_and_equivariant_trained() -> None:
    perception, _ = watch(PerceptionConfig(fused_tokens=6), scene(10))
    rows = perception.open_segment()
    attention = CrossDynamics(DIM).eval()
    assert torch.equal(attention(rows), rows.embeds)
    with torch.no_grad():
        attention.gate.fill_(1.0)
    fused = attention(rows)
    assert fused.shape == rows.embeds.shape and not torch.allclose(fused, rows.embeds, atol=1e-2)
    order = torch.randperm(6)
    turned = Rows(
        rows.embeds[order],
        rows.mass[order],
        rows.motion[order],
        rows.cells[order],
        rows.codes[order],
        GRID,
        rows.span_s,
        rows.frames,
        rows.patches,
    )
    assert torch.allclose(attention(turned), fused[order], atol=1e-5)
    still = Rows(
        rows.embeds,
        rows.mass,
        torch.zeros_like(rows.motion),
        rows.cells,
        rows.codes,
        GRID,
        rows.span_s,
        rows.frames,
        rows.patches,
    )
    assert not torch.allclose(attention(still), fused, atol=1e-3)  # motion does enter


def test_padding_rows_of_no_mass_are_not_attended_to() -> None:
    torch.manual_seed(2)
    attention = CrossDynamics(DIM).eval()
    with torch.no_grad():
        attention.gate.fill_(1.0)
    embeds, motion = torch.randn(1, 5, DIM), torch.randn(1, 5, MOTION_FEATURES)
    mass = torch.tensor([[1.0, 2.0, 3.0, 0.0, 0.0]])
    alone = attention.mix(embeds[:, :3], motion[:, :3], mass[:, :3])
    padded = attention.mix(embeds, motion, mass)
    assert torch.allclose(alone, padded[:, :3], atol=1e-5)


def test_what_comes_later_changes_nothing_that_was_said() -> None:
    frames = scene(40)
    _, whole = watch(PerceptionConfig(), frames)
    other = frames[:20] + scene(20, seed=5)
    other = frames[:20] + [
        Tokens(t.embeds, t.places, t.mass, t.grid, f.span_s) for t, f in zip(other[20:], frames[20:], strict=True)
    ]
    _, changed = watch(PerceptionConfig(), other)
    assert torch.equal(whole[0].embeds, changed[0].embeds) and torch.equal(whole[0].motion, changed[0].motion)
    assert not torch.allclose(whole[1].embeds, changed[1].embeds)


def test_state_goes_on_exactly_in_the_middle_of_a_segment() -> None:
    frames = scene(60, noise=0.4)
    config = PerceptionConfig(base_codes=6, spawn_below=0.95, length="adaptive")
    whole, closed = watch(config, frames)
    half, first = watch(config, frames[:27])
    other = Perception(config, DIM, GRID)
    other.load_state_dict({k: v.clone() for k, v in half.state_dict().items()})
    then = [rows for rows in map(other.see, frames[27:]) if rows is not None]
    assert len(first) + len(then) == len(closed)
    for mine, theirs in zip([*first, *then], closed, strict=True):
        assert torch.equal(mine.embeds, theirs.embeds) and torch.equal(mine.motion, theirs.motion)
    assert torch.equal(other.instant()[-1].motion, whole.instant()[-1].motion)


def test_the_map_never_names_a_dead_code() -> None:
    config = PerceptionConfig(base_codes=5, spawn_below=0.97)
    perception = Perception(config, DIM, GRID)
    for tokens in scene(40, noise=0.9):
        perception.see(tokens)
        named = perception.map.slots[perception.map.slots >= 0].unique().long()
        assert bool(perception.base.alive[named].all())
    assert perception.base.merges > 0


def test_the_instant_window_is_the_last_frames_whole() -> None:
    frames = scene(11)
    perception, _ = watch(PerceptionConfig(instant_frames=3), frames)
    shown = perception.instant()
    assert [rows.span_s[1] for rows in shown] == [4.0, 4.5, 5.0]
    assert torch.equal(shown[-1].embeds, frames[-1].embeds)
    assert torch.equal(shown[-1].cells, torch.eye(CELLS))


def test_holding_extends_the_open_segment() -> None:
    perception, _ = watch(PerceptionConfig(), scene(3))
    perception.hold(6.5)
    assert perception.open_segment().span_s == (0.0, 6.5)


def test_sizes_that_cannot_work_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="map_frames"):
        PerceptionConfig(map_frames=10)
    with pytest.raises(ValueError, match="base_codes"):
        PerceptionConfig(base_codes=1)
    with pytest.raises(ValueError, match="cells"):
        Perception(PerceptionConfig(), DIM + 1, GRID).see(scene(1)[0])


def test_what_the_tower_found_salient_reaches_the_reducer_and_survives_a_restart() -> None:
    """PruMerge keeps the cells that drew most attention; a segment that spans a restart is the same."""
    torch.manual_seed(5)
    frames = [replace(tokens, saliency=torch.rand(CELLS) ** 8) for tokens in scene(4, noise=0.5)]
    config = PerceptionConfig(reducer="prumerge", fused_tokens=5, cut_fraction=2.0)
    whole, _ = watch(config, frames)
    before, _ = watch(config, frames[:2])
    restored = Perception(config, DIM, GRID)
    restored.load_state_dict(before.state_dict())
    for tokens in frames[2:]:
        restored.see(tokens)
    untold, _ = watch(config, [replace(tokens, saliency=None) for tokens in frames])
    assert torch.equal(whole.open_segment().embeds, restored.open_segment().embeds)
    assert not torch.equal(whole.open_segment().embeds, untold.open_segment().embeds)


def test_with_idle_codes_retired_the_base_is_what_was_seen_lately_and_the_map_names_only_that() -> None:
    first, then = scene(30, seed=1), [replace(t, span_s=(40 + t.span_s[0],) * 2) for t in scene(30, seed=2)]
    perceptions = {idle: Perception(PerceptionConfig(idle_frames=idle), DIM, GRID) for idle in (None, 10)}
    alive = {}
    for idle, perception in perceptions.items():
        for tokens in [*first, *then]:
            perception.see(tokens)
            slots, _, _ = perception.map.last(perception.open_frames)
            assert bool(perception.base.alive[slots.flatten()].all()), "what the open segment is made of is alive"
        perception.flush()
        named = perception.map.slots.unique().long()
        assert bool(perception.base.alive[named[named >= 0]].all())
        alive[idle] = perception.codes_alive
    assert alive[10] < alive[None], "the wall and the actor of before"
    assert (perceptions[10].map.slots == -1).any()


def test_the_last_frames_move_as_if_nothing_had_been_before_them() -> None:
    config = PerceptionConfig(base_codes=8, spawn_below=0.9)
    long, _ = watch(config, scene(200, seed=3) + scene(60))
    short, _ = watch(config, scene(60)[-config.recent_frames :])
    other, _ = watch(config, scene(60, still=True)[-config.recent_frames :])
    for a, b, c in zip(long.instant(), short.instant(), other.instant(), strict=True):
        assert torch.equal(a.embeds, b.embeds) and torch.equal(a.motion, b.motion) and a.span_s == b.span_s
        assert not torch.equal(a.motion, c.motion)
