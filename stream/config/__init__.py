"""One YAML file to one checked `Config`: all errors at once, each with its line and what to do about it."""

from stream.config.memory import MemoryConfig
from stream.config.reading import ConfigError, Problem, json_schema, load, parse
from stream.config.schema import (
    CameraConfig,
    Config,
    GateConfig,
    JournalConfig,
    LogConfig,
    MailboxConfig,
    ModelConfig,
    MqttConfig,
    QuestionsConfig,
    ServerConfig,
    check_camera_id,
)

__all__ = [
    "CameraConfig",
    "Config",
    "ConfigError",
    "GateConfig",
    "JournalConfig",
    "LogConfig",
    "MailboxConfig",
    "MemoryConfig",
    "ModelConfig",
    "MqttConfig",
    "Problem",
    "QuestionsConfig",
    "ServerConfig",
    "check_camera_id",
    "json_schema",
    "load",
    "parse",
]
