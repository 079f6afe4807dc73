from __future__ import annotations

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from stream.mqtt.broker import Broker
from stream.mqtt.limits import Bucket, Limits, backoff_s
from stream.mqtt.retry import Patience, Versions
from stream.mqtt.trouble import Trouble, as_trouble, why_not

LIMITS = Limits(backoff_s=(1.0, 2.0, 4.0), refused_backoff_s=(60.0, 600.0), settled_s=30.0, brief_losses=3)
LOST = Trouble("lost", "It was lost.")


def test_only_a_clear_refusal_makes_version_3_stay() -> None:
    versions = Versions("auto")
    tried: list[str] = []
    for kind in ("unclear", "version"):
        assert versions.other_instead_of("5", kind)
        tried.append(versions.next)
        versions.worked()
        tried.append(versions.next)  # an unclear one may just have been starting up
    assert tried == ["3.1.1", "5", "3.1.1", "3.1.1"]
    fixed = Versions("5")
    assert not fixed.other_instead_of("5", "version") and fixed.next == "5"
    assert not Versions("auto").other_instead_of("5", "auth_failed")


def test_pauses_grow_and_start_anew_after_a_connection_that_lasted() -> None:
    patience = Patience(LIMITS, lambda: 1.0)
    away = Trouble("unreachable", "It is away.")
    assert [patience.after(away, None)[1] for _ in range(5)] == [1, 2, 4, 4, 4]
    assert patience.after(LOST, 31.0)[1] == 1
    assert patience.after(LOST, 2.0)[1] == 2  # too short to count


def test_a_refusal_waits_long_and_longer() -> None:
    patience = Patience(LIMITS, lambda: 1.0)
    wrong = Trouble("auth_failed", "Wrong password.")
    assert [patience.after(wrong, None)[1] for _ in range(3)] == [60, 600, 600]


def test_connections_lost_at_once_again_and_again_mean_that_our_id_is_in_use() -> None:
    patience = Patience(LIMITS, lambda: 1.0)
    seen = [patience.after(LOST, 0.5) for _ in range(4)]
    assert [trouble.kind for trouble, _ in seen] == ["lost", "lost", "id_taken", "id_taken"]
    assert [pause_s for _, pause_s in seen] == [1, 2, 60, 600]
    assert patience.after(LOST, 31.0)[0].kind == "lost"  # one that lasted: another story
    away = Patience(LIMITS, lambda: 1.0)
    assert {away.after(Trouble("unreachable", "Away."), None)[0].kind for _ in range(9)} == {"unreachable"}


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (142, "id_taken", "client id"),
        (141, "lost", "Keep alive timeout"),
    ],
)
def test_what_a_broker_says_on_leaving_is_understood(code: int, kind: str, words: str) -> None:
    said = aiomqtt.MqttCodeError(ReasonCode(PacketTypes.DISCONNECT, identifier=code))
    with pytest.raises(Trouble) as trouble, as_trouble():
        raise aiomqtt.MqttError("Disconnected during message iteration") from said
    assert trouble.value.kind == kind and words in str(trouble.value)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (132, "version", "version"),
        (133, "bad_id", "client id"),
        (134, "auth_failed", "mqtt.password"),
        (135, "auth_failed", "mqtt.password"),
        (136, "refused", "unavailable"),
    ],
)
def test_why_a_broker_refuses_is_understood(code: int, kind: str, words: str) -> None:
    error = aiomqtt.exceptions.MqttConnectError(ReasonCode(PacketTypes.CONNACK, identifier=code))
    trouble = why_not(error, Broker("host", 1883, "me", "will"))
    assert trouble.kind == kind and words in str(trouble)


def test_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    bucket = Bucket(2.0, 3, 100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_s == 0.5
    assert bucket.take(100.5) and not bucket.take(100.6)


def test_backoff_grows_to_its_last_step_and_is_jittered() -> None:
    schedule = (1.0, 2.0, 5.0)
    assert [backoff_s(schedule, attempt, 1.0) for attempt in range(5)] == [1, 2, 5, 5, 5]
    assert backoff_s(schedule, 2, 0.0) == 2.5
