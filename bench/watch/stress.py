"""What makes seeing hard: one story under night, noise, shake, bad compression, rain, a turning camera, new looks."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from stream.sources.simulated.kinds import ROOFED, Style
from stream.sources.simulated.paint import GOOD, Nuisance
from stream.sources.simulated.world import MOST_PAN, Script


class Setting(NamedTuple):
    """A place and what its camera does to pictures."""

    script: Script
    camera: Nuisance


PLAIN = "fair weather"  # what the others are compared with
VARIANTS = (PLAIN, "night", "noise", "camera shake", "compression", "rain", "turning camera", "unseen style")
UNSEEN_STYLE: Style = "comic"


def under(variant: str, script: Script) -> Setting:
    """A script under one of VARIANTS, everything else being fair. Raises KeyError for others.

    It rains outdoors only: a story under a roof is told in the yard instead.
    """
    fair = replace(script, day=True, day_length_s=None, rain=False, pan=0.0, style="plain")
    settings = {
        PLAIN: Setting(fair, GOOD),
        "night": Setting(replace(fair, day=False), GOOD),
        "noise": Setting(fair, replace(GOOD, noise=6.0)),
        "camera shake": Setting(fair, replace(GOOD, shake_px=6)),
        "compression": Setting(fair, replace(GOOD, jpeg_quality=12)),
        "rain": Setting(replace(fair, rain=True, scene="yard" if fair.scene in ROOFED else fair.scene), GOOD),
        "turning camera": Setting(replace(fair, pan=MOST_PAN), GOOD),
        "unseen style": Setting(replace(fair, style=UNSEEN_STYLE), GOOD),
    }
    return settings[variant]
