"""A memory written and read back answers the same; anything else is refused and changes nothing."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models.answerer import TextAnswerer
from models.backbone import Backbone
from models.kv.render import Slab
from models.memory import Memory
from tests.models.exact import check
from tests.models.scripted import ask, frame, memory, tiny_checkpoint

DAY: dict[str, Any] = {
    "budget": "1536KiB",
    "hot_blocks": 4,
    "warm_fraction": 0.05,
    "cold_fraction": 0.02,
    "max_forks": 3,
}


@pytest.fixture
def lived() -> Memory:
    mem = memory(**DAY)
    for index in range(120):
        mem.append(frame(index))
    return mem


def first_logits(mem: Memory, text: str) -> torch.Tensor:
    view = mem.fork(ask(text))
    return mem.backbone.logits(view.read()[None])[0]


@pytest.mark.parametrize("where", ["lazy_rebase", "contiguous", "gap"])
def test_next_answer_is_equal(tmp_path: Path, where: str) -> None:
    mem, other = memory(positions=where, **DAY), memory(positions=where, **DAY)
    for index in range(121):
        mem.append(frame(index))
    list(TextAnswerer(mem.backbone).answer(mem.fork(ask("what was there before?"))))
    mem.snapshot(tmp_path / "yard.memory")
    other.restore(tmp_path / "yard.memory")
    for text in ("what is there?", "what was there before?"):
        assert torch.equal(first_logits(mem, text), first_logits(other, text))
    assert other.ledger.state() == mem.ledger.state()
    assert other.epoch.wall_s == mem.epoch.wall_s
    for index in range(121, 140):  # and it goes on the same
        mem.append(frame(index))
        other.append(frame(index))
    assert torch.equal(first_logits(mem, "what is there?"), first_logits(other, "what is there?"))
    assert other.holdings().patches_by_state == mem.holdings().patches_by_state
    assert list(tmp_path.iterdir()) == [tmp_path / "yard.memory"], "nothing is left beside it"


def test_a_snapshot_is_written_whole_or_not_at_all(
    lived: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "yard.memory"
    lived.snapshot(path)
    before = path.read_bytes()
    monkeypatch.setattr("models.kv.snapshot.os.fsync", lambda _file: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        lived.snapshot(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def rewritten(path: Path, change: str) -> None:
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    state = json.loads(metadata["state"])
    raw = next(name for name in tensors if name.endswith(".raw"))
    if change == "model":
        metadata["model"] = "another"
    elif change == "format":
        metadata["format"] = "longwatch-memory-0"
    elif change == "shape":
        tensors[raw] = tensors[raw][:1]
    elif change == "not a number":
        tensors[raw] = tensors[raw] * float("nan")
    elif change == "missing tensor":
        del tensors[raw]
    elif change == "ledger":
        state["ledger"]["entries"].pop()
    elif change == "entry":
        state["ledger"]["entries"][0]["surprise"] = 1
    elif change == "positions":
        state["starts"]["-1"] = -5
    elif change == "perception":
        tensors["perception.open"] = torch.zeros(1, 9, 9)
        del tensors["perception.numbers"]
    elif change == "long block":
        for name in list(tensors):
            if name.startswith(raw.rpartition(".")[0] + ".") and name.endswith(("raw", "values")):
                tensors[name] = tensors[name].repeat(1, 1, 40, 1)
    metadata["state"] = json.dumps(state)
    save_file(tensors, path, metadata)


CHANGES = ["model", "format", "shape", "not a number", "missing tensor", "ledger", "entry", "positions", "perception"]


@pytest.mark.parametrize("change", [*CHANGES, "long block"])
def test_what_is_not_ours_is_refused_and_changes_nothing(lived: Memory, tmp_path: Path, change: str) -> None:
    path = tmp_path / "yard.memory"
    lived.snapshot(path)
    rewritten(path, change)
    before, logits = lived.ledger.state(), first_logits(lived, "what is there?")
    with pytest.raises(ValueError, match=r"snapshot|yard\.memory"):
        lived.restore(path)
    assert lived.ledger.state() == before
    assert torch.equal(first_logits(lived, "what is there?"), logits)


def test_rubbish_and_nothing_are_refused(lived: Memory, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff" * 4096)
    (tmp_path / "b").write_bytes(b"")
    for name in ("a", "b", "c"):
        with pytest.raises(ValueError, match=r"snapshot"):
            lived.restore(tmp_path / name)


def test_a_huge_file_is_not_read(lived: Memory, tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ValueError, match="larger"):
        lived.restore(tmp_path / "huge")


def test_another_models_memory_is_refused(lived: Memory, tmp_path: Path) -> None:
    lived.snapshot(tmp_path / "yard.memory")
    other = memory(layers=3, **DAY)
    with pytest.raises(ValueError, match="another model"):
        other.restore(tmp_path / "yard.memory")


@pytest.mark.parametrize("most", [5, 4, 1, 0])
def test_a_smaller_memory_takes_what_it_can_hold(tmp_path: Path, most: int) -> None:
    """Pins of the larger one too: as many as the smaller one may have, the newest."""
    large, small = memory(hot_blocks=12), memory(hot_blocks=most)
    for index in range(25):
        large.append(frame(index))
    for block_id in range(2, 8):
        large.pin(block_id)
    large.snapshot(tmp_path / "yard.memory")
    small.restore(tmp_path / "yard.memory")
    check(small)
    assert len(small._hot.blocks) == most
    pinned = [entry.id for entry in small.ledger.entries.values() if entry.pinned]
    assert pinned == list(range(8 - most // 2, 8)) and set(pinned) <= set(small._hot.blocks)
    for index in range(25, 60):  # and it goes on
        small.append(frame(index))
        check(small)
    assert set(pinned) <= set(small._hot.blocks)


def test_a_restore_that_fails_late_changes_nothing(
    lived: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived.snapshot(tmp_path / "yard.memory")
    for index in range(120, 130):
        lived.append(frame(index))
    before, logits, seen_s = lived.ledger.state(), first_logits(lived, "what is there?"), lived.seen_s
    monkeypatch.setattr(Slab, "append", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lived.restore(tmp_path / "yard.memory")
    monkeypatch.undo()
    check(lived)
    assert lived.ledger.state() == before and lived.seen_s == seen_s
    assert torch.equal(first_logits(lived, "what is there?"), logits)


def test_what_left_lately_is_still_listed(tmp_path: Path) -> None:
    mem, other = memory(**(DAY | {"warm_fraction": 0.0})), memory(**(DAY | {"warm_fraction": 0.0}))
    for index in range(200):
        mem.append(frame(index))
    mem.snapshot(tmp_path / "yard.memory")
    other.restore(tmp_path / "yard.memory")
    before, after = ([asdict(record) for record in each.holdings().recent] for each in (mem, other))
    assert before and after == before


@pytest.mark.parametrize("part", ["vision_tower", "multi_modal_projector", "language_model.layers.1.mlp"])
def test_other_weights_anywhere_are_another_model(part: str) -> None:
    """Rows come from the tower and the projector, keys of a layer from all layers before it."""
    checkpoint = tiny_checkpoint()
    same, other = deepcopy(checkpoint.model), deepcopy(checkpoint.model)
    name, weight = next((n, w) for n, w in other.named_parameters() if part in n)
    with torch.no_grad():
        weight.flatten()[-1:].add_(0.5) if weight.numel() < 256 else weight.add_(0.01)
    names = [Backbone(replace(checkpoint, model=model)).fingerprint() for model in (checkpoint.model, same, other)]
    assert names[0] == names[1] != names[2], name
