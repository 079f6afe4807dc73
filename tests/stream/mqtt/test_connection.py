"""Getting to a broker, losing it, getting back: with a real one that is late, killed, frozen, jealous or old."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import ssl
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stream.config import MqttConfig
from stream.mqtt.asking import Asking
from stream.mqtt.client import MqttBridge
from stream.mqtt.publishing import Publishing
from stream.mqtt.session import Session
from tests.fakes import fake_station
from tests.servers.mosquitto import Mosquitto, free_port
from tests.servers.old_broker import Manner, old_broker
from tests.stream.mqtt.parties import QUICK, ROOT, Party, bridged, own_python, until


async def test_states_first_then_online_and_offline_at_the_end(tmp_path: Path, broker: Mosquitto) -> None:
    async with Party(broker, "#") as listener:
        async with bridged(tmp_path, broker):
            await listener.hear(f"{ROOT}/status")
            topics = [message.topic.value for message in listener.heard]
            assert topics[-1] == f"{ROOT}/status"
            assert {f"{ROOT}/front/status", "homeassistant/device/longwatch_main_front/config"} <= set(topics)
        assert (await listener.hear(f"{ROOT}/status")).payload == b"offline"
    async with Party(broker, f"{ROOT}/status") as late:
        message = await late.hear(f"{ROOT}/status")
        assert message.payload == b"offline" and message.retain


async def test_a_broker_that_comes_late_is_found(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "mosquitto")
    async with bridged(tmp_path, broker, connect=False) as house:
        await until(lambda: house.bridge.state.state == "offline")
        assert f"127.0.0.1:{broker.port} cannot be reached" in house.bridge.state.reason
        with broker:
            await until(lambda: house.bridge.connected)


async def test_a_broker_that_is_killed_and_comes_back_is_found_again(tmp_path: Path, broker: Mosquitto) -> None:
    async with bridged(tmp_path, broker) as house:
        for _ in range(3):
            before = house.bridge.reconnects
            broker.kill()
            await until(lambda: house.bridge.reconnects > before)  # noqa: B023
            broker.start()
            await until(lambda: house.bridge.connected)
        async with Party(broker, "r") as asker:
            await asker.say(f"{ROOT}/front/ask", "q", reply="r")
            assert (await asker.hear_json("r"))["status"] == "ok"


async def test_a_mistake_of_ours_costs_a_connection_and_not_the_service(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    with monkeypatch.context() as patch:
        patch.setattr(Session, "greet", broken)
        async with bridged(tmp_path, broker, connect=False) as house:
            await until(lambda: house.bridge.reconnects >= 5)
            # Not taken for another instance of our name, as connections that the broker ends at once would be.
            assert house.bridge.state.state == "offline"
            assert "RuntimeError: a mistake of ours" in house.bridge.state.reason
            assert "Traceback" in caplog.text
            patch.undo()
            await until(lambda: house.bridge.connected)


async def test_one_message_or_event_that_we_stumble_over_is_dropped_alone(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with bridged(tmp_path, broker) as house, Party(broker, "r", f"{ROOT}/front/status") as asker:
        with monkeypatch.context() as patch:
            patch.setattr(Publishing, "_state", lambda *_: 1 / 0)
            house.parts.sources["front"].become("stalled", "no frames")
            await until(lambda: "could not be published" in caplog.text)
            patch.setattr(Asking, "receive", lambda *_: 1 / 0)
            await asker.say(f"{ROOT}/front/ask", "q", reply="r")
            await until(lambda: "message over MQTT was dropped" in caplog.text)
        house.parts.sources["front"].become("offline", "gone")
        assert (await asker.hear(f"{ROOT}/front/status", lambda one: not one.retain)).payload == b"offline"
        await asker.say(f"{ROOT}/front/ask", "q", reply="r")
        assert (await asker.hear_json("r"))["status"] == "ok"
        assert house.bridge.connected and house.bridge.reconnects == 0


async def test_a_frozen_broker_is_noticed_and_found_again(tmp_path: Path, broker: Mosquitto) -> None:
    hasty = replace(QUICK, timeout_s=0.5)
    async with bridged(tmp_path, broker, limits=hasty) as house:
        broker.freeze()
        house.parts.sources["front"].become("stalled", "no frames")  # something that has to be published
        await until(lambda: not house.bridge.connected)
        assert "does not answer" in house.bridge.state.reason
        broker.thaw()
        await until(lambda: house.bridge.connected)
        async with Party(broker, f"{ROOT}/front/status") as late:
            assert (await late.hear(f"{ROOT}/front/status")).payload == b"offline"


async def test_the_service_leaves_in_time_when_the_broker_is_frozen_or_away(tmp_path: Path, broker: Mosquitto) -> None:
    hasty = replace(QUICK, timeout_s=0.5, closing_s=0.5)
    async with asyncio.timeout(10), bridged(tmp_path, broker, limits=hasty):
        broker.freeze()
    broker.thaw()
    async with asyncio.timeout(10), bridged(tmp_path, f"mqtt://127.0.0.1:{free_port()}", connect=False):
        pass
    async with (
        old_broker(broker.port, "says nothing") as (port, tried),
        asyncio.timeout(10),
        bridged(tmp_path, f"mqtt://127.0.0.1:{port}", connect=False),
    ):
        await until(lambda: bool(tried))  # in the middle of connecting


@pytest.mark.parametrize("manner", ["refuses", "hangs up", "says nothing"])
async def test_a_broker_that_knows_no_version_5_is_spoken_to_in_3(
    tmp_path: Path, broker: Mosquitto, manner: Manner
) -> None:
    limits = replace(QUICK, timeout_s=0.5) if manner == "says nothing" else QUICK
    async with old_broker(broker.port, manner) as (port, tried):  # noqa: SIM117 - the bridge needs its port
        async with bridged(tmp_path, f"mqtt://127.0.0.1:{port}", limits=limits) as house:
            assert house.bridge.state.protocol == "3.1.1"
            assert tried[:2] == [5, 4]  # and so on, where half a second was too little to be let in
            async with Party(broker, f"{ROOT}/front/answer", version=3) as asker:
                await asker.say(f"{ROOT}/front/ask", "q")
                assert (await asker.hear_json(f"{ROOT}/front/answer"))["status"] == "ok"


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_wrong_password_is_named_and_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    canary = "wr0ng-canary"
    caplog.set_level(logging.DEBUG)
    with Mosquitto(tmp_path / "mosquitto", users={"cam": "r1ght-0ne"}) as broker:
        how: dict[str, Any] = {"username": "cam", "password": canary, "version": version}
        async with bridged(tmp_path, broker, connect=False, **how) as house:
            await until(lambda: house.bridge.state.state == "auth_failed")
            assert "user 'cam'" in house.bridge.state.reason and "mqtt.password" in house.bridge.state.reason
            shown = repr([house.bridge.state, house.bridge.broker, house.bridge.figures()]) + caplog.text
            shown += house.station.meters.exposition().decode()
            assert "refuses user 'cam'" in caplog.text
            assert canary not in shown
        async with bridged(tmp_path, broker, username="cam", password="r1ght-0ne", version=version) as house:
            assert house.bridge.connected


async def test_wrong_credentials_are_not_tried_again_and_again(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "mosquitto", users={"cam": "r1ght-0ne"}) as broker:
        patient = replace(QUICK, refused_backoff_s=(60.0,))
        async with bridged(tmp_path, broker, limits=patient, connect=False, username="cam", password="wrong") as house:
            await until(lambda: house.bridge.state.state == "auth_failed")
            await asyncio.sleep(0.5)
            assert broker.log.count("not authorised") == 1


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_second_instance_of_one_name_is_named_and_there_is_no_ping_pong(
    tmp_path: Path, broker: Mosquitto, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    patient = replace(QUICK, refused_backoff_s=(60.0,))
    how: dict[str, Any] = {"limits": patient, "version": version, "connect": False}
    one, two = tmp_path / "1", tmp_path / "2"
    one.mkdir()
    two.mkdir()
    async with bridged(one, broker, **how) as first, bridged(two, broker, **how) as second:
        bridges = [first.bridge, second.bridge]
        await until(lambda: {bridge.state.state for bridge in bridges} == {"id_taken", "online"})
        loser, winner = sorted(bridges, key=lambda bridge: bridge.connected)
        assert "mqtt.instance" in loser.state.reason and "mqtt.instance" in caplog.text
        before = (loser.reconnects, winner.reconnects)
        await asyncio.sleep(0.5)  # in this time they would have thrown each other out several times
        assert winner.connected and (loser.reconnects, winner.reconnects) == before
        async with Party(broker, f"{ROOT}/status") as late:
            assert (await late.hear(f"{ROOT}/status")).payload == b"online"


async def test_an_acl_that_shuts_us_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    acl = "user cam\ntopic read longwatch/#\n"
    with Mosquitto(tmp_path / "mosquitto", users={"cam": "r1ght-0ne"}, acl=acl) as broker:
        async with bridged(tmp_path, broker, username="cam", password="r1ght-0ne"):
            await until(lambda: "refuses what we publish" in caplog.text)


async def test_tls_with_a_ca_of_ones_own(tmp_path: Path) -> None:
    ca, key, certificate = make_certificates(tmp_path / "tls")
    options = [f"cafile {ca}", f"certfile {certificate}", f"keyfile {key}"]
    broker = Mosquitto(tmp_path / "mosquitto", after_listener=options)
    with broker:
        url = f"mqtts://localhost:{broker.port}"
        async with bridged(tmp_path, url, ca_file=ca) as house:
            assert house.bridge.link is not None and isinstance(house.bridge.link.socket, ssl.SSLSocket)
            assert house.bridge.link.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        async with bridged(tmp_path, url, connect=False) as house:  # without our CA nobody vouches for it
            await until(lambda: house.bridge.state.state == "offline")
            assert "certificate verify failed" in house.bridge.state.reason
        async with bridged(tmp_path, url, connect=False, ca_file=tmp_path / "none.pem") as house:
            await until(lambda: "none.pem cannot be read" in house.bridge.state.reason)


def make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """A CA of our own and a certificate for localhost: paths of CA, key and certificate."""
    folder.mkdir()
    now = datetime.now(UTC)

    def certificate(
        name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey
    ) -> bytes:
        builder = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=1),
            not_valid_after=now + timedelta(days=1),
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca, key_file, own = folder / "ca.pem", folder / "key.pem", folder / "own.pem"
    ca.write_bytes(certificate("Test CA", ca_key, "Test CA", ca_key))
    own.write_bytes(certificate("localhost", key, "Test CA", ca_key))
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(*pem))
    return ca, key_file, own


async def test_unreadable_urls_are_refused_at_once(tmp_path: Path) -> None:
    async with fake_station(tmp_path) as (station, _):
        config = MqttConfig.model_construct(**{**MqttConfig(url="mqtt://x").__dict__, "url": "http://x"})
        with pytest.raises(ValueError, match=r"mqtt\.url"):
            MqttBridge(station, config)


# A process of its own, to be killed and frozen.

SERVICE = """
import asyncio, sys
from pathlib import Path
from tests.servers.mosquitto import Mosquitto
from tests.stream.mqtt.parties import bridged

async def main(folder, url):
    async with bridged(Path(folder), url, keepalive_s=5):
        print("online", flush=True)
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


def start_service(folder: Path, broker: Mosquitto) -> subprocess.Popen[str]:
    folder.mkdir()
    service = own_python(SERVICE, str(folder), broker.url)
    assert service.stdout is not None and service.stdout.readline() == "online\n"
    return service


async def test_the_will_says_offline_when_the_process_is_killed(tmp_path: Path, broker: Mosquitto) -> None:
    service = await asyncio.to_thread(start_service, tmp_path / "service", broker)
    async with Party(broker, f"{ROOT}/status") as listener:
        assert (await listener.hear(f"{ROOT}/status")).payload == b"online"
        service.kill()
        assert (await listener.hear(f"{ROOT}/status")).payload == b"offline"
    service.wait()


async def test_a_process_that_was_frozen_does_not_answer_what_was_asked_meanwhile(
    tmp_path: Path, broker: Mosquitto
) -> None:
    service = await asyncio.to_thread(start_service, tmp_path / "service", broker)
    try:
        async with Party(broker, f"{ROOT}/status", f"{ROOT}/front/answer") as asker:
            assert (await asker.hear(f"{ROOT}/status")).payload == b"online"
            frozen_s = time.monotonic()
            service.send_signal(signal.SIGSTOP)
            await asker.say(f"{ROOT}/front/ask", {"id": "meanwhile", "question": "q"})
            assert (await asker.hear(f"{ROOT}/status")).payload == b"offline"  # the will
            assert time.monotonic() - frozen_s > 5  # nobody shut the door: the broker missed the keepalive
            service.send_signal(signal.SIGCONT)
            assert (await asker.hear(f"{ROOT}/status")).payload == b"online"
            await asker.say(f"{ROOT}/front/ask", {"id": "now", "question": "q"})
            await asker.hear_json(f"{ROOT}/front/answer", id="now")
            # The question was in the socket, or went down with it: refused or not heard, but not answered now.
            said = [json.loads(word) for word in asker.words_on(f"{ROOT}/front/answer")]
            assert [one["error"]["code"] for one in said if one["id"] == "meanwhile"] in ([], ["expired"])
        async with Party(broker, f"{ROOT}/status") as late:
            assert (await late.hear(f"{ROOT}/status")).payload == b"online"
    finally:
        service.kill()
        service.wait()
