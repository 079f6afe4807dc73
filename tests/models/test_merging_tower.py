"""A vision tower that merges: fewer rows go through its layers, and what comes out is nearly the whole tower's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import cosine_similarity

from models.checkpoint import Checkpoint
from models.vision.merging import TowerMerge, plan_of, received, see_merging, tower
from models.vision.picture import Picture
from models.vision.torch_tower import TorchVision, see, see_inside
from run_stream import see_with
from stream.config import ModelConfig
from stream.flow import Tokens
from tests.models.scripted import tiny_checkpoint
from tests.models.yard import bundled, picture, pictures, pixels

NEAR = 1e-5  # another number of pictures at once: another order of the same sums
WORDS: tuple[TowerMerge, ...] = ("tome", "tempme")


def tiny() -> Checkpoint:
    """One layer, 4 x 4 patches, random weights."""
    return replace(tiny_checkpoint(), picture=Picture(32))


@pytest.fixture(params=["tiny", "bundled"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return tiny() if request.param == "tiny" else bundled()


def shown(checkpoint: Checkpoint) -> Tensor:
    """(5, 3, S, S)"""
    if checkpoint is bundled():
        return pixels(pictures(0, 35, 7))[0]
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@contextmanager
def counting(checkpoint: Checkpoint) -> Iterator[list[tuple[int, int]]]:
    """Rows per picture that each layer's attention and each layer's MLP were given, while this is open."""
    model: Any = checkpoint.model
    asked: list[int] = []
    fed: list[int] = []
    counts: list[tuple[int, int]] = []
    hooks = []
    for layer in model.model.vision_tower.encoder.layers:
        hooks.append(layer.self_attn.q_proj.register_forward_pre_hook(lambda _, args: asked.append(args[0].shape[1])))
        hooks.append(layer.mlp.register_forward_pre_hook(lambda _, args: fed.append(args[0].shape[1])))
    try:
        yield counts
    finally:
        counts += zip(asked, fed, strict=True)
        for hook in hooks:
            hook.remove()


def of(tokens: list[Tokens]) -> Tensor:
    return torch.stack([each.embeds for each in tokens])


@torch.inference_mode()
def test_merging_nothing_is_the_whole_tower_bit_for_bit(checkpoint: Checkpoint) -> None:
    given, layers = shown(checkpoint), checkpoint.model.config.vision_config.num_hidden_layers
    look = see_merging(checkpoint.model, given, [0] * layers, judged=True)
    tokens, inside = see_inside(checkpoint.model, given)
    assert look.inside is not None and torch.equal(look.inside, inside)
    assert torch.equal(look.rows, tokens) and torch.equal(tokens, see(checkpoint.model, given))


def test_without_a_word_the_tower_is_as_it_was() -> None:
    frames = pictures(3)
    with torch.inference_mode():
        given = torch.stack([bundled().picture.tensor(frame.rgb) for frame in frames])
        tokens, inside = see_inside(bundled().model, given)
    seen = TorchVision(bundled()).encode(frames)
    assert torch.equal(of(seen), tokens)
    assert bundled().depth is not None and [each.depth for each in seen] == bundled().depth.scores(inside)


@pytest.mark.parametrize(
    ("word", "tokens", "rows"),
    [
        ("tome", None, [(144, 126), (126, 108), (108, 90), (90, 72)]),
        ("tome", 8, [(144, 136), (136, 128), (128, 120), (120, 112)]),
        ("tome", 1000, [(144, 72), (72, 36), (36, 18), (18, 9)]),  # never more than half
        ("tempme", None, [(144, 120), (120, 96), (96, 96), (96, 96)]),
        ("tempme", 4, [(144, 140), (140, 136), (136, 136), (136, 136)]),
        ("none", None, [(144, 144)] * 4),
    ],
)
def test_fewer_rows_go_through_the_later_layers(word: TowerMerge, tokens: int | None, rows: list[Any]) -> None:
    encoder = TorchVision(bundled(), word, tokens)
    with counting(bundled()) as counts:
        seen = encoder.encode(pictures(2))
    assert counts == rows
    assert [each.embeds.shape for each in seen] == [(36, 256)] * 2  # and the grid is whole again


@pytest.mark.parametrize("word", WORDS)
def test_what_comes_out_is_close_to_the_whole_tower_and_another(word: TowerMerge, checkpoint: Checkpoint) -> None:
    model: Any = checkpoint.model
    given = shown(checkpoint)
    with torch.inference_mode():
        whole, merged = see(model, given), see_merging(model, given, plan_of(model, word)).rows
    assert not torch.equal(whole, merged)
    alike = cosine_similarity(whole, merged, dim=2)
    strange = cosine_similarity(whole, merged.roll(1, 1), dim=2)  # the control: the neighbouring cell's token
    # One layer of random weights that merges half of its patches at once is a hard case.
    assert float(alike.mean()) > (0.99 if checkpoint is bundled() else 0.8) > float(strange.mean()) + 0.05


def test_more_merging_is_further_from_the_whole_tower() -> None:
    frames = pictures(0, 40, 5)
    whole = of(TorchVision(bundled()).encode(frames))
    far = [float((of(TorchVision(bundled(), "tome", r).encode(frames)) - whole).norm()) for r in (0, 2, 8, 18, 36)]
    assert far[0] == 0 and far == sorted(far) and len(set(far)) == 5


@pytest.mark.parametrize("word", WORDS)
def test_several_cameras_at_once_see_what_each_sees_alone(word: TowerMerge) -> None:
    frames = [picture(3), picture(3, 7, "street"), picture(20)]
    encoder = TorchVision(bundled(), word)
    together, alone = of(encoder.encode(frames)), of([encoder.encode([frame])[0] for frame in frames])
    assert float((together - alone).abs().max()) <= NEAR * float(alone.abs().max())
    assert float((together - alone.roll(1, 0)).abs().max()) > 0.1 * float(alone.abs().max())


def test_cells_of_patches_in_one_row_get_one_row() -> None:
    model: Any = bundled().model
    given = pixels(pictures(2))[0]
    with torch.inference_mode():
        last = tower(model.model.vision_tower, given, [18] * 4)[-1]
    assert last.x.shape[1] == last.mass.shape[1] == 72 and last.whole.shape[1] == 144
    for number in range(2):
        assert torch.equal(last.mass[number], torch.bincount(last.owners[number], minlength=72).float())
        assert torch.equal(last.whole[number], last.x[number][last.owners[number]])


@torch.inference_mode()
def test_a_row_of_two_equal_patches_counts_as_both() -> None:
    """Proportional attention: where merged patches are the same, nothing changes but the work."""
    model: Any = tiny().model
    vision = model.model.vision_tower
    vision.encoder.layers.append(deepcopy(vision.encoder.layers[0]))
    place = vision.embeddings.position_embedding.weight
    place[1::2] = place[::2].clone()
    colours = torch.randn(1, 3, 4, 2, generator=torch.Generator().manual_seed(1))
    given = colours.repeat_interleave(8, 2).repeat_interleave(16, 3)  # two patches side by side of one colour
    whole, merged = tower(vision, given, [0, 0])[-1], tower(vision, given, [3, 0])
    assert sorted(merged[1].mass[0].tolist()) == [1.0] * 10 + [2.0] * 3
    assert torch.allclose(merged[2].whole, whole.x, atol=1e-5)
    unweighed = vision.encoder.layers[1](merged[1].x, None)[0, merged[1].owners[0]]
    assert float((unweighed - whole.x).abs().max()) > 1e-3


def test_pictures_of_a_known_kind_are_judged_as_by_the_whole_tower() -> None:
    frames = [*pictures(0, 60, 6), *(picture(i, 7, "street") for i in range(0, 60, 6))]
    whole = [each.depth for each in TorchVision(bundled()).encode(frames)]
    for word in WORDS:
        merged = [each.depth for each in TorchVision(bundled(), word).encode(frames)]
        assert merged == pytest.approx(whole, abs=0.03)
        assert merged != whole


def test_another_kind_of_tower_is_refused_in_a_sentence() -> None:
    model: Any = tiny().model
    model.config.vision_config.model_type = "clip_vision_model"
    assert plan_of(model, "none") == ()
    with pytest.raises(ValueError, match="Only SigLIP towers"):
        plan_of(model, "tome")


def test_the_configuration_chooses_by_one_word() -> None:
    assert ModelConfig().tower_merge == "none"
    with counting(bundled()) as counts:
        see_with(ModelConfig(tower_merge="tome", tower_merge_tokens=4), bundled(), "uniform").encode(pictures(1))
    assert counts[-1] == (132, 128)
    with pytest.raises(ValidationError, match="needs vision: torch"):
        ModelConfig(tower_merge="tempme", vision="onnxruntime")


# What the tower attends to.


@torch.inference_mode()
def test_saliency_is_the_attention_that_transformers_shows() -> None:
    model: Any = bundled().model
    vision, given = model.model.vision_tower, pixels(pictures(3))[0]
    last, kept = vision.encoder.layers[-1], vision.config._attn_implementation
    vision.config._attn_implementation = "eager"
    try:
        theirs = vision(given, output_attentions=True).attentions[-1]  # (B, heads, asking, asked)
    finally:
        vision.config._attn_implementation = kept
    ours = received(last, tower(vision, given, [0] * 4)[-2])
    assert torch.allclose(ours, theirs.mean((1, 2)), atol=1e-6)
    assert torch.allclose(ours.sum(1), torch.ones(3), atol=1e-5)


@pytest.mark.parametrize("word", ["none", "tome"])
def test_saliency_comes_with_the_same_tokens(word: TowerMerge) -> None:
    frames = pictures(0, 12, 4)
    told, plain = (TorchVision(bundled(), word, salient=salient).encode(frames) for salient in (True, False))
    assert torch.equal(of(told), of(plain))
    assert [tokens.depth for tokens in told] == [tokens.depth for tokens in plain]
    assert all(tokens.saliency is None for tokens in plain)
    for salient in saliency(told):
        assert salient.shape == (36,) and salient.dtype == torch.float32
        assert float(salient.sum()) == pytest.approx(1 / 4, abs=1e-4)  # the mean of four patches, in each of 36 cells
        assert float(salient.max()) > 1.2 * float(salient.min())  # some cells matter more
    assert not torch.equal(saliency(told)[0], saliency(told)[2])


def saliency(told: list[Tokens]) -> Tensor:
    return torch.stack([tokens.saliency for tokens in told if tokens.saliency is not None])


def test_saliency_of_merging_towers_is_near_that_of_the_whole_one() -> None:
    frames = pictures(0, 40, 8)
    whole, merged = (saliency(TorchVision(bundled(), word, salient=True).encode(frames)) for word in ("none", "tome"))
    assert float(cosine_similarity(whole, merged, dim=1).min()) > float(
        cosine_similarity(whole, merged.roll(1, 1), dim=1).max()
    )
