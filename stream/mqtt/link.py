"""One connection to a broker: subscribe, publish, messages as they come. What goes wrong is a `Trouble`.

A `Link` lives for one connection. aiomqtt knows no reconnect, and entering the same client again would send what it had
not got rid of a second time, so a new one is made for the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import cast

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from stream.mqtt.broker import Broker, Incoming, Version
from stream.mqtt.inside import hang_up, inbox_of, mend, new_client, properties_of, socket_of, stamping_queue
from stream.mqtt.limits import Limits
from stream.mqtt.outbox import Publication
from stream.mqtt.trouble import Trouble, as_trouble, why_not

log = logging.getLogger(__name__)


class Link:
    """An open connection."""

    def __init__(self, client: aiomqtt.Client, version: Version, limits: Limits) -> None:
        self.version: Version = version
        self.broker_packet_bytes: int | None = None  # the most this broker takes, if it said so
        self.refused = 0  # publishes that the broker acknowledged with a refusal (version 5)
        self._client, self._limits = client, limits
        client.pending_calls_threshold = limits.in_flight + 8  # above it aiomqtt warns on every call

    @property
    def socket(self) -> socket.socket | None:
        """What the connection runs over."""
        return socket_of(self._client)

    def note_refused(self, reason: str) -> None:
        """The broker took a message and threw it away: an ACL, most likely. Said once per connection."""
        self.refused += 1
        if self.refused == 1:
            log.warning("The MQTT broker refuses what we publish (%s): check the rules (ACL) of our user.", reason)

    async def subscribe(self, filters: Iterable[str], *, send_retained: bool = False) -> list[str]:
        """Subscribe with QoS 1; returns the filters that were refused. Raises `Trouble`.

        Version 5: retained commands are not even sent to us (Retain Handling 2), nor what we publish ourselves.
        """
        refused = []
        for pattern in filters:
            handling = (
                SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if send_retained else SubscribeOptions.RETAIN_DO_NOT_SEND
            )
            options = SubscribeOptions(qos=1, noLocal=not send_retained, retainHandling=handling)
            with as_trouble():
                if self.version == "5":
                    codes = await self._client.subscribe(pattern, options=options)
                else:
                    codes = await self._client.subscribe(pattern, qos=1)
            if any((code if isinstance(code, int) else code.value) >= 128 for code in codes):
                refused.append(pattern)
        return refused

    async def unsubscribe(self, pattern: str) -> None:
        """Stop listening. Raises `Trouble`."""
        with as_trouble():
            await self._client.unsubscribe(pattern)

    async def publish(self, publication: Publication) -> bool:
        """Send, and wait for the acknowledgement (QoS 1). False: too large for this broker. Raises `Trouble`."""
        most = self.broker_packet_bytes
        if most is not None and publication.bytes + 64 > most:
            return False
        properties = _publish_properties(publication) if self.version == "5" else None
        with as_trouble():
            await self._client.publish(
                publication.topic, publication.payload, publication.qos, publication.retain, properties
            )
        return True

    async def messages(self) -> AsyncIterator[Incoming]:
        """Messages as they come. Ends with `Trouble`, never otherwise."""
        with as_trouble():
            async for message in self._client.messages:
                yield cast("Incoming", message)  # `stamping_queue` made it one when it arrived

    def left_over(self) -> Iterator[Incoming]:
        """What had arrived and was not read when the connection ended."""
        inbox = inbox_of(self._client)
        while not inbox.empty():
            yield cast("Incoming", inbox.get_nowait())


@asynccontextmanager
async def open_link(
    broker: Broker, version: Version, limits: Limits, now_s: Callable[[], float], dropped: Callable[[], None]
) -> AsyncIterator[Link]:
    """Connect, and disconnect at the end. Raises `Trouble`.

    `dropped` is called for each incoming message that found the inbox full.
    """
    client = new_client(broker, version, limits, stamping_queue(now_s, dropped))
    link = Link(client, version, limits)
    mend(client, link)
    await _enter(client, broker)
    try:
        yield link
    finally:
        with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
            async with asyncio.timeout(limits.goodbye_s):
                await client.__aexit__(None, None, None)
        hang_up(client)


async def _enter(client: aiomqtt.Client, broker: Broker) -> None:
    """Connect. Whatever goes wrong, also being cancelled, no half-open socket stays behind."""
    entered = False
    try:
        await client.__aenter__()
        entered = True
    except aiomqtt.MqttError as error:
        raise why_not(error, broker) from None
    except UnicodeError:
        raise Trouble("unreachable", f"mqtt.url: {broker.host!r} is not a host name.") from None
    finally:
        if not entered:
            hang_up(client)


def _publish_properties(publication: Publication) -> Properties:
    properties = properties_of(PacketTypes.PUBLISH)
    if publication.correlation is not None:
        properties.CorrelationData = publication.correlation
    properties.ContentType = publication.media_type
    properties.PayloadFormatIndicator = 0 if publication.media_type.startswith("image/") else 1
    return properties
