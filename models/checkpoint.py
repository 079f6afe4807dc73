"""Opening a checkpoint: a LLaVA-OneVision model from a local folder or a hub id, ours and others by one road.

Our own checkpoints are ordinary LLaVA-OneVision folders with three files more: `longwatch.json` (the card: memory
settings it was trained with, measured accuracy), `longwatch.safetensors` (cross-dynamics attention) and
`depth.safetensors` (what its training pictures look like from inside). A foreign checkpoint has none of them; its
cross-dynamics attention is then the identity, it works training-free, and it never says that it is out of its depth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from models.cross_dynamics import CrossDynamics
from models.depth import Depth, DepthError, load_depth
from models.vision.picture import Picture, read_picture

if TYPE_CHECKING:
    from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerBase

BUNDLED = Path(__file__).parent / "bundled"
CARD_FILE = "longwatch.json"
DYNAMICS_FILE = "longwatch.safetensors"
_LARGEST_JSON_BYTES = 16 << 20
_ATTENTION = {"auto": "sdpa", "sdpa": "sdpa", "flash_attention_2": "flash_attention_2"}


class CheckpointError(ValueError):
    """A checkpoint that cannot be used, in a sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a checkpoint says about itself; empty for foreign ones."""

    name: str = ""
    memory: Mapping[str, Any] = field(default_factory=dict)  # recommended memory settings, by config name
    training: Mapping[str, Any] = field(default_factory=dict)  # seeds, hours, data
    accuracy: Mapping[str, Any] = field(default_factory=dict)  # measured, per question kind, beside its floors


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Everything that was loaded for one backbone."""

    model: LlavaOnevisionForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    picture: Picture
    card: Card
    cross_dynamics: CrossDynamics
    model_id: str
    folder: Path
    depth: Depth | None = None  # None: it does not know what it was trained on

    @property
    def dim(self) -> int:
        """Width D of the language model."""
        text: Any = self.model.config.text_config
        return int(text.hidden_size)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of token cells per frame: the tower's patch grid pooled 2 x 2."""
        vision: Any = self.model.config.vision_config
        side = -(-(vision.image_size // vision.patch_size) // 2)
        return side, side

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device


def open_checkpoint(
    path_or_id: str | Path,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    attention: str = "auto",
) -> Checkpoint:
    """Load `bundled`, a folder or a hub id; raises `CheckpointError` with a sentence when that is not possible."""
    folder = _find(path_or_id)
    config = _read_json(folder / "config.json")
    if config.get("model_type") != "llava_onevision":
        raise CheckpointError(
            f"The checkpoint {path_or_id} is of type {config.get('model_type')!r}; Longwatch reads 'llava_onevision' "
            "checkpoints, for example llava-hf/llava-onevision-qwen2-0.5b-ov-hf or 'bundled'."
        )
    model: Any = _load_model(folder, path_or_id, dtype, attention)
    model = model.to(device).eval()
    picture = read_picture(folder, int(model.config.vision_config.image_size))
    dim = int(model.config.text_config.hidden_size)
    return Checkpoint(
        model=model,
        tokenizer=_load_tokenizer(folder, path_or_id),
        picture=picture,
        card=_read_card(folder),
        cross_dynamics=_load_dynamics(folder, dim).to(device).eval(),
        model_id=_read_card(folder).name or str(path_or_id),
        folder=folder,
        depth=_load_depth(folder, model),
    )


def save_checkpoint(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write a checkpoint as a LLaVA-OneVision folder plus our files; weights stored as `dtype` to stay small."""
    folder.mkdir(parents=True, exist_ok=True)
    model: Any = deepcopy(checkpoint.model)  # one in use, or in training, keeps all of its digits
    model.to(dtype).save_pretrained(folder)
    checkpoint.tokenizer.save_pretrained(folder)
    picture = checkpoint.picture
    processor = {
        "image_processor": {
            "do_resize": True,
            "size": {"height": picture.side, "width": picture.side},
            "resample": picture.resample,
            "do_rescale": True,
            "rescale_factor": picture.rescale,
            "do_normalize": True,
            "image_mean": list(picture.mean),
            "image_std": list(picture.std),
        }
    }
    (folder / "processor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    save_file(
        {k: v.to(dtype).contiguous() for k, v in checkpoint.cross_dynamics.state_dict().items()}, folder / DYNAMICS_FILE
    )
    if checkpoint.depth is not None:
        checkpoint.depth.save(folder)
    card = checkpoint.card
    words = {"name": card.name, "memory": card.memory, "training": card.training, "accuracy": card.accuracy}
    (folder / CARD_FILE).write_text(json.dumps(words, indent=2) + "\n")


def _find(path_or_id: str | Path) -> Path:
    """The folder of a checkpoint; a hub id is fetched by huggingface_hub into its own cache."""
    if str(path_or_id) == "bundled":
        return BUNDLED
    folder = Path(path_or_id).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(
            f"{path_or_id} is a file; a checkpoint is a folder with config.json and model.safetensors."
        )
    if str(path_or_id).count("/") != 1 or str(path_or_id).startswith((".", "/", "~")):
        raise CheckpointError(
            f"There is no folder {path_or_id}; give a checkpoint's folder, a hub id 'owner/name', or 'bundled'."
        )
    return _fetch(str(path_or_id))


def _fetch(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.json", "*.safetensors", "*.jinja", "*.txt"]  # never pickles
        return Path(snapshot_download(hub_id, allow_patterns=patterns))
    except Exception as error:  # huggingface_hub raises a dozen unrelated kinds
        raise CheckpointError(
            f"The checkpoint {hub_id} could not be fetched ({type(error).__name__}). Check name and network, or "
            "download it elsewhere and give its folder."
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path.parent} is not a checkpoint: it has no {path.name}.")
    if path.stat().st_size > _LARGEST_JSON_BYTES:
        raise CheckpointError(f"{path} is larger than 16 MiB; that is no configuration.")
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} should hold a JSON object.")
    return found


def _read_card(folder: Path) -> Card:
    if not (folder / CARD_FILE).is_file():
        return Card()
    words = _read_json(folder / CARD_FILE)
    return Card(**{key: words[key] for key in ("name", "memory", "training", "accuracy") if key in words})


def _load_model(
    folder: Path, asked: str | Path, dtype: torch.dtype, attention: str
) -> LlavaOnevisionForConditionalGeneration:
    from transformers import LlavaOnevisionForConditionalGeneration
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # long work shows our own
    if not any(folder.glob("model*.safetensors")):
        raise CheckpointError(
            f"{asked} has no .safetensors weights; pickled weights are not read, since they can run code."
        )
    vision_attention = _ATTENTION[attention]
    if vision_attention == "flash_attention_2":
        from transformers.utils.import_utils import is_flash_attn_2_available

        if not (torch.cuda.is_available() and is_flash_attn_2_available()):
            raise CheckpointError(
                "attention: flash_attention_2 needs a CUDA device and the flash-attn package; install it with "
                "pip install --no-build-isolation 'longwatch[flash]' or set attention: auto."
            )
    try:
        loaded: Any = LlavaOnevisionForConditionalGeneration.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation={"text_config": "sdpa", "vision_config": vision_attention},
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # transformers, safetensors and huggingface_hub raise a dozen unrelated kinds
        raise CheckpointError(f"The checkpoint {asked} could not be loaded: {_first_line(error)}") from error
    model, told = loaded
    missing = sorted(set(told["missing_keys"]) - {"lm_head.weight"})  # tied to the embedding, so not stored
    if missing:  # transformers fills them with noise and goes on
        names = ", ".join(missing[:3])
        raise CheckpointError(
            f"The checkpoint {asked} lacks {len(missing)} of its weights ({names} …); download it again."
        )
    return model  # type: ignore[no-any-return]


def _load_tokenizer(folder: Path, asked: str | Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise CheckpointError(f"The tokenizer of {asked} could not be loaded: {_first_line(error)}") from error


def _load_dynamics(folder: Path, dim: int) -> CrossDynamics:
    """The trained cross-dynamics attention, or the identity where the checkpoint brings none."""
    module = CrossDynamics(dim)
    path = folder / DYNAMICS_FILE
    if path.is_file():
        try:
            module.load_state_dict({key: value.float() for key, value in load_file(path).items()})
        except (RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"{path} does not fit this checkpoint: {_first_line(error)}") from error
    return module


def _load_depth(folder: Path, model: Any) -> Depth | None:
    try:
        return load_depth(folder, model)
    except DepthError as error:
        raise CheckpointError(str(error)) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
