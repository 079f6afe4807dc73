"""What goes wrong with a broker, in words for people: why a connection was not made, why it ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from stream.redact import redact

if TYPE_CHECKING:
    from stream.mqtt.broker import Broker

TroubleKind = Literal[
    "version", "unclear", "auth_failed", "id_taken", "bad_id", "refused", "unreachable", "lost", "broken"
]

SHUT_EARLY = "closes the connection before it has answered"
_TIMED_OUT = "Operation timed out"  # aiomqtt's words
_REFUSALS: dict[int, TroubleKind] = {132: "version", 133: "bad_id", 134: "auth_failed", 135: "auth_failed"}
_TAKEN_OVER = 142


class Trouble(Exception):
    """Why a connection could not be made or has ended; the text is for people and holds no secret."""

    def __init__(self, kind: TroubleKind, message: str) -> None:
        super().__init__(redact(message))
        self.kind = kind


def why_not(error: aiomqtt.MqttError, broker: Broker) -> Trouble:
    """Of a connection that was not made. paho gives the codes of version 5 also for 3.1.1."""
    code = _code(error)
    kind = None if code is None else _REFUSALS.get(code, "refused")
    if kind == "auth_failed":
        who = f"user {broker.username!r}" if broker.username else "a client without a user name"
        return Trouble(kind, f"MQTT broker {broker.name} refuses {who}: check mqtt.username and mqtt.password.")
    if kind == "bad_id":
        return Trouble(kind, f"MQTT broker {broker.name} refuses the client id {broker.client_id!r}.")
    if kind == "version":
        return Trouble(kind, f"MQTT broker {broker.name} does not speak this version of MQTT.")
    if kind is not None:
        return Trouble(kind, f"MQTT broker {broker.name} refuses the connection: {error}.")
    if str(error) == SHUT_EARLY:
        return Trouble("unclear", f"MQTT broker {broker.name} {SHUT_EARLY}.")
    if str(error) == _TIMED_OUT:
        return Trouble("unclear", f"MQTT broker {broker.name} accepts connections but does not answer.")
    return Trouble("unreachable", f"MQTT broker {broker.name} cannot be reached: {error}.")


@contextlib.contextmanager
def as_trouble() -> Iterator[None]:
    """What goes wrong on an open connection."""
    try:
        yield
    except aiomqtt.MqttError as error:
        cause = error.__cause__ or error
        if _code(cause) == _TAKEN_OVER:
            raise Trouble("id_taken", "Another client has connected to the MQTT broker with our client id.") from None
        if str(error) == _TIMED_OUT:
            raise Trouble("lost", "The MQTT broker does not answer any more.") from None
        raise Trouble("lost", f"The connection to the MQTT broker was lost ({cause}).") from None


def _code(error: BaseException) -> int | None:
    code = getattr(error, "rc", None)
    value = code.value if isinstance(code, ReasonCode) else code
    return value if isinstance(value, int) else None
