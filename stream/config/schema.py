"""What can be configured: one class per section, each value checked where it is declared. Units stand in the key (`_s`,
`_ms`) or in the value (`256MiB`). Model dimensions come from the checkpoint; paths start at the working directory.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from stream.config.memory import MemoryConfig
from stream.config.values import Positive, Section, parse_address, read_secret

RESERVED_CAMERA_IDS = frozenset({"status", "ask", "events", "stats"})  # words of the MQTT topics
_TOPIC_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_camera_id(name: str) -> str:
    """Ids are part of topics, URLs and metrics: small letters, digits, `_` and `-`, at most 64 of them."""
    if not re.fullmatch(r"[a-z0-9_-]{1,64}", name):
        raise ValueError("a camera id is 1 to 64 of a-z, 0-9, _ and -")
    if name in RESERVED_CAMERA_IDS:
        raise ValueError(f"{name!r} cannot be a camera id: MQTT topics use this word; choose another")
    return name


class TlsConfig(Section):
    """A certificate of the web server's own: browsers give a camera only to https, or to the machine they run on."""

    cert: Path = Field(description="PEM file with the certificate and those that vouch for it")
    key: Path = Field(description="PEM file with its private key, without a password")

    @model_validator(mode="after")
    def _can_be_used(self) -> TlsConfig:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(self.cert, self.key, password="")
        except OSError as error:  # ssl's own errors are among them
            raise ValueError(f"the certificate {self.cert} with the key {self.key} cannot be used: {error}") from None
        return self


class ServerConfig(Section):
    """The web server: page, API, WHIP."""

    listen: str = Field(default="127.0.0.1:8080", description="host:port; port 0 takes a free one")
    allowed_origins: tuple[str, ...] = Field(
        default=(), max_length=64, description="other sites whose pages may call the API"
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(), max_length=64, description="names beside addresses and localhost that the server answers to"
    )
    frame_ancestors: tuple[str, ...] = Field(
        default=("'self'",), max_length=64, description="sites that may frame the page"
    )
    tls: TlsConfig | None = Field(default=None, description="serve https with this certificate; default: plain http")

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parse_address(value)
        return value

    @property
    def host(self) -> str:
        """Where to listen."""
        return parse_address(self.listen)[0]

    @property
    def port(self) -> int:
        """TCP port; 0: a free one."""
        return parse_address(self.listen)[1]


class MqttConfig(Section):
    """The way to the MQTT broker."""

    url: str = Field(description="mqtt://host:1883 or mqtts://host:8883")
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = Field(default=None, description="a file that holds the password")
    ca_file: Path | None = Field(default=None, description="certificates to trust with mqtts://; default: the system's")
    prefix: str = "longwatch"
    instance: str = "main"
    version: Literal["auto", "5", "3.1.1"] = "auto"
    keepalive_s: int = Field(default=15, ge=5, le=3600)
    discovery: bool = Field(default=True, description="announce the cameras to Home Assistant")
    discovery_prefix: str = "homeassistant"
    partial: bool = Field(default=False, description="publish the words of an answer as they come")
    snapshots: bool = Field(default=False, description="publish each camera's newest picture, retained")
    reply_topics: tuple[str, ...] = Field(
        default=(),
        max_length=64,
        description="topic filters that answers may be sent to; default: all outside our own prefix",
    )
    queue: int = Field(
        default=1000, ge=1, le=100_000, description="messages kept while the broker is away; the oldest go"
    )

    @field_validator("url")
    @classmethod
    def _is_broker(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError("write mqtt://host:1883 or mqtts://host:8883")
        _ = parts.port  # raises ValueError when it is no port
        return value

    @field_validator("prefix", "instance", "discovery_prefix")
    @classmethod
    def _is_topic_word(cls, value: str) -> str:
        if not _TOPIC_WORD.fullmatch(value):
            raise ValueError("write one topic level: letters, digits, _ and -")
        return value

    @model_validator(mode="before")
    @classmethod
    def _gather_credentials(cls, data: object) -> object:
        """User and password may stand in the URL or in a file; afterwards they are in their own fields only."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        url = data.get("url")
        if isinstance(url, str) and "@" in url:
            parts = urlsplit(url)
            data.setdefault("username", unquote(parts.username or "") or None)
            if parts.password:
                if data.get("password") or data.get("password_file"):
                    raise ValueError("the password stands in the url and in a key of its own; keep one")
                data["password"] = unquote(parts.password)
            data["url"] = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        if data.get("password_file") is not None:
            if data.get("password") is not None:
                raise ValueError("give password or password_file, not both")
            data["password"] = read_secret(Path(str(data["password_file"])))
        return data


class ModelConfig(Section):
    """Which model sees and answers. `bundled` is the small one that comes with Longwatch."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, protected_namespaces=())
    path_or_id: str = Field(default="bundled", min_length=1, description="bundled, a local folder, or a hub id")
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attention: Literal["auto", "sdpa", "flash_attention_2"] = "auto"
    vision: Literal["torch", "onnxruntime"] = "torch"
    out_of_depth: Literal["say", "answer"] = Field(default="say", description="where pictures are unlike its training")
    tower_merge: Literal["none", "tome", "tempme"] = Field(
        default="none", description="patches that are alike go through the vision tower as one; docs/methods.md"
    )
    tower_merge_tokens: Annotated[int, Field(ge=0, le=4096)] | None = Field(
        default=None, description="merged per layer; default: half of the patches by the last layer, tempme a third"
    )

    @model_validator(mode="after")
    def _tower_can_merge(self) -> ModelConfig:
        if self.tower_merge != "none" and self.vision == "onnxruntime":
            raise ValueError("tower_merge needs vision: torch; an exported tower is whole")
        return self


class GateConfig(Section):
    """Which frames are worth a look. Without `threshold` the gate uses its own."""

    kind: Literal["change", "all"] = "change"
    threshold: Positive | None = None
    refresh_s: Positive = Field(default=4.0, description="look at least this often, s")


class MailboxConfig(Section):
    """Between camera and encoder; when it is full the oldest frame goes."""

    capacity: Annotated[int, Field(ge=1, le=64)] = 2


class CameraConfig(Section):
    """One camera."""

    source: str = Field(
        min_length=1,
        max_length=4096,
        repr=False,  # may hold a password
        description="rtsp://…, http(s)://…, a file, webcam:0, whip, or sim://yard?seed=7",
    )
    name: str | None = Field(default=None, max_length=200, description="for people")
    transport: Literal["tcp", "udp"] = "tcp"
    fps: Annotated[float, Field(gt=0, le=60)] = Field(default=2.0, description="frames per second offered to the gate")
    connect_s: Positive = Field(default=10.0, description="give up a connection attempt after, s")
    stall_s: Positive = Field(default=10.0, description="no frame for this long: reconnect, s")
    loop: bool = Field(default=False, description="files: start again at the end")
    pace: Literal["own", "fast"] = Field(
        default="own", description="files: as recorded, or as fast as they are consumed"
    )
    gate: GateConfig = GateConfig()
    mailbox: MailboxConfig = MailboxConfig()


class QuestionsConfig(Section):
    """How many questions, how long."""

    max_concurrent: Annotated[int, Field(ge=1, le=64)] = 8
    queue: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=32, description="questions that may wait, all cameras"
    )
    queue_per_camera: Annotated[int, Field(ge=1, le=10_000)] = Field(default=16, description="of these, for one camera")
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    max_age_ms: Annotated[int, Field(ge=1, le=10**9)] = Field(
        default=10_000, description="older pictures are stale, ms"
    )
    max_tokens: Annotated[int, Field(ge=1, le=1024)] = 64


class JournalConfig(Section):
    """Where questions and answers are kept."""

    path: Path = Path("runs/journal.sqlite")
    keep_days: Positive = 30.0
    max_rows: Annotated[int, Field(ge=100, le=100_000_000)] = 100_000


class LogConfig(Section):
    """What is written to the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Config(Section):
    """The whole configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, title="Longwatch configuration")
    server: ServerConfig = ServerConfig()
    mqtt: MqttConfig | None = Field(default=None, description="leave it out to run without a broker")
    model: ModelConfig = ModelConfig()
    memory: MemoryConfig = MemoryConfig()
    cameras: dict[Annotated[str, AfterValidator(check_camera_id)], CameraConfig] = Field(min_length=1, max_length=1000)
    questions: QuestionsConfig = QuestionsConfig()
    journal: JournalConfig = JournalConfig()
    log: LogConfig = LogConfig()
    state_dir: Path | None = Field(
        default=Path("runs/state"), description="what is remembered over a restart; null: nothing"
    )
    state_every_s: Positive = Field(
        default=300.0, description="it is written this often while running too: all that a power cut can cost"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        if self.questions.max_concurrent > self.memory.max_forks:
            raise ValueError(
                f"questions.max_concurrent ({self.questions.max_concurrent}) needs as many forks: raise "
                f"memory.max_forks ({self.memory.max_forks}) or lower it"
            )
        return self
