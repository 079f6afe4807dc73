"""Camera URLs as people write them."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.redact import redact
from stream.sources.address import parse
from stream.sources.errors import SourceError

HARD = "p@:/?#% é"


@pytest.mark.parametrize("password", [HARD, "a@b", "a:b", "a/b", "a?b", "a#b", "50%", "two words", "été", "@", "//@:"])
@pytest.mark.parametrize("raw", [True, False])
def test_any_password_is_read_raw_or_encoded(password: str, raw: bool) -> None:
    written = password if raw else quote(password, safe="")
    address = parse(f"rtsp://user:{written}@192.0.2.7:554/live/1?channel=2")
    assert (address.user, address.password) == ("user", password)
    assert (address.host, address.port, address.rest) == ("192.0.2.7", 554, "/live/1?channel=2")
    parts = urlsplit(address.url)
    assert unquote(parts.password or "") == password and parts.hostname == "192.0.2.7" and parts.path == "/live/1"


@pytest.mark.parametrize("user", ["a@b.example", "a/b", "a?b", "50%", "two words", "Zoë"])
def test_any_user_name_without_a_colon(user: str) -> None:
    assert parse(f"rtsp://{quote(user, safe='')}:x@cam/").user == user


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=10))
def test_an_encoded_password_always_comes_back(password: str) -> None:
    address = parse(f"rtsp://user:{quote(password, safe='')}@cam.example/live")
    assert address.password == password and address.host == "cam.example"
    assert parse(address.url) == address


@pytest.mark.parametrize(
    ("url", "host", "port", "rest"),
    [
        ("rtsp://cam", "cam", None, ""),
        ("RTSP://cam:8554/a b", "cam", 8554, "/a b"),
        ("rtsp://[2001:db8::1]:554/x", "[2001:db8::1]", 554, "/x"),
        ("rtsp://cam/path@2x", "cam", None, "/path@2x"),
        ("http://bücher.example/v", "xn--bcher-kva.example", None, "/v"),
        ("rtsp://cam?x=1", "cam", None, "?x=1"),
    ],
)
def test_hosts_ports_and_paths(url: str, host: str, port: int | None, rest: str) -> None:
    address = parse(url)
    assert (address.host, address.port, address.rest, address.user) == (host, port, rest, None)


def test_what_is_shown_has_no_secret_and_what_is_opened_has() -> None:
    address = parse("rtsp://admin:s3cr%65t-word@cam/live?token=abcdef&x=1")
    for text in (address.shown, repr(address), str(address), redact(address.url), redact("it was s3cret-word")):
        assert "s3c" not in text and "abcdef" not in text
    assert "s3cret-word" in address.url and "token=abcdef" in address.url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("cam/live", "scheme"),
        ("rtsp://", "unparseable"),
        ("rtsp:///live", "unparseable"),
        ("rtsp://user:pw@", "unparseable"),
        ("rtsp://cam:99999/", "Port 99999"),
        ("rtsp://cam:0/", "Port 0"),
        ("rtsp://cam/\r\nSession: 1", "control character"),
        ("rtsp://cam/" + "x" * 5000, "longer than 4096"),
        ("rtsp://us%3Aer:pw@cam/", "colon"),
        ("rtsp://user:" + "x" * 200 + "@cam/", "too long"),
        ("rtsp://a|b/", "unparseable"),
        ("rtsp://cam,file:/etc/passwd", "unparseable"),
        ("rtsp://\ufffe.example/", "no host name"),
    ],
)
def test_what_is_no_url_is_refused_in_a_sentence(url: str, says: str) -> None:
    with pytest.raises(SourceError, match=says) as caught:
        parse(url)
    assert "pw" not in str(caught.value) and isinstance(caught.value, ValueError)
