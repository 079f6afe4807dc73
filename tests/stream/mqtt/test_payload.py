from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.mqtt.payload import QUESTION_BYTES, BadPayload, Wish, parse
from stream.request import MOST_TOKENS, TEXT_LIMIT, Refused, Request, check


def test_plain_text_is_a_question() -> None:
    assert parse(b"  Is the gate open?\n") == Wish("Is the gate open?")
    assert parse("\ufeffEst-ce fermé ?".encode()).question == "Est-ce fermé ?"


def test_json_is_a_question_with_wishes() -> None:
    payload = {
        "v": 1,
        "id": "q-42",
        "question": " Who? ",
        "window_s": 10,
        "timeout_s": 2.5,
        "max_age_ms": 2000,
        "max_tokens": 200,
        "schema": None,
        "reply_to": "me/in",
        "cameras": ["front", "back", "front"],
    }
    assert parse(json.dumps(payload).encode()) == Wish(
        "Who?", "q-42", 10.0, 2.5, 2000, 200, "me/in", cameras=("front", "back")
    )


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "empty_question"),
        (b" \n ", "empty_question"),
        (b"\xff\xfe?", "not_utf8"),
        (b"caf\xe9", "not_utf8"),
        (b"a\0b", "bad_question"),
        (b"x" * (QUESTION_BYTES + 1), "question_too_long"),
        (b"[1, 2]", "bad_question"),
        (b"[" * 8000, "bad_question"),
        (b'{"question": ' * 600, "bad_question"),
        (b'{"question": "a"', "bad_question"),
        (b"{}", "empty_question"),
        (b'{"question": ""}', "empty_question"),
        (b'{"question": 7}', "bad_question"),
        (b'{"question": "\\ud800"}', "not_utf8"),
        (b'{"question": "a\\u0000"}', "bad_question"),
        (b'{"question": "a", "question": "b"}', "bad_question"),
        (b'{"question": "a", "timeout_s": NaN}', "bad_question"),
        (b'{"question": "a", "timeout_s": 1e999}', "bad_question"),
        (b'{"question": "a", "timeout_s": -1}', "bad_question"),
        (b'{"question": "a", "timeout_s": true}', "bad_question"),
        (b'{"question": "a", "timeout_s": "5"}', "bad_question"),
        (b'{"question": "a", "max_tokens": 1.5}', "bad_question"),
        (b'{"question": "a", "max_tokens": 0}', "bad_question"),
        (b'{"question": "a", "max_tokens": true}', "bad_question"),
        (b'{"question": "a", "max_tokens": ' + b"9" * 5000 + b"}", "bad_question"),
        (b'{"question": "a", "schema": {"type": "object"}}', "unsupported"),
        (b'{"question": "a", "v": 2}', "bad_question"),
        (b'{"question": "a", "reply_to": 3}', "bad_question"),
        (b'{"question": "a", "cameras": []}', "bad_question"),
        (b'{"question": "a", "cameras": "front"}', "bad_question"),
        (b'{"question": "a", "cameras": ["../x"]}', "unknown_camera"),
        (json.dumps({"question": "a", "cameras": [f"c{i}" for i in range(17)]}).encode(), "bad_question"),
    ],
)
def test_what_is_no_question_is_refused_with_a_sentence(payload: bytes, code: str) -> None:
    with pytest.raises(BadPayload) as refused:
        parse(payload)
    assert refused.value.code == code
    assert str(refused.value).endswith((".", "."))


@pytest.mark.parametrize("wanted", ["1025", "4097", "1000000", "1e9", "9" * 400])
def test_more_tokens_than_are_served_are_as_many_as_are_served(wanted: str) -> None:
    assert parse(f'{{"question": "a", "max_tokens": {wanted}}}'.encode()).max_tokens == MOST_TOKENS


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "x" * 64, "a/b", "é", 7, ["a"]])
def test_bad_ids(name: object) -> None:
    with pytest.raises(BadPayload) as refused:
        parse(json.dumps({"question": "a", "id": name}).encode())
    assert refused.value.code == "bad_id" and refused.value.name is None


def test_a_refusal_finds_its_way_back() -> None:
    with pytest.raises(BadPayload) as refused:
        parse(b'{"id": "q-1", "reply_to": "me/in", "question": "a", "windows_s": 5}')
    assert (refused.value.name, refused.value.reply_to) == ("q-1", "me/in")
    assert "window_s" in str(refused.value)  # the key that was meant


@given(st.binary(max_size=300))
def test_any_bytes_are_a_question_or_refused(payload: bytes) -> None:
    try:
        wish = parse(payload)
    except BadPayload:
        return
    assert wish.question


@given(st.text(min_size=1, max_size=50))
def test_what_passes_here_passes_at_the_desk(text: str) -> None:
    """Both doors have limits; a question that one lets in is not too long or broken for the other."""
    assert QUESTION_BYTES <= TEXT_LIMIT
    try:
        wish = parse(json.dumps({"question": text, "window_s": 1, "max_age_ms": 1, "timeout_s": 1}).encode())
    except BadPayload:
        return
    request = Request("front", wish.question, "mqtt", timeout_s=1, since_s=1, max_age_ms=1)
    try:
        check(request)
    except Refused as refused:
        assert refused.code == "empty_question"  # noqa: PT017 - only unprintable characters
