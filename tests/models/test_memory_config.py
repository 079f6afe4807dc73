"""The published configuration and the memory that obeys it say the same."""

from dataclasses import fields

from models.memory import MemoryConfig
from stream.config.memory import MemoryConfig as Published


def test_defaults_agree() -> None:
    ours = MemoryConfig().with_recommended({})
    for name in {field.name for field in fields(MemoryConfig)} & set(Published.model_fields):
        published = Published.model_fields[name].default
        if name != "budget" and published is not None:  # None: as the checkpoint recommends
            assert published == getattr(ours, name), f"memory.{name}: {published!r} is published, {ours!r} is used"
