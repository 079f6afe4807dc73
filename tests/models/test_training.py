"""The shipped recipe runs from nothing to a checkpoint that answers, and goes on where it was."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

from models.checkpoint import open_checkpoint
from models.prompt import Layout
from models.training.attention import packed_attention
from models.training.course import Course
from models.training.create import Shape, new_checkpoint
from models.training.curves import draw_curves
from models.training.histories import History, Shown, compose
from models.training.inherit import inherit
from models.training.lessons import Teacher
from models.training.main import MEMORY, main
from models.training.packing import Packer
from models.training.plan import TrainPlan, read_plan
from models.training.tokens import RunTokens, load_runs
from stream.cli.spread import spread
from stream.sources.simulated.teacher import SimulatedTeacher

SMALL = ["--tower-minutes", "0.03", "--language-minutes", "0.05", "--runs", "5", "--held-out", "4"]
SMALL += ["--pictures", "48", "--exam-batches", "1", "--workers", "1"]


def teacher() -> Teacher:
    """The simulator; it fulfils the protocol without knowing it, as `run_stream.py train` brings the two together."""
    return cast("Teacher", SimulatedTeacher())


def test_from_nothing_to_a_checkpoint_and_on(tmp_path: Path) -> None:
    said: list[str] = []
    assert main([*SMALL, "--out", str(tmp_path)], teacher(), said.append, spread) == 0
    opened = open_checkpoint(tmp_path / "language")
    assert opened.card.memory["fused_tokens"] == MEMORY["fused_tokens"]
    assert opened.card.accuracy["teacher_forced"]
    assert float(opened.cross_dynamics.gate.detach()) != 0.0
    tower = open_checkpoint(tmp_path / "tower")
    before = tower.model.model.vision_tower.embeddings.patch_embedding.weight
    assert torch.allclose(before, opened.model.model.vision_tower.embeddings.patch_embedding.weight, atol=1e-3)
    again: list[str] = []
    assert main([*SMALL, "--out", str(tmp_path)], teacher(), again.append, spread) == 0
    assert any("taken from" in line for line in again) and not any(line.startswith("tower [") for line in again)
    assert (tmp_path / "curves.png").is_file()
    packing_hides_questions_from_each_other(tmp_path)


def test_what_is_written_may_be_a_mean_with_what_it_began_from(tmp_path: Path) -> None:
    """A run whose weights have gone far is gone on from its kept state, its time over, with three shares."""
    assert main([*SMALL, "--out", str(tmp_path)], teacher(), lambda _: None, spread) == 0
    path = tmp_path / "language.state.pt"
    state = torch.load(path, weights_only=False)
    far = {k: w + 0.1 if w.is_floating_point() else w for k, w in state["students"].items()}

    def written(share: float) -> list[torch.Tensor]:
        torch.save(state | {"students": far}, path)
        assert main([*SMALL, "--out", str(tmp_path), "--new-share", str(share)], teacher(), lambda _: None, spread) == 0
        kept = torch.load(path, weights_only=False)["students"]
        assert all(torch.equal(kept[name], weights) for name, weights in far.items()), "what was trained is kept whole"
        return weights_of(tmp_path / "language")

    began, none, half, whole = weights_of(tmp_path / "tower"), written(0.0), written(0.5), written(1.0)
    for start, before, mean, after in zip(began, none, half, whole, strict=True):
        if start.numel() > 1 or float(start):  # a gate of zero is opened to begin with
            torch.testing.assert_close(start, before, atol=4e-3, rtol=0.01)  # written in half precision
        torch.testing.assert_close(mean, (before + after) / 2, atol=4e-3, rtol=0.01)
        assert float((after - before).abs().min()) > 0.05


def weights_of(folder: Path) -> list[torch.Tensor]:
    """All that the language stage trains."""
    found = open_checkpoint(folder)
    parts = (found.model.model.language_model, found.cross_dynamics)
    return [weights.detach().float() for part in parts for weights in part.parameters()]


def packing_hides_questions_from_each_other(folder: Path) -> None:
    """A packed question gives the logits that it gives alone, with what is in its reach, as forks do when deployed."""
    checkpoint, asks = open_checkpoint(folder / "language"), teacher()
    runs = [run for path in sorted((folder / "tokens").iterdir()) for run in load_runs(path)]
    history = a_history_with_a_named_time(runs, asks)
    language = checkpoint.model.model.language_model
    layout = Layout(checkpoint.tokenizer, checkpoint.model.config.video_token_id)
    packer = Packer(layout, int(checkpoint.tokenizer.eos_token_id))
    with torch.no_grad():
        packed = packer.pack([history])
        fused = Shown.of([history]).fuse(checkpoint.cross_dynamics)
        embeds = packed.embed(language.embed_tokens, fused, checkpoint.model.model.image_newline)
        with packed_attention(language):
            whole = language(inputs_embeds=embeds, position_ids=packed.positions, tails=packed.tails).last_hidden_state
        _, tails = packer.lay_out(history)
        laid = packed.laid[0]
        for index in (len(tails) - 1, next(i for i, item in enumerate(history.items) if item.span is not None)):
            here = slice(laid.starts[index], laid.starts[index] + sum(map(len, tails[index])))
            rows = torch.cat([embeds[0, : laid.context], embeds[0, here]])
            mask = torch.ones(len(rows), len(rows), dtype=torch.bool).tril()
            for out in laid.hidden[index]:
                mask[laid.context :, out.start : out.stop] = False
            positions = torch.cat([torch.arange(laid.context), packed.positions[0, here]])
            alone = language(
                inputs_embeds=rows[None], position_ids=positions[None], attention_mask=mask[None, None]
            ).last_hidden_state
            asked = alone[0, laid.context :]
            assert torch.allclose(whole[0, here], asked, atol=1e-3)
            assert not torch.allclose(whole[0, here], alone[0, : len(asked)], atol=1e-1)
            if laid.hidden[index]:
                open_mask = torch.ones_like(mask).tril()
                seen_all = language(
                    inputs_embeds=rows[None], position_ids=positions[None], attention_mask=open_mask[None, None]
                ).last_hidden_state
                assert not torch.allclose(seen_all[0, laid.context :], asked, atol=1e-3), "what is hidden would count"


def nothing(_item: object, blocks: Sequence[object]) -> list[float]:
    """No block looks like anything."""
    return [0.0] * len(blocks)


def a_history_with_a_named_time(runs: list[RunTokens], asks: Teacher) -> History:
    """The first that has both a question that names a time and, last, one that does not."""
    for seed in range(60):
        history = compose(runs, asks, np.random.default_rng(seed), earlier=2, questions=24, rank=nothing)
        if any(item.span is not None for item in history.items) and history.items[-1].span is None:
            return history
    raise AssertionError("No history had a question about a named time.")


def test_a_killed_stage_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    first = Course(tmp_path, "tower", 5.0, said.append)
    first.step = 7
    first.keep({"weights": torch.arange(3)})
    second = Course(tmp_path, "tower", 5.0, said.append)
    state = second.resume()
    assert state is not None and state["weights"].tolist() == [0, 1, 2]
    assert second.step == 7 and 0 < second.spent < 5.0 and not second.over
    assert Course(tmp_path, "language", 5.0, said.append).resume() is None
    assert not list(tmp_path.glob("*.new"))


def test_curves_are_drawn(tmp_path: Path) -> None:
    course = Course(tmp_path, "language", 1.0, lambda _: None)
    draw_curves(tmp_path / "curves.jsonl", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
    for value in (3.0, 2.0, 1.0):
        course.note({"words": value, "exam order": 1 / value}, always=True)
    draw_curves(tmp_path / "curves.jsonl", tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        colours = picture.convert("RGB").getcolors(1 << 20)
    assert colours is not None and len(colours) > 3


def test_a_plan_is_read_from_its_file_and_flags_go_first(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("runs: 12\nlearning_rate: 1.0e-3\nstart: null\n")
    plan = read_plan(["--config", str(path), "--runs", "3"])
    assert (plan.runs, plan.learning_rate, plan.start) == (3, 1e-3, None)
    shipped = read_plan(["--config", "configs/recipes/bundled.yaml"])
    assert shipped == TrainPlan(), "the shipped file says the defaults"
    with pytest.raises(ValueError, match="0 to 1"):
        read_plan(["--new-share", "30"])
    path.write_text("runz: 12\n")
    with pytest.raises(ValueError, match="runz"):
        read_plan(["--config", str(path)])
    path.write_text("runs: many\n")
    with pytest.raises(ValueError, match="wrong type"):
        read_plan(["--config", str(path)])


def test_a_new_checkpoint_takes_over_what_fits() -> None:
    old = open_checkpoint("bundled")
    corpus = [*teacher().corpus(), "A zebra crossed."]
    new = new_checkpoint(Shape(side=96), corpus, 3)
    before = new.model.model.language_model.embed_tokens.weight.detach().clone()
    inherit(new, old)
    after, theirs = (c.model.model.language_model for c in (new, old))
    word = "Ġred"
    assert torch.equal(
        after.embed_tokens.weight[new.tokenizer.get_vocab()[word]],
        theirs.embed_tokens.weight[old.tokenizer.get_vocab()[word]],
    )
    fresh = next(i for token, i in new.tokenizer.get_vocab().items() if token not in old.tokenizer.get_vocab())
    assert torch.equal(after.embed_tokens.weight[fresh], before[fresh])
    assert torch.equal(after.layers[1].mlp.up_proj.weight, theirs.layers[1].mlp.up_proj.weight)
    assert new.model.model.vision_tower.embeddings.position_embedding.weight.shape[0] == 64
    with pytest.raises(ValueError, match="cannot be gone on from"):
        inherit(new_checkpoint(Shape(dim=128), corpus, 3), old)
