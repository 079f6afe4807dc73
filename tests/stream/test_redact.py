"""No credentials in anything a person can read."""

from __future__ import annotations

import io
import logging
from urllib.parse import quote

import pytest

from stream import redact as module
from stream.redact import RedactingFilter, redact, register_secret, secrets_in


@pytest.fixture(autouse=True)
def own_vault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_vault", module._Vault())


CANARY = "c4nary-Zwölf@:/?#%41 end"


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://user:hunter22@cam/live",
        "[Errno 1] Unauthorized: 'rtsp://user:hunter22@cam/live' (tried twice)",
        "rtsp://user:hunter22@x@cam/live and http://user:hunter22@other",
        "http://cam/video?user=admin&password=hunter22&x=1",
        "http://cam/video?access_token=hunter22",
        "https://cam/video?api-key=hunter22#top",
        "rtsp://10.0.0.5:554/user=admin_password=hunter22_channel=1_stream=0.sdp",
        "rtsp://10.0.0.5:554/user=admin_password=a_hunter22_b_channel=1_stream=0.sdp?real_stream",
        "[Errno 5] 'rtsp://10.0.0.5:554/user=admin&password=hunter22&channel=1'",
        "rtsp://10.0.0.5/live/ch0_psw=hunter22/main and then http://cam/snap.cgi?loginuse=a&loginpas=hunter22",
        "http://cam/video?token=ab_hunter22",
        "http://cam/video?x_auth_x=hunter22",
        "Authorization: Basic hunter22hunter22==",
        "authorization=Digest username=x, response=hunter22",
        "sent header Bearer hunter22hunter22",
    ],
)
def test_the_usual_places_are_masked(text: str) -> None:
    assert "hunter22" not in redact(text)
    assert "***" in redact(text)


def test_what_is_no_secret_stays() -> None:
    text = "rtsp://cam:554/live?channel=1&subtype=0 sent no picture for 10 s; ask me@example.org"
    assert redact(text) == text


def test_a_path_keeps_what_is_no_secret() -> None:
    shown = redact("rtsp://10.0.0.5:554/user=admin_password=hunter22_channel=1_stream=0.sdp at max_tokens=64")
    assert shown == "rtsp://10.0.0.5:554/user=***_password=***_channel=1_stream=0.sdp at max_tokens=64"


def test_a_url_tells_which_of_its_words_are_secrets() -> None:
    path = "rtsp://10.0.0.5/user=admin_password=hunter_22_channel=1_stream=0.sdp"
    assert list(secrets_in(path)) == ["hunter_22"]
    assert list(secrets_in("http://cam/video?user=admin&token=a_b&x=1")) == ["a_b"]


def test_a_registered_secret_is_masked_in_every_form_and_a_longer_one_first() -> None:
    register_secret(CANARY)
    register_secret(CANARY + "-long")
    for form in (CANARY, quote(CANARY), quote(CANARY, safe=""), CANARY + "-long"):
        shown = redact(f"before {form} after")
        assert shown == "before *** after"


def test_a_short_secret_does_not_blank_out_ordinary_words() -> None:
    register_secret("cam")
    assert redact("the camera") == "the camera"
    assert "cam@" not in redact("rtsp://x:cam@host/")


def test_the_filter_cleans_message_arguments_and_traceback() -> None:
    register_secret(CANARY)
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(RedactingFilter())
    logger = logging.getLogger("test.redact")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        logger.error("open %s failed: %s", f"rtsp://u:{quote(CANARY, safe='')}@h/", {"password": CANARY})
        try:
            raise RuntimeError(f"cannot open rtsp://user:hunter22@cam with {CANARY}")
        except RuntimeError:
            logger.exception("broken", stack_info=True)
        logger.error("arguments %d that do not fit", CANARY)
    finally:
        logger.removeHandler(handler)
    text = out.getvalue()
    assert "broken" in text and "RuntimeError" in text and "that do not fit" in text
    assert CANARY not in text and quote(CANARY, safe="") not in text and "hunter22" not in text


def test_without_the_filter_the_secret_would_show() -> None:
    """The negative control of the test above."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    logger = logging.getLogger("test.redact.bare")
    logger.addHandler(handler)
    logger.propagate = False
    logger.error("open %s", "rtsp://user:hunter22@cam")
    logger.removeHandler(handler)
    assert "hunter22" in out.getvalue()
