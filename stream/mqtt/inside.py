# ruff: noqa: SLF001 - this file is the one that looks inside
"""What we know about the inside of aiomqtt 2.5 and paho 2, and mend there. Nobody else looks behind their doors.

aiomqtt wraps paho for asyncio and leaves five things to us: its queue of incoming messages is unbounded and does not
say when a message arrived; the broker's packet limit and refused publishes are not passed on; a door shut before the
greeting is noticed by time-out only; a broker that stops answering keeps the socket; and a socket that dies between
"wants to write" and the next turn of the loop is registered after its death, where its number may be another's by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from stream.mqtt.broker import Broker, Incoming, Version
from stream.mqtt.limits import Limits
from stream.mqtt.trouble import SHUT_EARLY, Trouble

# paho speaks up on every lost connection; our own sentence says it once and better.
_WIRE_LOG = logging.getLogger("stream.mqtt.wire")
_WIRE_LOG.setLevel(logging.CRITICAL)
_NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Listener(Protocol):
    """Who wants to hear what aiomqtt keeps to itself."""

    broker_packet_bytes: int | None

    def note_refused(self, reason: str) -> None:
        """The broker acknowledged a publish with a refusal."""


def new_client(
    broker: Broker, version: Version, limits: Limits, queue: type[asyncio.Queue[aiomqtt.Message]]
) -> aiomqtt.Client:
    """A client for one connection. Raises `Trouble` when the CA file cannot be read."""
    five = version == "5"
    properties = properties_of(PacketTypes.CONNECT) if five else None
    if properties is not None:
        properties.SessionExpiryInterval = 0
        properties.MaximumPacketSize = limits.packet_bytes
    try:
        return aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            identifier=broker.client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
            clean_session=None if five else True,
            clean_start=True if five else MQTT_CLEAN_START_FIRST_ONLY,  # the one value paho takes for 3.1.1
            will=aiomqtt.Will(broker.will_topic, b"offline", qos=1, retain=True),
            keepalive=broker.keepalive_s,
            timeout=limits.timeout_s,
            queue_type=queue,
            max_queued_incoming_messages=limits.inbox,
            properties=properties,
            tls_context=ssl.create_default_context(cafile=broker.ca_file) if broker.tls else None,
            socket_options=[_NODELAY],
            logger=_WIRE_LOG,
        )
    except OSError as error:
        raise Trouble("unreachable", f"mqtt.ca_file {broker.ca_file} cannot be read: {error.strerror}.") from None


def stamping_queue(now_s: Callable[[], float], dropped: Callable[[], None]) -> type[asyncio.Queue[aiomqtt.Message]]:
    """A queue that turns messages into `Incoming` when they arrive, not when they are read, and counts what is lost."""

    class StampingQueue(asyncio.Queue[Any]):
        def put_nowait(self, item: aiomqtt.Message) -> None:
            if self.full():
                dropped()
            else:
                super().put_nowait(_incoming(item, now_s()))

    return StampingQueue


def _incoming(message: aiomqtt.Message, now_s: float) -> Incoming:
    extra = message.properties
    return Incoming(
        topic=message.topic.value,
        payload=bytes(message.payload),
        retain=bool(message.retain),
        response_topic=getattr(extra, "ResponseTopic", None),
        correlation=getattr(extra, "CorrelationData", None),
        expiry_s=getattr(extra, "MessageExpiryInterval", None),
        arrived_s=now_s,
    )


def mend(client: aiomqtt.Client, listener: Listener) -> None:
    """Hear what aiomqtt does not pass on, and see a door that is shut early."""
    paho, ready = client._client, client._connected
    connect: Any = paho.on_connect
    publish: Any = paho.on_publish
    disconnect: Any = paho.on_disconnect

    def connected(one: Any, data: Any, flags: Any, code: ReasonCode, properties: Properties | None = None) -> None:
        listener.broker_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        connect(one, data, flags, code, properties)

    def published(one: Any, data: Any, mid: int, code: ReasonCode, properties: Properties) -> None:
        if code.is_failure:
            listener.note_refused(str(code))
        publish(one, data, mid, code, properties)

    def disconnected(*details: Any) -> None:
        if ready.cancelled():  # nobody waits any more; aiomqtt would trip over it
            return
        if not ready.done():
            ready.set_exception(aiomqtt.MqttError(SHUT_EARLY))
        disconnect(*details)

    paho.on_connect, paho.on_publish, paho.on_disconnect = connected, published, disconnected
    # A connection that dies while nobody waits for it would else end in "Future exception was never retrieved".
    client._disconnected.add_done_callback(lambda future: future.cancelled() or future.exception())
    _write_while_open(client)


def _write_while_open(client: aiomqtt.Client) -> None:
    """Register a socket for writing only if it is still open, and still wants to write, when the loop gets there."""
    paho, ended, loop = client._client, client._disconnected, asyncio.get_running_loop()

    def write() -> None:
        try:
            paho.loop_write()
        except Exception as error:  # as aiomqtt does: whatever it is, the connection is over
            if not ended.done():
                ended.set_exception(error)

    def register(_client: Any, _data: Any, which: Any) -> None:
        def now() -> None:
            still_open = paho.socket()
            if still_open is not None and still_open is which and paho.want_write():
                loop.add_writer(which, write)

        loop.call_soon_threadsafe(now)  # paho may call from the thread in which it connects

    paho.on_socket_register_write = register


def hang_up(client: aiomqtt.Client) -> None:
    """Close the socket of a broker that does not answer, also one still being opened; paho cleans up after itself."""
    client._client.on_socket_open = lambda _client, _data, opened: opened.close()
    open_socket = socket_of(client)
    if open_socket is not None:
        with contextlib.suppress(OSError):
            open_socket.shutdown(socket.SHUT_RDWR)


def socket_of(client: aiomqtt.Client) -> socket.socket | None:
    """What the connection runs over; None when there is none."""
    found = client._client.socket()
    return found if isinstance(found, socket.socket) else None


def inbox_of(client: aiomqtt.Client) -> asyncio.Queue[Any]:
    """What arrived and was not read yet: `Incoming`, made by the `stamping_queue`."""
    return client._queue


def properties_of(packet: int) -> Properties:
    """Empty properties for a kind of packet."""
    return Properties(packet)  # type: ignore[no-untyped-call]  # paho has no types here
