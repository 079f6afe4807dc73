"""The vision tower in ONNX Runtime: exported once per checkpoint, cached, the same tokens within 1e-4 of their size.

CUDA or TensorRT providers are used where onnxruntime-gpu brings them, the CPU provider elsewhere. The export is keyed
by the weights, so another checkpoint never meets a stale file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from models.checkpoint import CheckpointError
from models.vision.cells import as_tokens
from models.vision.torch_tower import see, see_inside
from stream.flow import Frame, Tokens

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.checkpoint import Checkpoint

RELATIVE_TOLERANCE = 1e-4  # of the largest token entry, fp32; a test holds it
_PREFERRED = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")


class OnnxVision:
    """`VisionEncoder` over an exported tower, projector and pooling."""

    def __init__(self, checkpoint: Checkpoint, cache: Path | None = None) -> None:
        """Exports on first use (seconds). Raises CheckpointError with a sentence when onnxruntime is not installed."""
        runtime = _runtime()
        path = export(checkpoint, cache)
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        available = set(runtime.get_available_providers())
        providers = [
            name
            for name in _PREFERRED
            if name in available and (name != _PREFERRED[0] or os.environ.get("LONGWATCH_TENSORRT"))
        ]
        self._session = runtime.InferenceSession(str(path), options, providers=providers)
        self._picture = checkpoint.picture
        self._grid = checkpoint.grid
        self._depth = checkpoint.depth
        self._like = torch.zeros((), dtype=checkpoint.model.dtype, device=checkpoint.model.device)

    @property
    def provider(self) -> str:
        """What the tower runs on."""
        return str(self._session.get_providers()[0])

    def encode(self, frames: Sequence[Frame]) -> list[Tokens]:
        """P tokens per frame, as `TorchVision` gives them."""
        if not frames:
            return []
        pixels = torch.stack([self._picture.tensor(frame.rgb) for frame in frames]).numpy()
        found, *inside = self._session.run(None, {"pixels": np.ascontiguousarray(pixels)})
        embeds = torch.from_numpy(found).to(self._like)
        judged = [None] * len(frames) if self._depth is None else self._depth.scores(torch.from_numpy(inside[0]))
        rows = zip(embeds, frames, judged, strict=True)
        return [as_tokens(row, frame, self._grid, score) for row, frame, score in rows]


def export(checkpoint: Checkpoint, cache: Path | None = None) -> Path:
    """The ONNX file of a checkpoint's tower; made when it is not there yet. (B, 3, S, S) to (B, P, D), fp32.

    Where the checkpoint judges pictures, (B, F) features for that come second.
    """
    cache = cache or _cache()
    path = cache / f"tower-{_key(checkpoint)}.onnx"
    if path.is_file():
        return path
    try:
        import onnxscript  # noqa: F401  # the exporter needs it and says so only deep inside
    except ImportError as error:
        raise CheckpointError(
            "Exporting a vision tower needs onnx and onnxscript; install them with pip install 'longwatch[onnx]'."
        ) from error
    cache.mkdir(parents=True, exist_ok=True)
    model: Any = checkpoint.model
    device, dtype = model.device, model.dtype
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        judged = checkpoint.depth is not None
        tower = _Tower(model.float().cpu(), judged).eval()
        side = checkpoint.picture.side
        batch = torch.export.Dim("batch", min=1, max=64)
        program = torch.onnx.export(
            tower,
            (torch.zeros(2, 3, side, side),),
            input_names=["pixels"],
            output_names=["tokens", "features"] if judged else ["tokens"],
            dynamo=True,
            dynamic_shapes={"pixels": {0: batch}},
            verbose=False,
        )
        assert program is not None
        program.save(str(partial), external_data=False)
        partial.replace(path)  # a killed export leaves no half file under the real name
    finally:
        partial.unlink(missing_ok=True)
        model.to(device, dtype)
    return path


class _Tower(torch.nn.Module):
    """Tower, projector and pooling as one module, without the newline row that transformers appends."""

    def __init__(self, model: nn.Module, judged: bool) -> None:
        super().__init__()
        self.model = model
        self.judged = judged

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(B, 3, S, S) to (B, P, D), with (B, F) features where pictures are judged."""
        return see_inside(self.model, pixels) if self.judged else see(self.model, pixels)


def _key(checkpoint: Checkpoint) -> str:
    """Names the weights that the export depends on."""
    judged = "" if checkpoint.depth is None else " judged"
    digest = sha256(f"{torch.__version__} {checkpoint.picture.side}{judged}".encode())
    inner = checkpoint.model.model
    for name, tensor in [*inner.vision_tower.named_parameters(), *inner.multi_modal_projector.named_parameters()]:
        digest.update(name.encode())
        digest.update(tensor.detach().float().flatten()[:64].cpu().numpy().tobytes())
        digest.update(str(float(tensor.detach().double().sum())).encode())
    return digest.hexdigest()[:16]


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "longwatch"


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise CheckpointError(
            "model.vision: onnxruntime needs the onnxruntime package; install it with pip install 'longwatch[onnx]' "
            "(or 'longwatch[gpu]' on a CUDA machine), or set model.vision: torch."
        ) from error
    return onnxruntime
