"""The memory computes exactly what the plain model would: streamed, evicted, rebased, forked, recalled."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from kernels import ops
from models.answerer import TextAnswerer
from models.attention import NAME
from models.backbone import Backbone
from models.checkpoint import CheckpointError
from models.kv import prune
from models.memory import Memory
from models.prompt import embed
from tests.models.exact import ask_until, forgetful, plain, read, untouched, watched
from tests.models.scripted import ask, frame, memory, tiny_backbone, tiny_checkpoint

NEAR: dict[str, Any] = {"rtol": 0.0, "atol": 1e-5}


def feed(mem: Memory, frames: range, seed: int = 0) -> None:
    for index in frames:
        mem.append(frame(index, seed=seed))


def test_streaming_without_pruning_is_the_plain_model() -> None:
    mem = memory(hot_blocks=16)
    log = watched(mem)
    feed(mem, range(13))
    view = mem.fork(ask())
    truth = plain(mem, view, log)
    torch.testing.assert_close(read(mem), truth, **NEAR)
    assert float(truth.abs().max()) > 0.5


@pytest.mark.parametrize("policy", get_args(prune.Policy))
def test_eviction_is_a_mask(policy: str) -> None:
    mem = memory(hot_blocks=4, positions="gap", policy=policy, recall=False)
    log = watched(mem)
    feed(mem, range(31))
    assert mem.ledger.tokens_by_state()["dropped" if policy == "recent" else "warm"] > 0
    view = mem.fork(ask())
    torch.testing.assert_close(read(mem), plain(mem, view, log), **NEAR)


def test_pruning_changes_logits_and_a_broken_mask_is_seen() -> None:
    mem = memory(hot_blocks=4, positions="gap", recall=False)
    log = watched(mem)
    feed(mem, range(31))
    view = mem.fork(ask())
    assert float((read(mem) - plain(mem, view, forgetful(log))).abs().max()) > 1e-3


def test_reindexing_is_not_nothing() -> None:
    gap, rank = (memory(hot_blocks=4, positions=p, recall=False, policy="random") for p in ("gap", "contiguous"))
    feed(gap, range(31))
    feed(rank, range(31))
    assert float((read(gap) - read(rank)).abs().max()) > 1e-3


def test_a_uniform_shift_changes_nothing() -> None:
    mem = memory(hot_blocks=4)
    feed(mem, range(9))
    before = read(mem)
    mem._hot.positions.starts = {block: start + 700 for block, start in mem._hot.positions.starts.items()}
    mem._hot.positions.next += 700
    mem._hot.rebuild()
    torch.testing.assert_close(read(mem), before, rtol=0.0, atol=1e-4)


def test_a_thousand_rebases_do_not_compound() -> None:
    mem = memory(hot_blocks=4)
    feed(mem, range(9))
    keys = mem._hot.slab.view().keys.clone()
    starts, after = dict(mem._hot.positions.starts), mem._hot.positions.next
    for shift in range(1000):
        mem._hot.positions.starts = {block: start + shift % 97 for block, start in starts.items()}
        mem._hot.rebuild()
    mem._hot.positions.starts, mem._hot.positions.next = starts, after
    mem._hot.rebuild()
    assert torch.equal(mem._hot.slab.view().keys, keys)


def test_rotating_rotated_keys_would_compound() -> None:
    """The negative control of the test above: the usual way, by differences and in place."""
    backbone = tiny_backbone()
    raw = torch.randn(8, backbone.head_dim).bfloat16()
    step, whole = backbone.rotation([1] * 8), backbone.rotation([1000] * 8)
    chained = raw
    for _ in range(1000):
        chained = ops.rotate(chained, *step)
    once = ops.rotate(raw, *whole)
    assert float((chained - once).float().norm() / once.float().norm()) > 0.1


def test_lazy_rebase_keeps_positions_bounded_and_moves_rarely() -> None:
    mem = memory(hot_blocks=4, positions="lazy_rebase")
    mem._hot.positions.highest = 400
    feed(mem, range(200))
    assert mem._hot.positions.next <= 400
    assert 0 < mem._hot.positions.epoch < 40
    assert mem._hot.positions.starts[-1] == 0
    starts = [mem._hot.positions.starts[i] for i in sorted(mem._hot.positions.starts)]
    assert starts == sorted(starts)


def test_rendering_in_steps_is_rendering_at_once() -> None:
    mem = memory(hot_blocks=8)
    feed(mem, range(13))
    grown = mem._hot.slab.view().keys.clone()
    mem._hot.rebuild()
    assert torch.equal(grown, mem._hot.slab.view().keys)


@pytest.mark.parametrize("end", ["finish", "cancel", "fail", "fail inside"])
def test_a_fork_leaves_its_parent_bit_identical(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mem = memory(hot_blocks=4)
    feed(mem, range(31))
    alone = read(mem)
    with untouched(mem):
        ask_until(end, mem, TextAnswerer(mem.backbone), monkeypatch)
    assert torch.equal(read(mem), alone)


def test_a_fork_copies_no_tensor() -> None:
    mem = memory(hot_blocks=4)
    feed(mem, range(13))
    view = mem.fork(ask())
    assert view._reach is not None
    assert view._reach.rendered.keys.data_ptr() == mem._hot.slab.keys.data_ptr()
    assert all(a is b for a, b in zip(view._reach.blocks, mem._hot.in_view(), strict=True))


def test_eight_questions_at_once_answer_as_if_alone() -> None:
    texts = [f"how many bikes at {i}?" for i in range(8)]
    mem, same = memory(hot_blocks=4), memory(hot_blocks=4)
    feed(mem, range(17))
    feed(same, range(17))
    answerer = TextAnswerer(mem.backbone)
    alone = ["".join(p.text for p in answerer.answer(same.fork(ask(t, id=t)))) for t in texts]
    forks = [answerer.answer(mem.fork(ask(t, id=t))) for t in texts]
    said = [""] * 8
    running = set(range(8))
    step = 17
    while running:
        for i in sorted(running):
            piece = next(forks[i], None)
            if piece is None:
                running.discard(i)
            else:
                said[i] += piece.text
        mem.append(frame(step))  # frames go on being committed between the steps
        step += 1
    assert said == alone
    assert any(alone)


def test_evict_then_recall_is_bit_equal() -> None:
    mem = memory(hot_blocks=12, positions="gap", recall_blocks=32)
    feed(mem, range(21))
    whole = read(mem, "what was there before?")
    for block_id in (1, 2, 5):
        mem._hot.tiers.demote(block_id, 0.0, "test", mem.seen_s)
    mem._hot.rebuild()
    evicted = read(mem, "what is there?")
    recalled = read(mem, "what was there before?")
    assert torch.equal(recalled, whole)
    assert not torch.equal(evicted, read(undisturbed(), "what is there?"))


def undisturbed() -> Memory:
    """The same stream with nothing evicted."""
    other = memory(hot_blocks=12, positions="gap")
    feed(other, range(21))
    return other


def test_causality_and_two_cameras() -> None:
    one, other = memory(hot_blocks=4), memory(hot_blocks=4)
    feed(one, range(12))
    kept = one.fork(ask())
    feed(one, range(12, 30))  # what comes later
    feed(other, range(12))
    assert torch.equal(one.backbone.logits(kept.read()[None])[0], read(other))
    left, right, alone = memory(hot_blocks=4), memory(hot_blocks=4), memory(hot_blocks=4)
    for index in range(25):
        left.append(frame(index, seed=1))
        right.append(frame(index, seed=2))
    feed(alone, range(25), seed=1)
    assert torch.equal(read(left), read(alone))
    assert not torch.equal(read(right), read(alone))


def test_recent_frames_and_no_memory_is_the_plain_video_prompt() -> None:
    mem = memory(hot_blocks=0, instant=4, stamps=False, recall=False, warm_fraction=0.0, cold_fraction=0.0)
    feed(mem, range(11))
    backbone, layout = mem.backbone, mem._reader.layout
    frames = torch.cat([frame(i).embeds for i in range(7, 11)] + [backbone.newline[None]])
    before, after = (
        backbone.embedding(torch.tensor(ids)) for ids in (layout.prefix_ids, layout.question_ids("what is there?"))
    )
    embeds = torch.cat([before, frames, after])[None]
    with torch.no_grad():
        truth = backbone.logits(backbone.language_model(inputs_embeds=embeds).last_hidden_state[0, -1:])[0]
    torch.testing.assert_close(read(mem), truth, **NEAR)


def test_recent_frames_and_no_memory_is_the_checkpoints_own_forward() -> None:
    """SimpleStream from pixels: transformers' whole model on the last frames, placeholders, newline and all."""
    mem = memory(hot_blocks=0, instant=3, stamps=False, recall=False, warm_fraction=0.0, cold_fraction=0.0)
    model, layout = tiny_checkpoint().model, mem._reader.layout
    pixels = torch.rand(1, 5, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        for index in range(5):
            seen = model.model.get_video_features(pixels[:, index : index + 1]).pooler_output[0, :-1]
            mem.append(replace(frame(index), embeds=seen))
        places = [layout._video] * (3 * 4 + 1)  # one place per token, and one for the newline
        ids = torch.tensor([[*layout.prefix_ids, *places, *layout.question_ids("what is there?")]])
        truth = model(input_ids=ids, pixel_values_videos=pixels[:, 2:]).logits[0, -1]
    torch.testing.assert_close(read(mem), truth, **NEAR)


def test_sinks_and_window_is_streaming_llm() -> None:
    """Rank positions, sinks and the newest blocks only: the slab is what StreamingLLM would attend to."""
    mem = memory(hot_blocks=4, policy="window", positions="contiguous", recall=False)
    feed(mem, range(40))
    held = sorted(mem._hot.tiers.hot)
    newest = mem._progress.next_id - 1
    assert held == list(range(newest - len(held) + 1, newest + 1))
    blocks = mem._hot.in_view()
    keys = torch.cat([b.raw for b in blocks], 2)
    cos, sin = mem.backbone.rotation(range(keys.shape[2]))
    low, high = keys.chunk(2, -1)
    truth = keys * cos + torch.cat([-high, low], -1) * sin
    torch.testing.assert_close(mem._hot.slab.view().keys, truth, **NEAR)


def test_evidence_is_the_plain_models_attention() -> None:
    """Attention per remembered row equals what the unpatched model reports with its plain (eager) attention."""
    mem = memory(hot_blocks=16)
    log = watched(mem)
    feed(mem, range(11))
    view = mem.fork(ask())
    embeds = torch.cat(
        [embed(parts, mem.backbone.embedding)[0] for parts in (mem._reader.layout.prefix(),)]
        + [rows for _, _, rows in log]
        + [embed(view._parts, mem.backbone.embedding)[0]]
    )
    words = len(view._parts[-1])
    model = mem.backbone.language_model
    usual, model.config._attn_implementation = model.config._attn_implementation, "eager"
    try:
        with torch.no_grad():
            shares = model(inputs_embeds=embeds[None], output_attentions=True).attentions
    finally:
        model.config._attn_implementation = usual
    truth = torch.stack(shares)[:, 0, :, -words:].mean((0, 1, 2))
    view.read()
    for stretch in view._stretches:
        found = view._attention.on(stretch)
        assert found is not None
        torch.testing.assert_close(found, truth[stretch.at : stretch.at + stretch.rows], rtol=0.0, atol=1e-6)
    assert len(view._stretches) == len(log) + 2


def test_half_precision_follows_full() -> None:
    """In bfloat16 the tokens said are mostly those of float32; rotation stays in float32."""
    checkpoint = tiny_checkpoint(3)
    half = Backbone(replace(checkpoint, model=deepcopy(checkpoint.model).bfloat16()))
    full = Backbone(checkpoint)
    rows = torch.randn(120, 32)
    found = []
    for backbone in (full, half):
        tail = backbone.tail(120)
        hidden = [backbone.read(rows[i : i + 20], tail, range(i, i + 20))[0] for i in range(0, 120, 20)]
        found.append(backbone.logits(torch.cat(hidden)).argmax(-1))
        assert backbone.rotation([5])[0].dtype == torch.float32
    assert float((found[0] == found[1]).float().mean()) > 0.8


def test_a_failed_pass_leaves_the_tail_as_it_was() -> None:
    backbone = tiny_backbone()
    tail = backbone.tail(8)
    backbone.read(torch.randn(3, 32), tail, range(3))
    with pytest.raises(ValueError, match="do not fit"):
        backbone.read(torch.randn(6, 32), tail, range(3, 9))
    with pytest.raises(RuntimeError):
        backbone.read(torch.randn(2, 31), tail, range(3, 5))
    assert tail.length == 3
    assert backbone.language_model.config._attn_implementation != NAME


def test_a_model_whose_cache_cannot_be_pruned_is_refused() -> None:
    checkpoint = tiny_checkpoint()
    for field, value, word in (
        ("layer_types", ["full_attention", "sliding_attention"], "sliding"),
        ("scaling", 1.2, "yarn"),
    ):
        model = deepcopy(checkpoint.model)
        if field == "scaling":
            model.model.language_model.rotary_emb.attention_scaling = value
        else:
            model.model.language_model.config.layer_types = value
        with pytest.raises(CheckpointError, match=word):
            Backbone(replace(checkpoint, model=model))
