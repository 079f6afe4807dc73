"""A real Mosquitto for tests: its own folder, a free loopback port, and ways to hurt it.

    with Mosquitto(folder, users={"cam": "secret"}) as broker:
        ...                      # broker.port, broker.url
        broker.kill(); broker.start()

`set_tcp_nodelay` is on, as the documentation asks of users; without it a QoS 1 round trip takes 44 ms.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.patience import PATIENCE_S


def find(name: str) -> str:
    """Path of a Mosquitto program; Debian keeps the broker outside an ordinary user's PATH."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        raise RuntimeError(f"The MQTT tests need {name}. Run tests/parts.sh once, or install mosquitto yourself.")
    return path


def free_port() -> int:
    """A TCP port of 127.0.0.1 nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """One broker process. The port stays the same over restarts; retained messages too when it is stopped gently."""

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        acl: str | None = None,
        options: Sequence[str] = (),
        after_listener: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        self.folder, self.port = folder, port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            "\n".join([*self._lines(users, acl, options), *after_listener]) + "\n", encoding="utf-8"
        )

    def _lines(self, users: Mapping[str, str] | None, acl: str | None, options: Sequence[str]) -> list[str]:
        lines = ["set_tcp_nodelay true", "persistence true", f"persistence_location {self.folder}/"]
        lines += [f"log_dest file {self.folder}/mosquitto.log", "log_type all", *options]
        if os.geteuid() == 0:
            lines.append("user root")  # else it becomes `mosquitto` and cannot read this private folder
        lines.append(f"listener {self.port} 127.0.0.1")
        lines.append(f"allow_anonymous {'false' if users else 'true'}")
        if users:
            lines.append(f"password_file {self._passwords(users)}")
        if acl is not None:
            (self.folder / "acl").write_text(acl, encoding="utf-8")
            lines.append(f"acl_file {self.folder}/acl")
        return lines

    def _passwords(self, users: Mapping[str, str]) -> Path:
        path = self.folder / "passwords"
        path.touch(mode=0o600)
        for name, password in users.items():
            subprocess.run([find("mosquitto_passwd"), "-b", str(path), name, password], check=True, capture_output=True)
        return path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it said so far."""
        path = self.folder / "mosquitto.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Run it, and return when it accepts connections. Raises `RuntimeError` with its log when it does not."""
        self._process = subprocess.Popen(
            [find("mosquitto"), "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"Mosquitto did not start:\n{self.log}")

    def stop(self) -> None:
        """End it gently: it writes what it holds to disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would; retained messages of the last minutes are gone."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop gently and start again on the same port."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop it in its tracks: connections stay open, nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("This broker is not running.")
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a frozen one takes SIGTERM only once it runs again
        try:
            process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=PATIENCE_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
