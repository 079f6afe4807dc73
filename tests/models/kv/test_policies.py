"""Every word of `memory.policy` chooses victims with no question at hand: bounded, repeatable, and each its own way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models.kv import proxy, prune, scorers
from models.kv.attention_scorers import pooled
from models.kv.block import typical
from models.kv.prune import Facts, Policy, victims
from models.memory import Memory
from stream.config.memory import Policy as Published
from tests.models.exact import check, read
from tests.models.scripted import ask, frame, memory

POLICIES: tuple[Policy, ...] = get_args(Policy)
FACTS = ("novelty", "mass", "proxy", "use", "value", "key_length", "asked", "typical")


def some(count: int, seed: int = 0) -> list[Facts]:
    """Random blocks, oldest first, 8 s apart."""
    chance = Random(seed)
    made: list[dict[str, Any]] = [{name: chance.random() for name in FACTS} for _ in range(count)]
    return [Facts(id=i, age_s=8.0 * (count - 1 - i), **facts) for i, facts in enumerate(made)]


def gone(policy: Policy, blocks: list[Facts], keep: int, seed: int = 0) -> list[int]:
    return [block_id for block_id, _, _ in victims(policy, blocks, keep, seed)]


def fed(frames: range, **settings: Any) -> Memory:
    mem = memory(**({"hot_blocks": 6} | settings))
    for index in frames:
        mem.append(frame(index))
    return mem


def test_the_configuration_names_the_same_policies() -> None:
    assert get_args(Published) == POLICIES


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("count", "keep"), [(1, 0), (1, 1), (3, 1), (5, 4), (40, 35), (40, 1)])
def test_at_most_the_bound_stays_and_nothing_leaves_twice(policy: Policy, count: int, keep: int) -> None:
    found = gone(policy, some(count), keep)
    assert len(found) == len(set(found)) == count - keep
    assert gone(policy, some(count), keep) == found
    assert all(reason for _, _, reason in victims(policy, some(count), keep, 0))


@pytest.mark.parametrize("policy", POLICIES)
def test_pins_stay_even_where_the_bound_is_passed(policy: Policy) -> None:
    blocks = [replace(b, pinned=b.id % 3 == 0) for b in some(30)]
    left = {b.id for b in blocks} - set(gone(policy, blocks, 12))
    assert len(left) == 12 and {b.id for b in blocks if b.pinned} <= left
    assert len(gone(policy, blocks, 2)) == 20  # all that may go


@pytest.mark.parametrize("policy", [p for p in POLICIES if p != "random"])  # its coin is drawn by the name
def test_other_names_in_the_same_order_change_nothing(policy: Policy) -> None:
    blocks = some(40)
    blocks[7] = replace(blocks[6], id=7)  # equals are told apart by order alone
    renamed = [replace(b, id=1000 + 13 * b.id) for b in blocks]
    assert gone(policy, renamed, 20) == [1000 + 13 * i for i in gone(policy, blocks, 20)]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_order_of_the_list_changes_nothing(policy: Policy) -> None:
    blocks = some(40)
    mixed = Random(1).sample(blocks, len(blocks))
    assert gone(policy, mixed, 20) == gone(policy, blocks, 20)


def test_policies_choose_different_victims() -> None:
    chosen = {policy: frozenset(gone(policy, some(40), 20)) for policy in POLICIES}
    assert chosen.pop("recent") == chosen["window"]  # they differ in what becomes of what leaves
    assert len(set(chosen.values())) == len(chosen)


@pytest.mark.parametrize(
    ("policy", "fact", "more_is_kept"),
    [
        ("knorm", "key_length", False),
        ("keydiff", "typical", False),
        ("vnorm", "value", True),
        ("snapkv", "asked", True),
    ],
)
def test_one_fact_decides(policy: Policy, fact: str, more_is_kept: bool) -> None:
    blocks = some(20)
    ordered = sorted(blocks, key=lambda b: getattr(b, fact), reverse=not more_is_kept)
    assert gone(policy, blocks, 8) == [b.id for b in ordered[:12]]


def test_window_keeps_what_streaming_llm_keeps() -> None:
    """Blocks of one token after the sinks: the scorer held against kvpress, and the policy, keep the same."""
    sinks, count, length = 4, 20, 50
    index = scorers.kept(scorers.streaming_llm(torch.zeros(1, 1, length, 8), count, sinks), count)
    blocks = [replace(b, id=b.id + sinks) for b in some(length - sinks)]
    left = {b.id for b in blocks} - set(gone("window", blocks, count - sinks))
    assert {*range(sinks), *left} == set(index.flatten().tolist())


def test_the_bands_of_hermes() -> None:
    """Of 20 that stay: the newest 6 by age alone; of the rest, the middle by attention and age, the old by likeness."""
    blocks = some(40)
    left = {b.id for b in blocks} - set(gone("hermes", blocks, 20))
    assert set(range(34, 40)) <= left
    for name, moved in (("asked", True), ("typical", True), ("value", False), ("key_length", False)):
        changed = [replace(b, **{name: 1.0 - getattr(b, name)}) for b in blocks]
        assert (gone("hermes", changed, 20) != gone("hermes", blocks, 20)) is moved, name
    old = sorted(blocks[:15], key=lambda b: b.typical)  # 15 of 34, as 30 to 40
    assert set(range(15)) - left == {b.id for b in old[:9]}, "the old are thinned to 6, those least like the rest go"
    middle = [b for b in blocks[15:34] if b.id not in left]
    assert len(middle) == 11
    unasked = [replace(b, asked=0.0) for b in blocks]
    assert {*range(26, 34)} == set(range(15, 34)) - set(gone("hermes", unasked, 20)), "of equals the newer stay"


@pytest.mark.parametrize("policy", POLICIES)
def test_a_memory_lives_under_each_and_keeps_its_pin(policy: Policy) -> None:
    runs = [fed(range(12), policy=policy, seed=5) for _ in range(2)]
    for mem in runs:
        mem.pin(1)
        for index in range(12, 90):
            mem.append(frame(index))
            check(mem)
    mem = runs[0]
    assert 1 in mem._hot.blocks and len(mem._hot.blocks) <= 6
    assert mem.ledger.state() == runs[1].ledger.state()
    assert bool(mem._hot.tiers.warm) is (policy != "recent")


def test_memories_under_different_policies_keep_different_blocks() -> None:
    kept = {p: tuple(fed(range(120), policy=p, hot_blocks=10)._hot.blocks) for p in POLICIES}
    assert kept.pop("recent") == kept["window"]
    assert len(set(kept.values())) == len(kept), kept


def test_recent_without_blocks_is_simple_stream() -> None:
    """Invariant 17: the last 4 frames in the checkpoint's plain prompt, whatever shares WARM and COLD were given."""
    mem = memory(hot_blocks=0, instant=4, stamps=False, policy="recent")
    for index in range(11):
        mem.append(frame(index))
    backbone, layout = mem.backbone, mem._reader.layout
    words = layout.prefix_ids, layout.question_ids("what is there?")
    before, after = (backbone.embedding(torch.tensor(ids)) for ids in words)

    def truth(shown: range) -> torch.Tensor:
        frames = torch.cat([frame(i).embeds for i in shown] + [backbone.newline[None]])
        with torch.no_grad():
            out = backbone.language_model(inputs_embeds=torch.cat([before, frames, after])[None])
            return backbone.logits(out.last_hidden_state[0, -1:])[0]

    torch.testing.assert_close(read(mem), truth(range(7, 11)), rtol=0.0, atol=1e-5)
    assert float((read(mem) - truth(range(6, 11))).abs().max()) > 1e-3
    assert (mem.plan.warm, mem.plan.cold) == (0, 0)


def test_what_leaves_under_recent_is_gone_and_under_window_found_again() -> None:
    recent, window = (fed(range(60), policy=policy) for policy in ("recent", "window"))
    assert list(recent._hot.blocks) == list(window._hot.blocks)
    assert not recent._hot.tiers.warm and not recent._hot.tiers.cold
    assert torch.equal(read(recent), read(window))
    views = [mem.fork(ask("what was there before?")) for mem in (recent, window)]
    for view in views:
        view.read()
    assert not views[0].recalled and views[1].recalled
    assert recent.ledger.tokens_by_state()["dropped"] == window.ledger.tokens_by_state()["warm"] > 0


def test_facts_are_those_of_the_raw_keys() -> None:
    mem = fed(range(26), policy="hermes", hot_blocks=16)
    blocks = list(mem._hot.blocks.values())
    rows = torch.cat([b.raw[:, :, b.rows_from :] for b in blocks], 2)  # (layers, kv heads, all rows, d)
    sizes = [len(b.mass) for b in blocks]
    unlike = scorers.keydiff(rows).mean((0, 1)).split(sizes)
    short = scorers.knorm(rows).mean((0, 1)).split(sizes)
    facts = mem._hot._facts(mem.seen_s)
    assert [f.typical for f in facts] == pytest.approx([-float(part.mean()) for part in unlike], abs=1e-5)
    assert [f.key_length for f in facts] == pytest.approx([-float(part.mean()) for part in short], abs=1e-5)
    assert typical([]) == []


def test_the_proxy_question_is_read_after_all_that_is_at_hand() -> None:
    """Its attention is the plain model's: one masked pass over the same rows, pooled as the scorer pools."""
    mem = fed(range(26), policy="snapkv", hot_blocks=16)
    hot, backbone, layout = mem._hot, mem.backbone, mem._reader.layout
    ids = layout.question_ids(proxy.WORDS)[-proxy.MOST_TOKENS :]
    tail = backbone.tail(len(ids))
    at = range(hot.positions.next, hot.positions.next + len(ids))
    _, reading = backbone.read(backbone.embedding(torch.tensor(ids)), tail, at, hot.slab.view(), watch=len(ids))
    assert reading.mass is not None
    shares, at_row = pooled(reading.mass[: hot.slab.length], proxy.KERNEL), hot.sinks.tokens
    found = []
    for block in hot.blocks.values():
        found.append(float(shares[at_row + block.rows_from : at_row + block.tokens].max()))
        at_row += block.tokens
    facts = mem._hot._facts(mem.seen_s)
    assert [f.asked for f in facts] == pytest.approx(found)
    assert len({round(f.asked, 6) for f in facts}) > 1
    assert not any(f.asked for f in fed(range(26), policy="window", hot_blocks=16)._hot._facts(0.0))


@pytest.mark.parametrize("policy", POLICIES)
def test_facts_outlive_a_restart(policy: Policy, tmp_path: Path) -> None:
    mem, other = fed(range(61), policy=policy), memory(policy=policy, hot_blocks=6)
    mem.snapshot(tmp_path / "yard.memory")
    other.restore(tmp_path / "yard.memory")
    assert other._hot._facts(60.0) == mem._hot._facts(60.0)
    for index in range(61, 90):
        mem.append(frame(index))
        other.append(frame(index))
    assert other.ledger.state() == mem.ledger.state()
    check(other)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_snapshot_from_before_these_facts_is_read(policy: Policy, tmp_path: Path) -> None:
    """Key lengths are worked out from the raw keys; what the proxy question saw is known again at the next commit."""
    path, mem, other = tmp_path / "yard.memory", fed(range(61)), memory(policy=policy, hot_blocks=6)
    mem.snapshot(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    state = json.loads(metadata["state"])
    for entry in state["ledger"]["entries"]:
        del entry["key_length"], entry["asked"]
    save_file(load_file(path), path, metadata | {"state": json.dumps(state)})
    other.restore(path)
    for mine, theirs in zip(other._hot._facts(60.0), mem._hot._facts(60.0), strict=True):
        assert mine.key_length == theirs.key_length > 0
    assert bool(other._hot.tiers.warm) is (policy != "recent")
    for index in range(61, 65):
        other.append(frame(index))
    check(other)
    assert all(f.asked > 0 for f in other._hot._facts(65.0)) is (policy in prune.ASKING)


@pytest.mark.parametrize("policy", ["keydiff", "snapkv"])
def test_what_a_policy_keeps_or_reads_is_in_the_plan(policy: Policy) -> None:
    plain, ours = (memory(policy=p).plan for p in ("window", policy))
    assert ours.hot > plain.hot
    assert (ours.warm_blocks < plain.warm_blocks) is (policy == "keydiff")
    mem = fed(range(90), policy=policy, hot_blocks=4)
    assert mem.bytes_by_part()["hot"] <= mem.plan.hot
    one = next(iter(mem._hot.blocks.values()))
    assert one.size == sum(t.nbytes for t in one.tensors())
    assert (one.unit_key is not None) is (policy == "keydiff")


def test_a_memory_without_cold_takes_what_one_with_it_kept(tmp_path: Path) -> None:
    small: dict[str, Any] = {"hot_blocks": 4, "budget": "1536KiB", "warm_fraction": 0.05, "max_forks": 3}
    mem, other = fed(range(200), cold_fraction=0.02, **small), memory(cold_fraction=0.0, **small)
    assert len(mem._hot.tiers.cold) > 1
    mem.snapshot(tmp_path / "yard.memory")
    other.restore(tmp_path / "yard.memory")
    check(other)
    assert not other._hot.tiers.cold and list(other._hot.blocks) == list(mem._hot.blocks)
