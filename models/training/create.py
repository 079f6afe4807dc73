"""A new small checkpoint in LLaVA-OneVision's own format, with a tokenizer made from the teacher's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from models.checkpoint import Card, Checkpoint
from models.cross_dynamics import CrossDynamics
from models.vision.picture import Picture

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>", "<|then|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} "
    "{% if message['content'] is string %}\n{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] in ('video', 'image') %}<{{ part['type'] }}>"
    "{% endif %}{% endfor %}{% for part in message['content'] %}{% if part['type'] == 'text' %}"
    "\n{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a small model; the defaults are the bundled one's."""

    side: int = 144  # pixels
    patch: int = 12  # pixels; 12 x 12 patches, pooled to 6 x 6 tokens
    vision_layers: int = 4
    vision_dim: int = 160
    vision_heads: int = 4
    layers: int = 5
    dim: int = 256
    heads: int = 4
    kv_heads: int = 2
    hidden: int = 768
    vocabulary: int = 1024


def new_checkpoint(shape: Shape, corpus: Sequence[str], seed: int, name: str = "longwatch-small") -> Checkpoint:
    """Random weights from `seed`."""
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        Qwen2Config,
        SiglipVisionConfig,
    )

    tokenizer = make_tokenizer(corpus, shape.vocabulary)
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    ids = {text: vocabulary[text] for text in SPECIALS}
    vision = SiglipVisionConfig(
        hidden_size=shape.vision_dim,
        intermediate_size=shape.vision_dim * 4,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        image_size=shape.side,
        patch_size=shape.patch,
        vision_use_head=False,
    )
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.dim,
        intermediate_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=ids["<|im_start|>"],
        eos_token_id=ids["<|im_end|>"],
        pad_token_id=ids["<|endoftext|>"],
    )
    config = LlavaOnevisionConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=ids["<image>"],
        video_token_index=ids["<video>"],
        image_grid_pinpoints=[[shape.side, shape.side]],
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = LlavaOnevisionForConditionalGeneration(config)
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    return Checkpoint(
        model=model,
        tokenizer=tokenizer,
        picture=Picture(side=shape.side),
        card=Card(name=name),
        cross_dynamics=CrossDynamics(shape.dim),
        model_id=name,
        folder=Path(),
    )


def make_tokenizer(corpus: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE: any text can be read, the teacher's words are one token each."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    clock = [f"{h:02d}:{m:02d}:{m:02d}" for h in range(24) for m in range(60)]
    tokenizer.train_from_iterator([*corpus, *clock], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",  # noqa: S106  # a token of text, no secret
        pad_token="<|endoftext|>",  # noqa: S106
        additional_special_tokens=[s for s in SPECIALS if s not in ("<|im_end|>", "<|endoftext|>")],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = TEMPLATE
    return fast
