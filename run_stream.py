"""Longwatch: reads a configuration, builds the parts, starts them. The only file that knows all rooms."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

HOUSE = Path(__file__).resolve().parent
if str(HOUSE) not in sys.path:  # `python run_stream.py` has done this already; the installed command has not
    sys.path.insert(0, str(HOUSE))

from stream.cli import small  # noqa: E402  (the path comes first)
from stream.cli.console import Console, Trouble  # noqa: E402

if TYPE_CHECKING:
    from argparse import Namespace

    from models.backbone import Backbone
    from models.checkpoint import Checkpoint
    from models.memory import Memory
    from models.training.lessons import Teacher
    from stream.agent import AgentOptions
    from stream.config import CameraConfig, Config, MemoryConfig, ModelConfig
    from stream.ports import Answerer, Gate, StreamMemory, VisionEncoder
    from stream.station import Station

ALBUM_SHARE = 16  # one in so many bytes of a camera's budget is for the small pictures that show evidence
ALBUM_AT_MOST = 32 << 20  # bytes


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """What is loaded once and shared by all cameras."""

    checkpoint: Checkpoint
    backbone: Backbone
    encoder: VisionEncoder


def load(config: Config) -> Models:
    """Checkpoint and encoder; seconds to minutes. Raises `ValueError` or `OSError` with a sentence."""
    from transformers.utils import logging

    from models.backbone import Backbone
    from models.checkpoint import open_checkpoint
    from models.place import place, use_threads

    cast("Any", logging).disable_progress_bar()  # the console says what is being done
    device, dtype = place(config.model.device, config.model.dtype)
    checkpoint = open_checkpoint(config.model.path_or_id, device, dtype, config.model.attention)
    use_threads(checkpoint.model)
    return Models(checkpoint, Backbone(checkpoint), see_with(config.model, checkpoint, config.memory.reducer))


def see_with(model: ModelConfig, checkpoint: Checkpoint, reducer: str) -> VisionEncoder:
    """The vision tower in torch, whole or merging, or in ONNX Runtime. Raises `ValueError` where it cannot merge."""
    if model.vision == "onnxruntime":
        from models.vision.onnx_tower import OnnxVision

        return OnnxVision(checkpoint)
    from models.reducers.registry import SALIENT
    from models.vision.torch_tower import TorchVision

    return TorchVision(checkpoint, model.tower_merge, model.tower_merge_tokens, salient=reducer in SALIENT)


def memory_of(memory: MemoryConfig, models: Models, wall_s: float) -> Memory:
    """One camera's memory. What the file leaves out is as the checkpoint recommends. Raises `ValueError`."""
    from models import memory as remember
    from models.kv.budget import TooSmall, refusal
    from models.perception import Perception
    from stream.flow import MediaEpoch

    checkpoint = models.checkpoint
    chosen = {name: getattr(memory, name) for name in memory.model_fields_set}
    chosen["budget"] = memory.budget - album_bytes(memory)
    settings = remember.MemoryConfig(**chosen).with_recommended(checkpoint.card.memory)
    perception = settings.perception()
    try:
        return remember.Memory(
            models.backbone,
            checkpoint.cross_dynamics,
            lambda: Perception(perception, checkpoint.dim, checkpoint.grid),
            settings,
            MediaEpoch(wall_s),
        )
    except TooSmall as small:  # in the numbers of the file, where the small pictures are counted too
        least = min(-(-small.least * ALBUM_SHARE // (ALBUM_SHARE - 1)), small.least + ALBUM_AT_MOST)
        raise ValueError(refusal(small.config, memory.budget, least)) from None


def album_bytes(memory: MemoryConfig) -> int:
    """The part of a camera's budget that small pictures have."""
    return min(ALBUM_AT_MOST, memory.budget // ALBUM_SHARE)


def gate_of(camera: CameraConfig) -> Gate:
    """Which frames are worth a look."""
    from stream.gate import ChangeGate, KeepAll

    if camera.gate.kind == "all":
        return KeepAll()
    chosen = {} if camera.gate.threshold is None else {"threshold": camera.gate.threshold}
    return ChangeGate(refresh_s=camera.gate.refresh_s, **chosen)


def options_of(name: str, camera: CameraConfig, config: Config) -> AgentOptions:
    """The loop's settings for one camera."""
    from stream.agent import AgentOptions

    return AgentOptions(
        fps=camera.fps,
        mailbox_capacity=camera.mailbox.capacity,
        # A recording read as fast as it is consumed can wait for us; the world cannot.
        overflow="wait" if camera.pace == "fast" else "drop_oldest",
        snapshot=config.state_dir / f"{name}.memory" if config.state_dir else None,
        snapshot_every_s=config.state_every_s,
    )


def build(config: Config, models: Models | None = None) -> Station:
    """A station from a configuration: one device, one backbone, one agent per camera, one desk, one journal.

    Call it on the event loop. Raises `ValueError` with a sentence for what cannot be.
    """
    from models.answerer import TextAnswerer
    from stream.agent import Agent
    from stream.album import Album
    from stream.clock import Clock
    from stream.desk import Desk
    from stream.device import Device
    from stream.hub import EventHub
    from stream.journal import Journal
    from stream.meters import Meters
    from stream.sight import Sight
    from stream.sources.opening import open_all
    from stream.station import Station

    models = models or load(config)
    answerer = TextAnswerer(models.backbone, config.model.out_of_depth)
    clock, device, meters = Clock(), Device(), Meters(answerer.model_id)
    events, sources = EventHub(first_id=int(clock.wall_s() * 1000)), open_all(config.cameras, clock)
    sight = Sight(device, models.encoder)
    cameras = {
        name: Agent(
            name,
            sources[name],
            gate=gate_of(camera),
            sight=sight,
            # A memory reads only views of its own; the sockets cannot say so.
            memory=cast("StreamMemory", memory_of(config.memory, models, clock.wall_s())),
            answerer=cast("Answerer", answerer),
            device=device,
            events=events,
            meters=meters,
            clock=clock,
            album=Album(album_bytes(config.memory)),
            options=options_of(name, camera, config),
        )
        for name, camera in config.cameras.items()
    }
    journal = Journal(config.journal.path, keep_days=config.journal.keep_days, max_rows=config.journal.max_rows)
    limits, model_id = config.questions, answerer.model_id
    desk = Desk(cameras, journal, events, meters, clock=clock, limits=limits, model_id=model_id)
    return Station(cameras, desk, journal, events, meters, device, model_id, clock)


class House:
    """How tensors are loaded and parts put together; handed to the commands, which know neither."""

    def __init__(self) -> None:
        self._models: Models | None = None

    def load(self, config: Config) -> None:
        """The slow part; may run in a thread."""
        self._models = load(config)

    def build(self, config: Config) -> Station:
        """The parts put together, on the event loop."""
        return build(config, self._models)

    def budget_lines(self, config: Config) -> list[str]:
        """What a camera's budget buys, for people."""
        pictures = album_bytes(config.memory) >> 20
        plan = memory_of(config.memory, self._models or load(config), 0.0).plan
        return [plan.sentence(), f"{pictures} MiB more per camera for the small pictures that show evidence"]


def demo(args: Namespace, console: Console) -> int:
    """A simulated camera through a real door, and a first question."""
    from stream.cli.demo import SCENE, demo
    from stream.config import load as read

    config = read(args.config or HOUSE / "configs" / "demo.yaml")
    return asyncio.run(demo(House(), config, console, args.scene or SCENE, once=args.once))


def serve(args: Namespace, console: Console) -> int:
    """The service."""
    from stream.cli.serve import serve
    from stream.config import load as read

    return asyncio.run(serve(House(), read(args.config), console))


def bench(args: Namespace, console: Console) -> int:
    """One of the measurements in bench/."""
    import importlib

    if args.name not in benches():
        raise Trouble(f"there is no measurement {args.name!r}; there is: {', '.join(benches())}", 2)
    return int(importlib.import_module(f"bench.{args.name}").main(args.rest, console.say) or 0)


def benches() -> list[str]:
    """Names of the measurements."""
    found = (HOUSE / "bench").glob("[a-z]*")
    return sorted(path.stem for path in found if path.suffix == ".py" or (path / "__init__.py").is_file())


def train(args: Namespace, console: Console) -> int:
    """The recipe of the bundled model, with the simulator as its teacher; what its truth is made of stays its own."""
    from models.training.main import main as recipe
    from stream.cli.spread import spread
    from stream.sources.simulated.teacher import SimulatedTeacher

    return int(recipe(args.rest, cast("Teacher", SimulatedTeacher()), console.say, spread))


def export(args: Namespace, console: Console) -> int:
    """A vision tower for ONNX Runtime, written by default where `model.vision: onnxruntime` looks for it."""
    from models.checkpoint import open_checkpoint
    from models.vision.onnx_tower import export

    try:
        with console.working(f"Exporting the vision tower of {args.checkpoint}"):
            path = export(open_checkpoint(args.checkpoint), Path(args.to) if args.to else None)
    except (ValueError, OSError) as error:
        raise Trouble(str(error)) from error
    console.say(f"{path}  {path.stat().st_size / 2**20:.1f} MiB")
    return 0


COMMANDS: dict[str, Callable[[Namespace, Console], int]] = {
    "demo": demo,
    "serve": serve,
    "ask": small.ask,
    "probe": small.probe,
    "check-config": small.check_config,
    "bench": bench,
    "train": train,
    "export": export,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit status. What a user can put right is one sentence on stderr, status 1 or 2."""
    from stream.cli.parse import parse
    from stream.meters import house_version

    args = parse(argv, house_version(), benches())
    console = Console(quiet=getattr(args, "quiet", False))
    try:
        return COMMANDS[args.command](args, console)
    except Trouble as trouble:
        console.fail(str(trouble))
        return trouble.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `longwatch … | head`
        sys.stderr.close()
        return 1
    except Exception as error:
        from stream.config import ConfigError

        if not isinstance(error, ConfigError):
            raise
        console.fail(str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main())
