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


def test_a_card_recommends_its_lengths_and_a_setting_goes_first() -> None:
    card = {"length": "adaptive", "fused_min": 3, "fused_max": 12, "distortion_target": 0.08, "recall_blocks": 16}
    card["present_blocks"] = 1
    taken = MemoryConfig().with_recommended(card)
    assert {name: getattr(taken, name) for name in card} == card
    seen = taken.perception()
    assert (seen.length, seen.fused_min, seen.fused_max, seen.distortion_target) == ("adaptive", 3, 12, 0.08)
    assert MemoryConfig(fused_max=20).with_recommended(card).fused_max == 20
    usual = MemoryConfig().with_recommended({})
    assert (usual.length, usual.fused_min, usual.fused_max, usual.recall_blocks) == ("fixed", 4, 64, 8)
    assert usual.present_blocks is None, "a checkpoint that says nothing reads all that is at hand"
