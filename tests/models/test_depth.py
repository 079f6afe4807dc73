"""A checkpoint knows what it was trained on, keeps that beside its weights, and says when a camera is not that."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from models.answerer import OUT_OF_DEPTH, TextAnswerer
from models.checkpoint import Checkpoint, CheckpointError, open_checkpoint, save_checkpoint
from models.depth import DEPTH_FILE, LARGEST_BYTES, LIMIT, Depth, beyond, features_of
from models.kv.ledger import JUDGED, Progress
from models.memory import Memory
from models.training.depth import PER_PLACE, fit_depth, look_inside
from models.training.lessons import Teacher
from models.vision.onnx_tower import OnnxVision
from models.vision.picture import Picture
from models.vision.torch_tower import TorchVision, see, see_inside
from stream.flow import Frame
from stream.sources.simulated.kinds import SCENES, Scene
from stream.sources.simulated.paint import Nuisance, paint
from stream.sources.simulated.world import Script
from tests.models.scripted import ask, frame, memory, tiny_checkpoint
from tests.models.tiny import tiny_model
from tests.models.yard import bundled, camera, later, seen, watch
from tests.servers.rtsp import CLIPS

KNOWN, STRANGE = 0.6, 2.0  # scores
FIRST_SECONDS = 3.0
FITTED = 1000 * PER_PLACE  # pictures


class Slopes:
    """A teacher whose world is smooth: every place has two colours that run into each other, every picture a tilt."""

    def pictures(self, count: int, grid: tuple[int, int], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        rng = np.random.default_rng(seed)
        ends = rng.integers(90, 166, (2, 3))
        y, x = np.mgrid[0:32, 0:32] / 31
        shares = [(np.cos(a) * x + np.sin(a) * y)[..., None] for a in rng.uniform(0, np.pi / 2, count)]
        made = [np.clip(ends[0] * (1 - s) + ends[1] * s, 0, 255).astype(np.uint8) for s in shares]
        return np.stack(made), np.zeros((count, *grid, 2), np.int64)


SLOPES = cast("Teacher", Slopes())


@cache
def tiny() -> Checkpoint:
    """A tiny checkpoint of random weights that knows slopes and nothing else."""
    checkpoint = replace(tiny_checkpoint(), picture=Picture(32))
    return replace(checkpoint, depth=fit_depth(checkpoint, SLOPES, pictures=FITTED))


def scores(checkpoint: Checkpoint, pictures: NDArray[np.uint8]) -> list[float]:
    seen = TorchVision(checkpoint).encode([Frame(i, i / 2, 0.0, rgb) for i, rgb in enumerate(pictures)])
    return [cast("float", tokens.depth) for tokens in seen]


def test_unseen_places_of_the_known_kind_are_known_and_others_are_not() -> None:
    unseen = np.concatenate([SLOPES.pictures(PER_PLACE, (2, 2), seed)[0] for seed in range(9000, 9100)])
    rng = np.random.default_rng(0)
    tiles = np.kron(255 * rng.integers(0, 2, (20, 8, 8, 3)), np.ones((1, 4, 4, 1))).astype(np.uint8)
    known, strange = scores(tiny(), unseen), scores(tiny(), tiles)
    assert np.mean([score > 1 for score in known]) <= 0.01
    assert 0.2 < np.median(known) < 1
    assert all(map(beyond, strange))


def test_a_score_of_one_is_what_one_unseen_picture_in_a_thousand_passes() -> None:
    depth = tiny().depth
    assert depth is not None
    places = FITTED // PER_PLACE
    last = 1_000_003 + places
    held_out = look_inside(tiny(), SLOPES, range(last - places // 3, last))
    above = sum(score > 1 for score in depth.scores(held_out))
    assert above == round(len(held_out) / 1000) > 1


def test_looking_inside_changes_no_token() -> None:
    pixels = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        tokens, features = see_inside(tiny().model, pixels)
        assert torch.equal(tokens, see(tiny().model, pixels))
        inside: Any = tiny().model.model.vision_tower(pixels, output_hidden_states=True)
    assert torch.equal(features, features_of(inside.hidden_states))  # what is judged is what was fitted


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint on disk, stored as small as the bundled one is."""
    save_checkpoint(tiny(), tmp_path)
    return tmp_path


def test_it_lies_beside_the_weights_and_comes_back(folder: Path) -> None:
    assert (folder / DEPTH_FILE).stat().st_size < 1 << 20
    again = open_checkpoint(folder)
    pictures = SLOPES.pictures(4, (2, 2), 5)[0]
    assert scores(again, pictures) == pytest.approx(scores(tiny(), pictures), rel=0.05)  # weights were stored in half
    (folder / DEPTH_FILE).unlink()
    bare = open_checkpoint(folder)
    assert bare.depth is None
    assert TorchVision(bare).encode([Frame(0, 0.0, 0.0, pictures[0])])[0].depth is None


def _of_another_tower(folder: Path) -> None:
    tokenizer: Any = tiny().tokenizer
    other = replace(tiny(), model=tiny_model(tokenizer, seed=1), depth=None)
    save_checkpoint(other, folder)


def _change(folder: Path, **parts: torch.Tensor) -> None:
    save_file(load_file(folder / DEPTH_FILE) | parts, folder / DEPTH_FILE)


SPOILT = {
    "another vision tower": _of_another_tower,
    "damaged": lambda folder: (folder / DEPTH_FILE).write_bytes(b"no tensors at all"),
    "incomplete": lambda folder: save_file({"mean": torch.zeros(4)}, folder / DEPTH_FILE),
    "larger than": lambda folder: (folder / DEPTH_FILE).write_bytes(bytes(LARGEST_BYTES + 1)),
    "fits together": lambda folder: _change(folder, axes=torch.zeros(7, 2)),
    "no judgement": lambda folder: _change(folder, unit=torch.tensor(0.0)),
    "remove it": lambda folder: _change(folder, mean=torch.full_like(cast("Depth", tiny().depth).mean, torch.nan)),
}


@pytest.mark.parametrize("word", SPOILT)
def test_a_file_that_cannot_be_believed_is_refused_in_a_sentence(folder: Path, word: str) -> None:
    SPOILT[word](folder)
    with pytest.raises(CheckpointError, match=word):
        open_checkpoint(folder)


def judged(mem: Memory, *depths: float | None) -> Memory:
    """One frame for each score."""
    first = mem.holdings().frames_seen
    return watch(mem, [replace(frame(first + i), depth=depth) for i, depth in enumerate(depths)])


def test_a_camera_is_judged_by_its_last_few_pictures() -> None:
    mem = memory()
    assert mem.holdings().depth_score is None and not mem.holdings().out_of_depth
    judged(mem, None, *[KNOWN] * JUDGED, STRANGE)
    assert (mem.holdings().depth_score, mem.holdings().out_of_depth) == (KNOWN, False)  # one odd picture
    judged(mem, *[STRANGE] * JUDGED)
    assert (mem.holdings().depth_score, mem.holdings().out_of_depth) == (STRANGE, True)
    judged(mem, *[KNOWN] * JUDGED)
    assert not mem.holdings().out_of_depth
    mem.clear()
    assert mem.holdings().depth_score is None


def test_the_first_picture_is_enough_to_say_so() -> None:
    assert judged(memory(), STRANGE).holdings().out_of_depth


def test_a_fork_keeps_the_judgement_of_its_moment_and_a_snapshot_that_of_the_camera(tmp_path: Path) -> None:
    mem = judged(memory(), *[STRANGE] * JUDGED)
    view = mem.fork(ask())
    judged(mem, *[KNOWN] * JUDGED)
    assert view.evidence().out_of_depth and not mem.fork(ask()).evidence().out_of_depth
    judged(mem, *[STRANGE] * JUDGED).snapshot(tmp_path / "kept")
    again = memory()
    again.restore(tmp_path / "kept")
    assert (again.holdings().depth_score, again.holdings().out_of_depth) == (STRANGE, True)
    judged(again, *[KNOWN] * (JUDGED // 2 + 1))
    assert again.holdings().depth_score == KNOWN  # it goes on, it does not start again


def test_what_is_kept_of_it_is_bounded() -> None:
    progress = Progress()
    for index in range(1000):
        progress.judge(float(index))
    assert progress.depths == [float(i) for i in range(1000 - JUDGED, 1000)]


def test_no_number_is_no_excuse() -> None:
    assert [beyond(score) for score in (None, 0.0, LIMIT, LIMIT + 1e-6)] == [False, False, False, True]
    assert beyond(float("inf")) and beyond(float("nan"))


def test_out_of_its_depth_it_says_so_and_the_model_is_not_run() -> None:
    mem = judged(memory(), *[STRANGE] * 3)
    view = mem.fork(ask())
    pieces = list(TextAnswerer(mem.backbone).answer(view))
    assert [piece.text for piece in pieces] == [OUT_OF_DEPTH] and view.closed
    assert (view.usage().prompt_tokens, view.usage().completion_tokens) == (0, 0)
    assert view.evidence().out_of_depth and view.evidence().depth_score == STRANGE
    assert not view.evidence().sightings
    mem.used(view)


@pytest.mark.parametrize(("depth", "choice"), [(STRANGE, "answer"), (KNOWN, "say"), (None, "say")])
def test_else_the_model_speaks(depth: float | None, choice: Any) -> None:
    mem = judged(memory(), *[depth] * 3)
    view = mem.fork(ask())
    said = "".join(piece.text for piece in TextAnswerer(mem.backbone, choice).answer(view))
    assert OUT_OF_DEPTH not in said and view.usage().completion_tokens > 0
    assert view.evidence().out_of_depth == (depth == STRANGE)  # the evidence says it whoever speaks
    assert view.evidence().sightings


# The bundled checkpoint.


@pytest.mark.parametrize("path", sorted(CLIPS.glob("*.mp4")), ids=lambda path: path.stem)
def test_the_bundled_model_is_out_of_its_depth_on_a_real_camera_within_seconds(path: Path) -> None:
    with av.open(str(path)) as file:
        shown = {int(2 * f.time): f.to_ndarray(format="rgb24") for f in file.decode(video=0) if f.time < FIRST_SECONDS}
    mem = camera()
    for half, rgb in shown.items():
        mem.append(TorchVision(bundled()).encode([Frame(half, half / 2, 0.0, rgb)])[0])
        assert mem.holdings().out_of_depth, mem.holdings().depth_score  # from the first picture on
    view = mem.fork(ask("what is there?"))
    assert [piece.text for piece in TextAnswerer(mem.backbone).answer(view)] == [OUT_OF_DEPTH]


@pytest.mark.parametrize("day", [True, False], ids=["day", "night"])
@pytest.mark.parametrize("scene", SCENES)
def test_it_is_at_home_before_a_simulated_camera(scene: Scene, day: bool) -> None:
    for seed in (7_100_001, 7_100_002):  # never trained on
        script, mem = Script(seed, scene, day, rain=seed % 2 == 1, pan=0.05 * (seed % 2)), camera()
        for index in range(JUDGED):
            picture = paint(script, 20 + index / 2, nuisance=Nuisance(noise=2.0, jpeg_quality=70))
            mem.append(TorchVision(bundled()).encode([Frame(index, index / 2, 0.0, picture)])[0])
        held = mem.holdings()
        assert held.depth_score is not None and not held.out_of_depth, (seed, held.depth_score)


def test_onnx_runtime_judges_the_same(tmp_path: Path) -> None:
    frames = [Frame(i, i / 2, 0.0, paint(Script(125, "yard"), i / 2)) for i in range(3)]
    theirs = [tokens.depth for tokens in OnnxVision(bundled(), tmp_path).encode(frames)]
    ours = [tokens.depth for tokens in TorchVision(bundled()).encode(frames)]
    assert theirs == pytest.approx(ours, abs=1e-3)


def test_time_alone_changes_no_judgement() -> None:
    tokens = seen(1)[0]
    mem = watch(camera(), [later(tokens, float(second)) for second in range(20)])
    assert mem.holdings().depth_score == pytest.approx(tokens.depth)
