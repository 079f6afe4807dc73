"""Checkpoints: ours and others by one road; what is none is refused in a sentence."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.checkpoint import (
    CARD_FILE,
    DYNAMICS_FILE,
    Card,
    Checkpoint,
    CheckpointError,
    open_checkpoint,
    save_checkpoint,
)
from models.training.create import Shape, new_checkpoint
from models.vision.onnx_tower import RELATIVE_TOLERANCE, OnnxVision, export
from models.vision.picture import Picture, read_picture
from models.vision.torch_tower import TorchVision
from stream.flow import Frame

SHAPE = Shape(side=32, patch=8, vision_layers=2, vision_dim=32, layers=2, dim=64, hidden=64, vocabulary=300)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    made = new_checkpoint(SHAPE, ["a red box", "is there a dog?"], seed=3, name="tiny")
    made.model.eval()
    return made


@pytest.fixture(scope="module")
def folder(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("checkpoint") / "tiny"
    with torch.no_grad():
        checkpoint.cross_dynamics.gate.fill_(0.5)
    save_checkpoint(replace(checkpoint, card=Card("tiny", {"hot_blocks": 3})), place, torch.float32)
    return place


def frames(count: int = 3) -> list[Frame]:
    rng = np.random.default_rng(0)
    return [Frame(i, i / 2, 0.0, rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)) for i in range(count)]


def test_saving_in_half_leaves_the_one_in_use_as_it_is(checkpoint: Checkpoint, tmp_path: Path) -> None:
    before = {name: weight.clone() for name, weight in checkpoint.model.state_dict().items()}
    save_checkpoint(checkpoint, tmp_path, torch.float16)
    after = checkpoint.model.state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert any(not torch.equal(weight, weight.half().float()) for weight in before.values()), "half would be noticed"


def test_saved_and_opened_it_is_the_same_model(checkpoint: Checkpoint, folder: Path) -> None:
    opened = open_checkpoint(folder)
    assert opened.card.memory == {"hot_blocks": 3} and opened.model_id == "tiny"
    assert opened.picture == checkpoint.picture and opened.grid == (2, 2) and opened.dim == 64
    ids = checkpoint.tokenizer("is there a red box?", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert torch.equal(opened.model(input_ids=ids).logits, checkpoint.model(input_ids=ids).logits)
    assert float(opened.cross_dynamics.gate.detach()) == 0.5
    seen, again = TorchVision(checkpoint).encode(frames()), TorchVision(opened).encode(frames())
    assert all(torch.equal(a.embeds, b.embeds) for a, b in zip(seen, again, strict=True))


def test_a_foreign_checkpoint_has_no_card_and_an_identity(folder: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for path in folder.iterdir():
        if path.name not in (CARD_FILE, DYNAMICS_FILE):
            (foreign / path.name).write_bytes(path.read_bytes())
    opened = open_checkpoint(foreign)
    assert opened.card == Card() and float(opened.cross_dynamics.gate.detach()) == 0.0


def test_one_frame_at_a_time_equals_a_batch(checkpoint: Checkpoint) -> None:
    encoder = TorchVision(checkpoint)
    together = encoder.encode(frames())
    apart = [encoder.encode([frame])[0] for frame in frames()]
    for a, b in zip(together, apart, strict=True):
        assert torch.allclose(a.embeds, b.embeds, atol=1e-5)
        assert a.places.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]]
        assert float(a.mass.sum()) == 4
    assert encoder.encode([]) == []


def test_onnx_runtime_sees_the_same(checkpoint: Checkpoint, tmp_path: Path) -> None:
    exported = OnnxVision(checkpoint, tmp_path)
    for count in (1, 3):
        theirs, ours = exported.encode(frames(count)), TorchVision(checkpoint).encode(frames(count))
        for a, b in zip(theirs, ours, strict=True):
            assert float((a.embeds - b.embeds).abs().max()) <= RELATIVE_TOLERANCE * float(b.embeds.abs().max())
    path = export(checkpoint, tmp_path)
    assert list(tmp_path.iterdir()) == [path]  # exported once, and no half file left
    other = new_checkpoint(SHAPE, ["a red box"], seed=4)
    assert export(other, tmp_path) != path  # other weights, another file


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"config.json": None}, "has no config.json"),
        ({"config.json": b"{"}, "is not JSON"),
        ({"config.json": b'{"model_type": "bert"}'}, "of type 'bert'"),
        ({"model.safetensors": None}, "no .safetensors weights"),
        ({"model.safetensors": b"not weights"}, "could not be loaded"),
        ({"tokenizer.json": b"{}"}, "tokenizer"),
        ({DYNAMICS_FILE: b"not weights"}, "does not fit"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_a_sentence(
    folder: Path, tmp_path: Path, broken: dict[str, bytes | None], says: str
) -> None:
    place = tmp_path / "broken"
    place.mkdir()
    for path in folder.iterdir():
        content = broken.get(path.name, path.read_bytes())
        if content is not None:
            (place / path.name).write_bytes(content)
    with pytest.raises(CheckpointError, match=says):
        open_checkpoint(place)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_weights_that_are_missing_are_not_made_up(folder: Path, tmp_path: Path, kept: float) -> None:
    place = tmp_path / "half"
    place.mkdir()
    for path in folder.iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    weights = load_file(place / "model.safetensors")
    names = sorted(weights)[: int(kept * len(weights))]
    save_file({"of.another.model": torch.zeros(1)} | {n: weights[n] for n in names}, place / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks .* of its weights"):
        open_checkpoint(place)


def test_a_configuration_of_wrong_types_is_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "odd"
    place.mkdir()
    for path in folder.iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | {"text_config": 5}))
    with pytest.raises(CheckpointError, match="could not be loaded"):
        open_checkpoint(place)


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no folder"):
        open_checkpoint(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="is a file"):
        open_checkpoint(tmp_path / "file")


def test_both_ways_of_writing_preprocessing_are_read(tmp_path: Path) -> None:
    old = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.4], "rescale_factor": 0.01, "resample": 2}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    assert read_picture(tmp_path, 64) == Picture(64, (0.1, 0.2, 0.3), (0.5, 0.5, 0.4), 0.01, 2)
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": old}))
    assert read_picture(tmp_path, 64).mean == (0.1, 0.2, 0.3)
    white = Picture(8).tensor(np.full((20, 30, 3), 255, np.uint8))
    assert white.shape == (3, 8, 8) and torch.allclose(white, torch.ones(3, 8, 8))
