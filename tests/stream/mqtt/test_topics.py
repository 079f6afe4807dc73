from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.mqtt.topics import RESERVED, Destination, Topics, covers, is_camera_id

TOPICS = Topics()


@pytest.mark.parametrize("name", ["front", "a", "0", "cam-1_b", "x" * 64])
def test_camera_ids(name: str) -> None:
    assert is_camera_id(name)


@pytest.mark.parametrize(
    "name", ["", "Front", "a/b", "+", "#", "..", "a b", "é", "x" * 65, "front\n", "a\0", *sorted(RESERVED)]
)
def test_no_camera_ids(name: str) -> None:
    assert not is_camera_id(name)


@pytest.mark.parametrize(
    ("topic", "destination"),
    [
        ("longwatch/main/front/ask", Destination("ask", "front")),
        ("longwatch/main/ask", Destination("ask_many")),
        ("longwatch/main/front/memory/clear", Destination("clear", "front")),
        ("homeassistant/status", Destination("hub_status")),
        ("longwatch/main/front/answer", None),
        ("longwatch/main/front/ask/more", None),
        ("longwatch/mainly/front/ask", None),
        ("longwatch/main", None),
        ("other/main/front/ask", None),
    ],
)
def test_destinations(topic: str, destination: Destination | None) -> None:
    assert TOPICS.destination(topic) == destination


@pytest.mark.parametrize("topic", ["replies", "a/b/c", "longwatcher/x", "café/réponse", "x" * 256, "homeassistants"])
def test_topics_that_may_be_answered(topic: str) -> None:
    assert TOPICS.response_fault(topic) is None


@pytest.mark.parametrize(
    ("topic", "word"),
    [
        ("", "empty"),
        ("x" * 257, "256"),
        ("a/#", "wildcard"),
        ("a/+/b", "wildcard"),
        ("a\0b", "zero"),
        ("a\nb", "control"),
        ("a\ud800", "control"),
        ("$SYS/broker", "$"),
        ("$share/g/t", "$"),
        ("longwatch", "longwatch/"),
        ("longwatch/main/front/ask", "longwatch/"),
        ("longwatch/other/front/ask", "longwatch/"),
        ("homeassistant/device/x/config", "homeassistant/"),
    ],
)
def test_topics_that_may_not_be_answered_say_why(topic: str, word: str) -> None:
    fault = TOPICS.response_fault(topic)
    assert fault is not None and word in fault


def test_allowed_response_topics_narrow_the_choice() -> None:
    assert TOPICS.response_fault("clients/7/in", ["clients/+/in"]) is None
    assert TOPICS.response_fault("clients/7/out", ["clients/+/in"]) is not None
    assert TOPICS.response_fault("longwatch/main/front/ask", ["#"]) is not None  # never our own


@given(st.text(max_size=300))
def test_no_text_gets_an_answer_into_our_own_commands(topic: str) -> None:
    if TOPICS.response_fault(topic) is None:
        assert TOPICS.destination(topic) is None
        assert topic.encode() and len(topic) <= 256 and not set(topic) & set("+#\0")


@pytest.mark.parametrize(
    ("pattern", "topic", "match"),
    [
        ("#", "a/b", True),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("a/+", "a", False),
        ("a/+/c", "a/b/c", True),
        ("a/+", "a/b/c", False),
        ("a", "b", False),
    ],
)
def test_filters(pattern: str, topic: str, match: bool) -> None:
    assert covers(pattern, topic) is match


@pytest.mark.parametrize(("key", "value"), [("prefix", "a/#"), ("prefix", ""), ("instance", "a/b"), ("discovery", "+")])
def test_names_that_cannot_be_topics_are_refused(key: str, value: str) -> None:
    with pytest.raises(ValueError, match="mqtt"):
        Topics(**{key: value})


def test_home_assistant_ids_hold_only_what_it_takes() -> None:
    topics = Topics(prefix="house/cams", instance="main.1")
    assert topics.device_config("front") == "homeassistant/device/house_cams_main_1_front/config"
    assert topics.client_id == "house-cams-main.1"
