"""Looking at fewer rows is a mask: what forks compute equals one plain pass with that mask, row by row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from kernels import ops
from models.inner.dycoke import DyCoke
from models.inner.fastv import FastV
from models.inner.holitom import HoliTom
from models.inner.mustdrop import MustDrop
from tests.models.inner.looking import Truth, only, said, seen_ids, use, watching
from tests.models.scripted import ask

NEAR: dict[str, Any] = {"rtol": 0.0, "atol": 2e-5}
SAYS = [40, 40, 7, 7, 90]  # attention stays where a word is said twice


def both(mem: Any, log: Any, tokens: list[int]) -> tuple[Any, Tensor, Truth, Tensor]:
    """A view that has read and said, its hidden rows, the truth to come, and ids of what was seen."""
    view = mem.fork(ask())
    truth = Truth(mem, view, log, tokens)
    found = torch.stack(said(view, tokens))
    return view, found, truth, seen_ids(view, truth.ids)


@pytest.mark.parametrize(("ratio", "depth"), [(0.5, 0.25), (0.5, 0.5), (0.9, 0.75), (0.0, 0.25)])
def test_fastv_is_a_mask_from_its_layer_on(ratio: float, depth: float, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "fastv", FastV(ratio, depth))
    mem, log = watching(inner="fastv")
    view, found, truth, seen = both(mem, log, SAYS)
    keep, last, stage = round(len(seen) * (1 - ratio)), truth.ids - truth.first - 1, int(depth * 4) - 1

    def choose(layer: int, look: Tensor) -> Tensor | None:
        kept = seen[look[last, seen].topk(keep).indices]
        return only(len(look), truth.ids, seen, kept) if layer == stage else None

    rows, looks = truth.run(choose)
    torch.testing.assert_close(found, rows, **NEAR)
    assert view.attended == tuple(truth.ids + 5 - (len(seen) - keep) * (layer > stage) for layer in range(4))
    # what each of the steps looked at: the words of the question together, then each word said
    words = looks[:, last + 1 - truth.words : last + 1].mean((0, 1))
    expected = torch.stack([words, *looks[:, last + 1 :].mean(0)]).mean(0)
    for stretch in view._stretches:
        shares = view._attention.on(stretch)
        torch.testing.assert_close(shares, expected[stretch.at : stretch.at + stretch.rows], rtol=0.0, atol=1e-6)
    assert float(view._attention._sum.sum()) == pytest.approx(6.0, abs=1e-4)
    assert sum(s.weight_fraction for s in view.evidence().sightings) == pytest.approx(1.0, abs=1e-5)


def test_mustdrop_is_a_mask_in_stages_and_the_last_holds_for_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "mustdrop", MustDrop(total=0.0014, single=0.02, depths=(0.25, 0.5)))
    mem, log = watching(inner="mustdrop")
    view, found, truth, seen = both(mem, log, SAYS)
    scale, read = 576 / len(seen), truth.ids - truth.first
    stages: list[Tensor] = []

    def choose(layer: int, look: Tensor) -> Tensor | None:
        if layer > 1:
            return None
        left = stages[-1] if stages else seen
        words = look[read - truth.words : read, left]
        faint = (words.sum(0) < 0.0014 * scale * words.sum()) & (words.amax(0) < 0.02 * scale)
        stages.append(left[~faint])
        return only(len(look), truth.ids, seen, stages[-1])

    rows, _ = truth.run(choose)
    torch.testing.assert_close(found[0], rows[0], **NEAR)
    assert len(seen) > len(stages[0]) > len(stages[1]) > 0
    assert view.attended == (truth.ids + 5 - (len(seen) - len(stages[1])),) * 4
    start = torch.ones(read + len(SAYS), truth.ids, dtype=torch.bool)
    start[read:] = only(len(SAYS), truth.ids, seen, stages[1])  # in every layer, the one of the first stage included
    stages.clear()
    rows, _ = truth.run(choose, start)
    torch.testing.assert_close(found, rows, **NEAR)


def test_holitom_merges_memory_by_its_keys_and_what_is_being_read_by_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the last of four layers, which is then done here by hand."""
    use(monkeypatch, "holitom_inner", HoliTom(0.5, 0.75))
    mem, log = watching(inner="holitom_inner")
    _, found, truth, seen = both(mem, log, [])
    _, looks = truth.run(lambda *_: None)
    kept = seen[looks[2, -1, seen].topk(round(len(seen) / 2)).indices].sort().values
    gone = seen[~torch.isin(seen, kept)]
    layer, rows, first = truth.model.layers[3], truth.entering[3].clone(), truth.first
    assert all(bool((side < first).any()) and bool((side >= first).any()) for side in (kept, gone))

    def into(features: Tensor, target: Tensor, source: Tensor) -> dict[int, list[int]]:
        alike = cosine_similarity(features[source][:, None], features[target][None], 2).argmax(1)
        return {t: source[alike == i].tolist() for i, t in enumerate(target.tolist())}

    for target, sources in into(rows, kept[kept >= first], gone[gone >= first]).items():
        rows[target] = truth.entering[3][[target, *sources]].mean(0)
    with torch.no_grad():
        x, heads = layer.input_layernorm(rows), mem.backbone.kv_heads
        keys, values = (proj(x).view(len(x), heads, -1) for proj in (layer.self_attn.k_proj, layer.self_attn.v_proj))
        merged = into(values.flatten(1), kept[kept < first], gone[gone < first])
        assert any(merged.values())
        raw, plain = keys.clone(), values.clone()
        for target, sources in merged.items():
            keys[target], values[target] = raw[[target, *sources]].mean(0), plain[[target, *sources]].mean(0)
        ids = torch.arange(truth.ids)[~torch.isin(torch.arange(truth.ids), gone)]
        keys = ops.rotate(keys[ids].transpose(0, 1), *mem.backbone.rotation(ids.tolist()))
        query = layer.self_attn.q_proj(x[-1:]).view(1, mem.backbone.heads, -1).transpose(0, 1)
        query = ops.rotate(query, *mem.backbone.rotation([truth.ids - 1]))
        out, _ = ops.attend(query, [(keys, values[ids].transpose(0, 1))], layer.self_attn.scaling, 0)
        last = rows[-1:] + layer.self_attn.o_proj(out.reshape(1, -1))
        last = last + layer.mlp(layer.post_attention_layernorm(last))
        torch.testing.assert_close(found, truth.model.norm(last), **NEAR)


@pytest.mark.parametrize("as_published", [False, True])
@pytest.mark.parametrize("inner", ["none", "fastv"])
def test_dycoke_is_a_mask_that_follows_attention(
    inner: str, as_published: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, "dycoke", DyCoke(pruned=0.7, similar=0.6, depth=0.5, as_published=as_published))
    use(monkeypatch, "fastv", FastV(0.5, 0.25))
    mem, log = watching(inner=inner, decode="dycoke")
    view, found, truth, seen = both(mem, log, SAYS)
    read, kinds, chosen = truth.ids - truth.first, [], []

    def choose(layer: int, look: Tensor) -> Tensor | None:
        nonlocal seen
        if layer == 0 and inner == "fastv":
            left = seen[look[read - 1, seen].topk(round(len(seen) / 2)).indices].sort().values
            mask = only(len(look), truth.ids, seen, left)
            seen = left
            return mask
        if layer != 1:
            return None
        mask = torch.ones(len(look), truth.ids, dtype=torch.bool)
        before, kept = torch.zeros(len(seen)), seen
        for row in range(read, len(look)):
            now = look[row, seen]
            moved = float(cosine_similarity(now, before, 0)) < 0.6
            if moved:
                kept = seen[now.topk(int(len(seen) * (1 - 0.7))).indices]
            mask[row] = only(1, truth.ids, seen, kept if moved or not as_published else seen)[0]
            kinds.append(moved)
            chosen.append(set(kept.tolist()))
            before = now
        return mask

    rows, looks = truth.run(choose)
    torch.testing.assert_close(found, rows, **NEAR)
    assert True in kinds[1:] and False in kinds, "attention must both move and stay, or half of it is not tested"
    assert chosen[2] - chosen[0], "something that was set aside comes back"
    set_aside, whole = len(seen) - len(chosen[-1]), view.attended[1]
    assert view.attended == (truth.ids + len(SAYS), whole, whole - set_aside, whole - set_aside)
    focus = view._focus
    assert focus is not None
    for cut, (keys, values) in focus._working.values():  # private, and no larger than what is looked at
        assert keys.shape[1] == values.shape[1] == len(cut.ids) == whole - set_aside - len(SAYS)
        assert keys.untyped_storage().nbytes() == keys.nbytes
    assert float(view._attention._sum.sum()) == pytest.approx(6.0, abs=1e-4)
    assert torch.count_nonzero(looks[3, -1, seen]) < len(seen)
