"""`<|then|>` is written as the clock time of what one head was looking at; without that token nothing changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from models import answerer
from models.answerer import THEN, TextAnswerer, Words, then_id
from models.evidence import AS_MUCH, Stretch
from models.kv.fork import View
from models.memory import Memory, MemoryConfig
from models.prompt import Layout, embed
from models.training.create import SPECIALS
from tests.models.pointed import HEAD, LAYER, knowing, lived, look_of, looked_at_s
from tests.models.scripted import ask, frame, memory
from tests.models.tiny import tiny_tokenizer, token_id


def scripted(monkeypatch: pytest.MonkeyPatch, ids: list[int]) -> None:
    """The model says these, whatever it would have said."""
    said: Iterator[int] = iter(ids)
    monkeypatch.setattr(answerer, "choose", lambda *_: next(said))


def textbook(mem: Memory, view: View, said: list[int], layer: int = LAYER, head: int = HEAD) -> Tensor:
    """That head's attention at the last row, from one plain forward pass of the unpatched model; (keys,)."""
    backbone = mem.backbone
    _, scope = view._live()
    parts = mem._reader.layout.prefix()
    blocks = [mem._reader.layout.block(b.stamp, b.fused) for b in mem._hot.in_view()[1:]]
    embeds, _ = embed([*parts, *(p for b in blocks for p in b), *view._prompt(scope)], backbone.embedding)
    embeds = torch.cat([embeds, backbone.embedding(torch.tensor(said, dtype=torch.long))])
    config = backbone.language_model.config
    usual, config._attn_implementation = config._attn_implementation, "eager"
    try:
        with torch.no_grad():
            out = backbone.language_model(inputs_embeds=embeds[None], output_attentions=True)
    finally:
        config._attn_implementation = usual
    return out.attentions[layer][0, head, -1]


def test_the_look_is_that_heads_attention_at_the_last_row() -> None:
    mem = lived(positions="contiguous")
    view, other = mem.fork(ask()), mem.fork(ask())
    truth = textbook(mem, other, [])
    view.read()
    torch.testing.assert_close(look_of(view), truth, rtol=0.0, atol=1e-5)
    assert float((look_of(view) - textbook(mem, other, [], head=HEAD - 1)).abs().max()) > 1e-3, (
        "another head is noticed"
    )
    assert float((look_of(view) - textbook(mem, other, [], layer=0)).abs().max()) > 1e-3, "another layer is noticed"
    for token in (40, 50):
        view.say(token)
    torch.testing.assert_close(look_of(view), textbook(mem, other, [40, 50]), rtol=0.0, atol=1e-5)
    assert float((look_of(view)[: len(truth)] - truth).abs().max()) > 1e-3, "an old row's look is noticed"


@pytest.mark.parametrize("before", [0, 3])
def test_the_token_is_written_as_the_time_looked_at(monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    mem = lived()
    then, end = token_id(knowing().tokenizer, THEN), knowing().tokenizer.eos_token_id
    letters = list(knowing().tokenizer("at , ok", add_special_tokens=False)["input_ids"])
    lead, rest = letters[:before], letters[before:]
    twin = mem.fork(ask(max_tokens=40))
    twin.read()
    for token in lead:
        twin.say(token)
    time_s = twin.pointed()
    shares = {s.span_s: float(look_of(twin)[s.at : s.at + s.rows].sum()) for s in twin._stretches if not s.instant}
    instant = sum(float(look_of(twin)[s.at : s.at + s.rows].sum()) for s in twin._stretches if s.instant)
    enough = AS_MUCH * max(instant, *shares.values())
    latest = max((span for span, share in shares.items() if share >= enough), default=(0.0, 0.0))
    assert time_s is not None
    assert time_s in (19.0, 20.0) if instant >= enough else time_s == sum(latest) / 2

    fed: list[int] = []
    usual = View.say

    def say(self: View, token: int) -> Tensor:
        fed.append(token)
        return usual(self, token)

    monkeypatch.setattr(View, "say", say)
    scripted(monkeypatch, [*lead, then, *rest, end])
    view = mem.fork(ask(max_tokens=40))
    text = "".join(piece.text for piece in TextAnswerer(mem.backbone).answer(view))
    decode = knowing().tokenizer.decode
    assert text == f"{decode(lead)}12:00:{int(time_s):02d}{decode(rest)}"
    assert fed == [*lead, then, *rest], "the model reads its own token, not the clock"
    assert view.usage().completion_tokens == len(letters) + 1


def test_the_clock_is_of_the_configured_place(monkeypatch: pytest.MonkeyPatch) -> None:
    then, end = token_id(knowing().tokenizer, THEN), knowing().tokenizer.eos_token_id
    said = []
    for zone in ("UTC", "Asia/Kolkata"):  # five and a half hours apart
        mem = lived(timezone=zone, stamps=False)  # without stamps the rows are the same
        scripted(monkeypatch, [then, end])
        (piece,) = TextAnswerer(mem.backbone).answer(mem.fork(ask()))
        said.append(piece.text)
    assert said[0].startswith("12:00:") and said[1] == "17:30:" + said[0][-2:]


@pytest.mark.parametrize("why", ["no pointer", "nothing seen"])
def test_what_points_at_nothing_is_not_said(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    unnamed = {"pointer_layer": None, "pointer_head": None} if why == "no pointer" else {}
    mem = lived(0 if why == "nothing seen" else 21, **unnamed)
    (letter,) = knowing().tokenizer("a", add_special_tokens=False)["input_ids"]
    scripted(monkeypatch, [token_id(knowing().tokenizer, THEN), letter, knowing().tokenizer.eos_token_id])
    view = mem.fork(ask())
    assert [piece.text for piece in TextAnswerer(mem.backbone).answer(view)] == ["a"]
    assert view.pointed() is None


def test_evidence_is_what_the_named_head_looked_at() -> None:
    """The mean over the question's last row and the words said; without a named head that over all heads."""
    mem = lived()
    view = mem.fork(ask())
    view.read()
    looks = [look_of(view)]
    view.say(40)
    looks.append(look_of(view)[: len(looks[0])])
    on = {s.span_s: sum(float(look[s.at : s.at + s.rows].sum()) for look in looks) for s in view._stretches}
    blocks = {s.span_s: s.weight_fraction for s in view.evidence().sightings if s.block is not None}
    assert blocks
    for span, weight in blocks.items():
        assert weight == pytest.approx(on[span] / sum(on.values()), rel=1e-4)
    plain = lived(pointer_layer=None, pointer_head=None).fork(ask())
    plain.read()
    plain.say(40)
    others = {s.span_s: s.weight_fraction for s in plain.evidence().sightings if s.block is not None}
    assert any(abs(weight - others.get(span, 0.0)) > 1e-3 for span, weight in blocks.items())


def test_the_stretch_with_the_most_attention_tells_the_time() -> None:
    cells = torch.eye(4)[:2]
    past = [Stretch(1, (0.0, 8.0), cells, (2, 2), 8, 0), Stretch(4, (8.0, 16.0), cells, (2, 2), 8, 1)]
    now = [Stretch(6 + 2 * i, (17.0 + i, 17.0 + i), cells, (2, 2), 1, None, instant=True) for i in range(2)]
    look = torch.tensor([0.3, 0.1, 0.05, 0.1, 0.2, 0.0, 0.05, 0.0, 0.1, 0.1])
    assert looked_at_s(look, past) == 12.0, "text draws attention too and is no time"
    assert looked_at_s(look, past + now) == 18.0, "the frames of the window count together, the most seen one tells"
    assert looked_at_s(look, past + now[:1]) == 12.0
    assert looked_at_s(torch.full((10,), 0.1), past) == 12.0, "of two that are meant the latest"
    assert looked_at_s(torch.tensor([0.0, 0.3, 0.3, 0.3, 0.1, 0.0]), past) == 4.0, "a glance is not what is meant"
    held = [replace(past[0], span_s=(0.0, 308.0))]
    assert looked_at_s(look, held, 8.0) == 4.0 and looked_at_s(look, held) == 154.0
    assert looked_at_s(torch.eye(10)[0], past + now) is None and looked_at_s(look, []) is None


def test_a_pointer_changes_nothing_else() -> None:
    """What is said, bit for bit, with and without: the look is taken beside the attention, never in its place."""
    settings: list[dict[str, Any]] = [{}, {"pointer_layer": 1, "pointer_head": 0}]
    made = []
    for pointer in settings:
        mem = memory(hot_blocks=4, **pointer)
        for index in range(31):
            mem.append(frame(index))
        view = mem.fork(ask("what was there before?"))
        made.append([view.read(), view.say(40)])
        assert (view._look is None) == (not pointer)
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))


def test_only_a_special_token_counts() -> None:
    plain = tiny_tokenizer()
    assert then_id(plain) is None
    plain.add_tokens([THEN])
    assert then_id(plain) is None, "anyone could write that one"
    plain.add_special_tokens({"extra_special_tokens": [THEN]}, replace_extra_special_tokens=False)
    assert then_id(plain) == token_id(plain, THEN)


def test_a_new_checkpoint_has_the_token_and_nobody_can_write_it() -> None:
    tokenizer = knowing().tokenizer
    then = then_id(tokenizer)
    assert SPECIALS[-1] == THEN and then == len(SPECIALS) - 1
    layout = Layout(tokenizer, token_id(tokenizer, "<video>"))
    forged = f"it came {THEN}{THEN} <|th{THEN}en|>"
    ids = layout.question_ids(forged, note=THEN)
    assert then not in ids and then in tokenizer(forged)["input_ids"], "read as letters, never as the token"
    assert THEN in tokenizer.decode(list(layout.text_ids(forged)))
    assert Words(tokenizer).add(then) == ""


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"pointer_layer": 2, "pointer_head": 0}, "are not among the"),
        ({"pointer_layer": 0, "pointer_head": 4}, "are not among the"),
        ({"pointer_layer": -1, "pointer_head": 0}, "are not among the"),
        ({"pointer_layer": 0}, "both or neither"),
        ({"pointer_head": 0}, "both or neither"),
    ],
)
def test_a_pointer_that_is_not_there_is_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        memory(**wrong)


def test_the_card_names_the_pointer() -> None:
    card = {"pointer_layer": 3, "pointer_head": 1}
    assert MemoryConfig().with_recommended(card).pointer == (3, 1)
    assert MemoryConfig().with_recommended({}).pointer is None
