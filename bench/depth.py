"""Does a checkpoint know what it was trained on? Scores of simulated cameras and of real clips, by the deployed path.

    python run_stream.py bench depth [--fit] [--checkpoint bundled] [--cameras 200] [--clips tests/clips] [--json FILE]

A score of 1 is passed by one in a thousand training-like pictures; a camera whose last eight pictures have a median
above `models.depth.LIMIT` is told that the model is out of its depth. Simulated cameras are of seeds that were never
trained on, in each style, by day and night, dry and wet, still and turning; real clips must be above the limit,
simulated cameras below. `--fit` first fits `depth.safetensors` anew: needed after every change of the tower.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import av
import numpy as np

from models.checkpoint import BUNDLED, Checkpoint, open_checkpoint
from models.depth import DEPTH_FILE, LIMIT
from models.kv.ledger import Progress
from models.place import use_threads
from models.training.depth import fit_depth
from models.training.lessons import Teacher
from models.vision.torch_tower import TorchVision
from stream.flow import Frame
from stream.sources.simulated.kinds import STYLES
from stream.sources.simulated.paint import draw_nuisance, paint
from stream.sources.simulated.teacher import TEST_SEEDS, SimulatedTeacher, draw_script

FRAMES = 16  # of each simulated camera, two a second
MOST_FRAMES = 120  # of each clip, two a second


@dataclass(frozen=True, slots=True)
class Scores:
    """One camera: the score of each picture, and after each what was said of the camera."""

    pictures: tuple[float, ...]
    cameras: tuple[float, ...]  # median of the last eight


def main(argv: Sequence[str], say: Callable[[str], None]) -> int:
    """Fit if asked to, measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(prog="run_stream.py bench depth")
    parser.add_argument("--fit", action="store_true", help="fit depth.safetensors anew and write it to the checkpoint")
    parser.add_argument("--pictures", type=int, default=9000, help="for --fit")
    parser.add_argument("--checkpoint", default="bundled")
    parser.add_argument("--cameras", type=int, default=200, help="simulated ones per style")
    parser.add_argument("--clips", type=Path, default=Path(__file__).parent.parent / "tests" / "clips")
    parser.add_argument("--json", type=Path, default=Path("runs/bench-depth.json"))
    found = parser.parse_args(argv)
    if found.fit:
        _fit(found.checkpoint, found.pictures, say)
    checkpoint = open_checkpoint(found.checkpoint)
    use_threads(checkpoint.model)
    if checkpoint.depth is None:
        say(f"{found.checkpoint} has no {DEPTH_FILE}: it does not judge. Give --fit to fit one.")
        return 1
    groups = simulated(checkpoint, found.cameras)
    groups |= {path.name: [scores(checkpoint, clip(path))] for path in sorted(found.clips.glob("*.mp4"))}
    table = {name: row(group) for name, group in groups.items()}
    for line in render(table):
        say(line)
    found.json.parent.mkdir(parents=True, exist_ok=True)
    found.json.write_text(json.dumps({"model": checkpoint.model_id, "limit": LIMIT, "table": table}, indent=2) + "\n")
    return 0


def _fit(name: str, pictures: int, say: Callable[[str], None]) -> None:
    folder = BUNDLED if name == "bundled" else Path(name)
    (folder / DEPTH_FILE).unlink(missing_ok=True)  # one of another tower would not be opened
    teacher = cast("Teacher", SimulatedTeacher())
    fit_depth(open_checkpoint(folder), teacher, pictures=pictures, say=say).save(folder)


def simulated(checkpoint: Checkpoint, cameras: int) -> dict[str, list[Scores]]:
    """Cameras of unseen seeds by style, and those again by scene and by what the weather and the camera do."""
    found: defaultdict[str, list[Scores]] = defaultdict(list)
    for style in STYLES:
        for number in range(cameras):
            rng = np.random.default_rng(TEST_SEEDS[number])
            script = replace(draw_script(rng), style=style)
            start, nuisance = float(rng.uniform(0, 240)), draw_nuisance(rng)
            times = [start + index / 2 for index in range(FRAMES)]
            one = scores(checkpoint, (paint(script, t, nuisance=nuisance) for t in times))
            kinds = [script.scene, "night" if script.nightness(start) > 0.5 else "day"]
            kinds += ["rain"] * script.rain + ["turning"] * (script.pan > 0)
            found[f"simulated, {style}"].append(one)
            for kind in kinds:
                found[f"simulated, {style}: {kind}"].append(one)
    return dict(sorted(found.items()))


def scores(checkpoint: Checkpoint, pictures: Iterator[np.ndarray]) -> Scores:
    """One camera, picture by picture."""
    vision, progress = TorchVision(checkpoint), Progress()
    each, medians = [], []
    for index, picture in enumerate(pictures):
        depth = vision.encode([Frame(index, index / 2, 0.0, picture)])[0].depth
        progress.judge(depth)
        each.append(cast("float", depth))
        medians.append(cast("float", progress.depth))
    return Scores(tuple(each), tuple(medians))


def clip(path: Path) -> Iterator[np.ndarray]:
    """A clip's pictures, two a second, (H, W, 3) uint8."""
    with av.open(str(path)) as file:
        due, count = 0.0, 0
        for frame in file.decode(video=0):
            if frame.time >= due and count < MOST_FRAMES:
                due, count = frame.time + 0.5, count + 1
                yield frame.to_ndarray(format="rgb24")


def row(group: Sequence[Scores]) -> dict[str, float]:
    """Figures over all pictures of a group of cameras."""
    pictures = np.concatenate([one.pictures for one in group])
    medians = np.concatenate([one.cameras for one in group])
    return {
        "cameras": len(group),
        "pictures": len(pictures),
        "lowest": float(pictures.min()),
        "median": float(np.median(pictures)),
        "highest": float(pictures.max()),
        "first": float(np.median([one.pictures[0] for one in group])),
        "above_1_per_mille": 1000 * float((pictures > 1).mean()),
        "out_of_depth_per_mille": 1000 * float((medians > LIMIT).mean()),  # of moments: what would have been said
        "out_of_depth_cameras": sum(max(one.cameras) > LIMIT for one in group),
    }


def render(table: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The table as lines of Markdown."""
    lines = [
        f"| pictures | n | lowest | median | highest | > 1, per 1000 | > {LIMIT}, per 1000 | cameras out of depth |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in table.items():
        figures = " | ".join(f"{found[key]:.2f}" for key in ("lowest", "median", "highest"))
        shares = f"{found['above_1_per_mille']:.1f} | {found['out_of_depth_per_mille']:.1f}"
        cameras = f"{found['out_of_depth_cameras']:.0f} of {found['cameras']:.0f}"
        lines.append(f"| {name} | {found['pictures']:.0f} | {figures} | {shares} | {cameras} |")
    return lines
