"""The shipped checkpoint is an ordinary LLaVA-OneVision folder, small, honest about itself, and it answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForImageTextToText, AutoTokenizer, LlavaOnevisionForConditionalGeneration

from models.answerer import TextAnswerer
from models.checkpoint import BUNDLED
from models.kv.budget import MemoryConfig
from models.memory import open_memory
from models.vision.onnx_tower import RELATIVE_TOLERANCE, OnnxVision
from stream.flow import MediaEpoch
from tests.models.scripted import NOON, ask
from tests.models.yard import backbone, bundled, pictures, pixels, seen, watch

LARGEST_BYTES = 40_000_000
FOREIGN = ["Wo ist der Hund? – là-bas", "日本語で質問できますか", "🚲🚲 \x00\t\n", "שלום 안녕 ☃"]


def test_transformers_loads_it_as_any_llava_onevision() -> None:
    model = AutoModelForImageTextToText.from_pretrained(BUNDLED, dtype=torch.float32, local_files_only=True).eval()
    assert isinstance(model, LlavaOnevisionForConditionalGeneration)
    ours: Any = bundled().model
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in ours.state_dict().items()}
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED, local_files_only=True)
    rows, columns = bundled().grid
    turn: dict[str, Any] = {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "what is there?"}]}
    text = tokenizer.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
    text = text.replace("<video>", "<video>" * (2 * rows * columns + 1))
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    shown = pixels(pictures(2))
    with torch.no_grad():
        theirs, mine = (m(input_ids=ids, pixel_values_videos=shown).logits for m in (model, ours))
    assert torch.equal(theirs, mine) and bool(theirs.isfinite().all())


def test_it_is_small_and_whole() -> None:
    files = {path.name: path.stat().st_size for path in BUNDLED.iterdir() if path.is_file()}
    assert sum(files.values()) <= LARGEST_BYTES
    assert {"config.json", "model.safetensors", "longwatch.safetensors", "longwatch.json", "tokenizer.json"} <= {*files}
    assert not [name for name in files if Path(name).suffix not in {".json", ".jinja", ".safetensors", ".md", ".txt"}]
    assert bundled().folder == BUNDLED


def _tables(words: Any) -> Iterator[dict[str, Any]]:
    """Every table of figures on the card, however deep it lies."""
    if isinstance(words, dict):
        if any(isinstance(value, float) for value in words.values()):
            yield words
        for each in words.values():
            yield from _tables(each)


def test_its_card_says_how_often_it_is_right() -> None:
    card = bundled().card
    config = MemoryConfig().with_recommended(card.memory)
    assert card.name and {name: getattr(config, name) for name in card.memory} == card.memory
    tables = list(_tables(card.accuracy))
    assert tables, "a shipped checkpoint states its measured accuracy"
    for table in tables:
        figures = [value for value in table.values() if isinstance(value, float)]
        assert all(0.0 <= figure <= 1.0 for figure in figures)
        assert "longwatch" not in table or {"blind", "last frame"} <= {*table}, "an accuracy stands beside its floors"


@given(st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_its_tokenizer_reads_any_text(text: str) -> None:
    layout = backbone().layout()
    ids = layout.text_ids(text)
    assert bundled().tokenizer.decode(list(ids)) == text
    assert all(0 <= i < len(bundled().tokenizer) for i in ids)


@pytest.mark.parametrize("text", FOREIGN)
def test_its_tokenizer_reads_any_language(text: str) -> None:
    assert bundled().tokenizer.decode(list(backbone().layout().text_ids(text))) == text


def test_a_question_about_the_scene_is_answered_with_evidence() -> None:
    mem = open_memory(backbone(), bundled(), MemoryConfig(), MediaEpoch(NOON))
    watch(mem, seen(60))
    for text in ("what is there?", "was there a person before?"):
        view = mem.fork(ask(text, max_tokens=32))
        said = "".join(piece.text for piece in TextAnswerer(mem.backbone).answer(view)).strip()
        assert said and said.isprintable()
        found = view.evidence().sightings
        assert found and 0 < sum(each.weight_fraction for each in found) <= 1 + 1e-6
        rows, columns = bundled().grid
        for each in found:
            assert len(each.cells) == rows and {len(row) for row in each.cells} == {columns}
            assert sum(map(sum, each.cells)) == pytest.approx(1.0, abs=1e-4)


def test_onnx_runtime_sees_the_same(tmp_path: Path) -> None:
    exported = OnnxVision(bundled(), tmp_path)
    for count in (1, 5):
        theirs, ours = exported.encode(pictures(count)), seen(count)
        for a, b in zip(theirs, ours, strict=True):
            assert float((a.embeds - b.embeds).abs().max()) <= RELATIVE_TOLERANCE * float(b.embeds.abs().max())
        other = seen(50, 51)[0].embeds
        assert float((theirs[0].embeds - other).abs().max()) > RELATIVE_TOLERANCE * float(other.abs().max())
