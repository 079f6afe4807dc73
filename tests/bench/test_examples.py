"""A scene with its question is drawn, with what the model really said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from bench.examples import FOOT, GAP, SIDE, heated, main
from stream.flow import Sighting


def test_a_scene_is_watched_asked_and_drawn(tmp_path: Path) -> None:
    said: list[str] = []
    assert main(["--scenes", "yard", "--seconds", "24", "--out", str(tmp_path)], said.append) == 0
    with Image.open(tmp_path / "yard.png") as picture:
        assert picture.size == (2 * SIDE[0] + 3 * GAP, SIDE[1] + 2 * GAP + FOOT)
        left, foot = (np.asarray(picture.convert("RGB"))[rows] for rows in (slice(0, SIDE[1]), slice(-FOOT, None)))
    assert left.std() > 20 and foot.max() > 200, "a picture, and words"
    assert len(said) == 1 and "(true: " in said[0]


def test_what_was_looked_at_is_bright() -> None:
    grey = np.full((SIDE[1], SIDE[0], 3), 100, np.uint8)
    found = heated(grey, Sighting((0.0, 8.0), 1.0, ((1.0, 0.0), (0.0, 0.0))))
    assert found[40, 40].mean() > 1.5 * found[-40, -40].mean()
