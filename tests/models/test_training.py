"""The shipped recipe runs from nothing to a checkpoint that answers, and goes on where it was."""

from pathlib import Path
from typing import cast

import numpy as np
import torch

from models.checkpoint import open_checkpoint
from models.prompt import Layout
from models.training.attention import packed_attention
from models.training.histories import compose, fuse, lay_out, pack
from models.training.lessons import Teacher
from models.training.main import main
from models.training.tokens import load_runs
from stream.sources.simulated.teacher import SimulatedTeacher

SMALL = ["--tower-minutes", "0.03", "--language-minutes", "0.05", "--runs", "5", "--held-out", "4"]
SMALL += ["--pictures", "48", "--exam-batches", "1"]


def teacher() -> Teacher:
    """The simulator; it fulfils the protocol without knowing it, as `run_stream.py train` brings the two together."""
    return cast("Teacher", SimulatedTeacher())


def test_from_nothing_to_a_checkpoint_and_on(tmp_path: Path) -> None:
    said: list[str] = []
    assert main([*SMALL, "--out", str(tmp_path)], teacher(), said.append) == 0
    opened = open_checkpoint(tmp_path / "language")
    assert opened.card.memory["fused_tokens"] == 32
    assert opened.card.accuracy["teacher_forced"]
    assert float(opened.cross_dynamics.gate.detach()) != 0.0
    tower = open_checkpoint(tmp_path / "tower")
    before = tower.model.model.vision_tower.embeddings.patch_embedding.weight
    assert torch.allclose(before, opened.model.model.vision_tower.embeddings.patch_embedding.weight, atol=1e-3)
    again: list[str] = []
    assert main([*SMALL, "--out", str(tmp_path)], teacher(), again.append) == 0
    assert any("taken from" in line for line in again) and not any(line.startswith("tower ") for line in again)
    packing_hides_questions_from_each_other(tmp_path)


def packing_hides_questions_from_each_other(folder: Path) -> None:
    """A packed question gives the logits that it gives alone: what forks do when deployed."""
    checkpoint, asks = open_checkpoint(folder / "language"), teacher()
    runs = load_runs(folder / "tokens.pt")
    history = compose(runs, asks, np.random.default_rng(0), earlier=1, questions=5)
    assert len(history.items) > 1
    language, layout = (
        checkpoint.model.model.language_model,
        Layout(checkpoint.tokenizer, checkpoint.model.config.video_token_id),
    )
    newline, end_id = checkpoint.model.model.image_newline, int(checkpoint.tokenizer.eos_token_id)
    with torch.no_grad():
        fused = fuse([history], checkpoint.cross_dynamics)
        packed = pack([history], fused, layout, language.embed_tokens, newline=newline, end_id=end_id)
        with packed_attention(language):
            whole = language(
                inputs_embeds=packed.embeds, position_ids=packed.positions, tails=packed.tails
            ).last_hidden_state
        context, tails = lay_out(history, fused[0], layout, newline, end_id)
        question, answer = tails[-1]
        rows = [
            part.embeds if part.embeds is not None else language.embed_tokens(torch.tensor(part.ids))
            for part in [*context, question, answer]
        ]
        alone = language(inputs_embeds=torch.cat(rows)[None]).last_hidden_state
    assert torch.allclose(whole[0, -len(answer) :], alone[0, -len(answer) :], atol=1e-3)
    assert not torch.allclose(whole[0, -len(answer) :], alone[0, : len(answer)], atol=1e-1)
