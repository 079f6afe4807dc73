"""The language model of a checkpoint as memory sees it: rows in, hidden rows out, keys before rotation on the side."""

from __future__ import annotations

from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from models.attention import NAME, Reading, Tail
from models.checkpoint import CheckpointError
from models.prompt import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from models.checkpoint import Checkpoint
    from models.inner.focus import Focus
    from models.kv.render import Rendered

_TABLE_LIMIT = 1 << 16  # positions with a row in the rotation table; the policies for real streams stay far below


class Backbone:
    """One language model, shared by all cameras; holds no state of any of them."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Raises CheckpointError for a language model whose cache cannot be pruned exactly."""
        model: Any = checkpoint.model
        self.language_model: Any = model.model.language_model
        config = self.language_model.config
        _refuse_unsuited(config, self.language_model.rotary_emb)
        self.model_id = checkpoint.model_id
        self.tokenizer = checkpoint.tokenizer
        self.lm_head: Any = model.lm_head
        self.newline: Tensor = model.model.image_newline.detach()  # (D,)
        self.video_token_id = int(model.config.video_token_id)
        self.layers = int(config.num_hidden_layers)
        self.kv_heads = int(config.num_key_value_heads)
        self.heads = int(config.num_attention_heads)
        self.head_dim = int(getattr(config, "head_dim", None) or config.hidden_size // self.heads)
        self.dim = int(config.hidden_size)
        self.trained_positions = int(config.max_position_embeddings)
        self.end_ids = _end_ids(model, self.tokenizer)
        self._table: tuple[Tensor, Tensor] | None = None
        self._whole = model
        self._fingerprint: str | None = None  # once: it looks into every weight

    @property
    def like(self) -> Tensor:
        """An empty tensor of the cache's dtype and device."""
        weight: Tensor = self.language_model.embed_tokens.weight
        return weight.detach().new_empty(0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(layers, kv heads, head dim) of the cache."""
        return self.layers, self.kv_heads, self.head_dim

    @property
    def token_bytes(self) -> int:
        """Bytes of keys plus values of one token."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.like.element_size()

    def layout(self, stamps: bool = True) -> Layout:
        """The prompt layout of this checkpoint."""
        return Layout(self.tokenizer, self.video_token_id, stamps)

    @torch.no_grad()
    def embedding(self, ids: Tensor) -> Tensor:
        """(n,) int64 to (n, D)."""
        table: Tensor = self.language_model.embed_tokens.weight
        found: Tensor = self.language_model.embed_tokens(ids.to(table.device))
        return found

    def tail(self, capacity: int, keep_raw: bool = False) -> Tail:
        """Room for `capacity` rows read privately."""
        return Tail(self.shape, capacity, self.like, keep_raw)

    def rotation(self, positions: Sequence[int] | range) -> tuple[Tensor, Tensor]:
        """Cosine and sine (n, d) float32 from the model's own frequencies.

        Looked up in one table, so that a key's rotation does not depend on which others are rotated along with it.
        """
        device, highest = self.like.device, max(positions, default=0)
        index = torch.tensor(list(positions), dtype=torch.long, device=device)
        if highest >= _TABLE_LIMIT:
            return self._angles(index)
        if self._table is None or highest >= len(self._table[0]):
            size = max(1024, 1 << (highest + 1).bit_length())
            self._table = self._angles(torch.arange(size, device=device))
        cos, sin = self._table
        return cos[index], sin[index]

    @torch.no_grad()
    def read(
        self,
        embeds: Tensor,
        tail: Tail,
        positions: Sequence[int] | range,
        shared: Rendered | None = None,
        *,
        watch: int = 0,
        query_layer: int = -1,
        pointer: tuple[int, int] | None = None,
        focus: Focus | None = None,
    ) -> tuple[Tensor, Reading]:
        """Read n rows (n, D) after everything in `shared` and `tail`; appends them to `tail`. Returns hidden (n, D).

        With a `focus` that lets rows go, only those that went through all layers: the last one always does.
        """
        n = embeds.shape[0]
        if n != len(positions) or tail.length + n > tail.capacity:
            raise ValueError(
                f"{n} rows at {len(positions)} positions do not fit a tail of {tail.capacity - tail.length}."
            )
        reading = Reading(shared, tail, *self.rotation(positions), focus)
        reading.watch, reading.query_layer, reading.pointer = watch, query_layer, pointer
        hidden = self._forward(embeds, reading)
        tail.grow(n, reading.taken)  # only now: a pass that failed half-way leaves the tail as it was
        return hidden, reading

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """(n, D) to (n, vocabulary) float32."""
        out: Tensor = self.lm_head(hidden)
        return out.float()

    def fingerprint(self) -> str:
        """A name for these very weights: a snapshot of another model's keys must not be read."""
        if self._fingerprint is None:
            digest = sha256(repr((self.shape, self.dim, str(self.like.dtype))).encode())
            for (
                name,
                weight,
            ) in self._whole.named_parameters():  # tower and projector too: rows are made of their tokens
                some = weight.detach().flatten()[:: max(1, weight.numel() // 256)]  # exact, where a sum would depend
                digest.update(name.encode() + some.float().cpu().numpy().tobytes())  # on threads and device
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def _forward(self, embeds: Tensor, reading: Reading) -> Tensor:
        if reading.focus is not None:
            return self._forward_by_layers(embeds, reading)
        zeros = torch.zeros(1, embeds.shape[0], dtype=torch.long, device=embeds.device)
        with self._by_reading():
            out = self.language_model(
                inputs_embeds=embeds.to(self.like).unsqueeze(0), position_ids=zeros, use_cache=False, reading=reading
            )
        hidden: Tensor = out.last_hidden_state[0]
        return hidden

    def _forward_by_layers(self, embeds: Tensor, reading: Reading) -> Tensor:
        """The same pass with a look at the rows after each layer, some of which may go no further."""
        model, hidden = self.language_model, embeds.to(self.like)
        with self._by_reading():
            for layer in model.layers:
                rows = hidden.unsqueeze(0)
                zeros = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
                angles = model.rotary_emb(rows, zeros)
                rows = layer(rows, position_embeddings=angles, use_cache=False, reading=reading)
                hidden = reading.passed(rows[0])
        found: Tensor = model.norm(hidden)
        return found

    @contextmanager
    def _by_reading(self) -> Iterator[None]:
        """Attention goes to the reading in hand."""
        config = self.language_model.config
        usual = config._attn_implementation  # noqa: SLF001  transformers has no public getter for it
        config._attn_implementation = NAME  # noqa: SLF001
        try:
            yield
        finally:
            config._attn_implementation = usual  # noqa: SLF001  the same model also trains, by its usual attention

    @torch.no_grad()
    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        wide = torch.empty(0, dtype=torch.float32, device=positions.device)
        cos, sin = self.language_model.rotary_emb(wide, positions.unsqueeze(0))
        return cos[0], sin[0]


def _refuse_unsuited(config: Any, rotary: Any) -> None:
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise CheckpointError(
            f"The language model has layers of type {', '.join(sorted(kinds - {'full_attention'}))}; a memory that is "
            "pruned by tokens needs full attention in every layer. Use a LLaVA-OneVision checkpoint on Qwen2."
        )
    if float(getattr(rotary, "attention_scaling", 1.0)) != 1.0:
        raise CheckpointError(
            "The language model scales attention with its rotary embedding (a yarn-type rope), which cannot be taken "
            "apart exactly. Use a checkpoint with the default rope."
        )


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer: the generation config's and the tokenizer's."""
    found = getattr(model.generation_config, "eos_token_id", None)
    listed = found if isinstance(found, list) else [found]
    return frozenset(int(i) for i in [*listed, tokenizer.eos_token_id] if i is not None)
