"""Decoding: greedy is repeatable, letters are never broken, an ended answer gives everything back."""

from __future__ import annotations

import torch

from models.answerer import TextAnswerer, Words, choose
from tests.models.scripted import ask, frame, memory
from tests.models.tiny import tiny_tokenizer, token_id


def test_text_grows_by_whole_letters() -> None:
    tokenizer = tiny_tokenizer()
    text = "two bikes, ein Mädchen – 日本 🚲 left"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    words = Words(tokenizer)
    pieces = [words.add(i) for i in ids]
    assert "".join(pieces) + words.rest() == text
    assert all("\ufffd" not in piece for piece in pieces)
    assert "" in pieces, "an unfinished letter waits"


def test_an_unfinished_letter_is_shown_at_the_end() -> None:
    tokenizer = tiny_tokenizer()
    ids = tokenizer("ab🚲", add_special_tokens=False)["input_ids"][:-1]
    words = Words(tokenizer)
    said = "".join(words.add(i) for i in ids)
    assert said == "ab" and "\ufffd" in words.rest()


def test_special_tokens_are_not_said() -> None:
    tokenizer = tiny_tokenizer()
    words = Words(tokenizer)
    assert words.add(token_id(tokenizer, "<video>")) == ""


def test_greedy_takes_the_likeliest_and_sampling_stays_in_the_nucleus() -> None:
    logits = torch.tensor([0.0, 5.0, 5.0, 1.0])
    assert choose(logits, 0.0, torch.Generator()) == 1
    coin = torch.Generator().manual_seed(0)
    drawn = [choose(logits, 1.0, coin) for _ in range(200)]
    assert set(drawn) == {1, 2}


def test_the_same_question_gets_the_same_answer_and_the_limit_holds() -> None:
    mem = memory()
    for index in range(9):
        mem.append(frame(index))
    answerer = TextAnswerer(mem.backbone)
    for warmth in (0.0, 1.5):
        views = [mem.fork(ask(temperature=warmth, max_tokens=5)) for _ in range(2)]
        said = [[p.text for p in answerer.answer(view)] for view in views]
        assert said[0] == said[1]
        assert views[0].usage().completion_tokens <= 5
        assert all(view.closed for view in views)


def test_pieces_say_what_they_could_see() -> None:
    mem = memory()
    for index in range(9):
        mem.append(frame(index))
    words = TextAnswerer(mem.backbone).answer(mem.fork(ask()))
    first = next(words)
    mem.append(frame(9))
    assert first.seen_s == 8.0 and all(p.seen_s == 8.0 for p in words)


def test_an_end_token_ends_the_answer() -> None:
    mem = memory()
    mem.append(frame(0))
    answerer = TextAnswerer(mem.backbone)
    view = mem.fork(ask(max_tokens=20))
    everything = frozenset(range(len(mem.backbone.tokenizer)))
    usual, mem.backbone.end_ids = mem.backbone.end_ids, everything
    try:
        assert list(answerer.answer(view)) == []
    finally:
        mem.backbone.end_ids = usual
    assert view.usage().completion_tokens == 0 and view.closed


def test_leaving_early_gives_the_fork_back() -> None:
    mem = memory()
    mem.append(frame(0))
    words = TextAnswerer(mem.backbone).answer(mem.fork(ask(max_tokens=20)))
    next(words)
    assert mem.bytes_by_part()["forks"] > 0
    words.close()  # type: ignore[attr-defined]
    assert mem.bytes_by_part()["forks"] == 0
