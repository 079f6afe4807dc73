"""The server in our own process: where it listens, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fastapi import FastAPI

from stream.config.schema import TlsConfig
from stream.http.server import bind, serve, serving, url_of
from tests.patience import PATIENCE_S
from tests.stream.http.conftest import House, sse, until


def hello() -> FastAPI:
    app = FastAPI()
    app.state.closing = asyncio.Event()

    @app.get("/")
    async def root() -> str:
        return "hello"

    return app


async def test_port_0_takes_a_free_one_and_says_which():
    async with serving(hello(), "127.0.0.1:0") as one, serving(hello(), "127.0.0.1:0") as two:
        assert one != two and not one.endswith(":0")
        async with httpx.AsyncClient() as http:
            assert (await http.get(one)).json() == (await http.get(two)).json() == "hello"


async def test_serve_tells_its_address_and_ends_when_cancelled():
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(hello(), "127.0.0.1:0", told.set_result))
    url = await told
    async with httpx.AsyncClient() as http:
        assert (await http.get(url)).status_code == 200
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(httpx.ConnectError):
            await http.get(url)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return cert, private


async def test_with_a_certificate_it_speaks_https_only(tmp_path: Path):
    """A phone gives its camera to no page that came over http."""
    cert, key = certificate(tmp_path)
    async with serving(hello(), "127.0.0.1:0", tls=TlsConfig(cert=cert, key=key)) as url:
        assert url.startswith("https://")
        async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(cert))) as http:
            assert (await http.get(url)).json() == "hello"
            with pytest.raises(httpx.HTTPError):
                await http.get(url.replace("https", "http"))


def test_a_certificate_that_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path):
    cert, key = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, stranger = certificate(tmp_path / "other")
    for pair in ((cert, stranger), (cert, tmp_path / "nowhere.pem"), (key, cert)):
        with pytest.raises(ValueError, match="cannot be used"):
            TlsConfig(cert=pair[0], key=pair[1])
    assert TlsConfig(cert=cert, key=key).key == key


async def test_an_address_that_is_taken_or_none_is_told_in_a_sentence():
    async with serving(hello(), "127.0.0.1:0") as url:
        with pytest.raises(OSError, match=r"Cannot listen on 127\.0\.0\.1:.* Choose another server\.listen\."):
            bind(url.removeprefix("http://"))
    with pytest.raises(OSError, match="Cannot listen"):
        bind("203.0.113.77:0")
    with pytest.raises(ValueError, match="host:port"):
        bind("nonsense")


def test_every_interface_is_shown_as_this_machine():
    bound = bind("127.0.0.1:0")
    assert url_of(bound) == f"http://127.0.0.1:{bound.getsockname()[1]}"
    bound.close()


async def test_signals_are_left_alone():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with serving(hello(), "127.0.0.1:0"):
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


async def test_open_streams_end_at_once_when_the_server_ends(house: House):
    app = house.app
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        async with serving(app, "127.0.0.1:0", grace_s=PATIENCE_S) as url:  # noqa: SIM117 - the server ends after its streams
            async with (
                http.stream("GET", f"{url}/api/v1/events/stream") as events,
                http.stream("GET", f"{url}/api/v1/cameras/front/live.mjpg") as live,
            ):
                lines, chunks = events.aiter_lines(), live.aiter_bytes()
                assert await anext(lines)
                assert await anext(chunks)
                app.state.closing.set()
                began = time.monotonic()
                async for _ in lines:
                    pass
                async for _ in chunks:  # both bodies come to a clean end, or this raises
                    pass
        assert time.monotonic() - began < PATIENCE_S - 1  # and nobody waited for the grace
    app.state.closing.clear()


async def test_a_question_in_flight_gets_its_answer_while_the_server_ends(house: House):
    house.parts.answerer.gate = threading.Event()
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        async with serving(house.app, "127.0.0.1:0", grace_s=PATIENCE_S) as url:
            asking = asyncio.create_task(http.post(f"{url}/api/v1/cameras/front/ask", json={"question": "What?"}))
            await until(lambda: house.station.desk.running_questions)
            asyncio.get_running_loop().call_later(0.3, house.parts.answerer.gate.set)
        assert sse((await asking).text)[-1]["event"] == "answer"
    house.app.state.closing.clear()
