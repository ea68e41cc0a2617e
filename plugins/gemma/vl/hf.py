"""Gemma 3 with its tower as Hugging Face stores it; the tensors go by the names of the released files.

Released config.json's leave out what are defaults of transformers' classes. transformers 5 writes the tower's tensors
without `vision_model.`, and keeps all of them under other names in memory; all are read.
"""

from __future__ import annotations

from typing import Any

from zoo.anatomy import TowerConfig
from zoo.errors import CheckpointError
from zoo.weights import (
    Dialect,
    Entry,
    ForeignConfig,
    Table,
    alias,
    group,
    key,
    rename,
    respell,
    rule,
    tokens_of,
    transpose,
    under,
    write_keys,
    write_tokens,
)
from zoo.weights.hf_layout import TOWER_LAYER, decoder_table

from ..hf import SANDWICH, read_text, write_text
from .config import Gemma3VLConfig

KEYS = (
    key("tokens_per_image", "mm_tokens_per_image", default=256),
    key("image_token_id", "image_token_index", also=("image_token_id",), default=262144),
    key("image_start_id", "boi_token_index", also=("boi_token_id",), default=255999),
    key("image_end_id", "eoi_token_index", also=("eoi_token_id",), default=256000),
)
TEXT_DEFAULTS = {
    "vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216, "num_layers": 26, "num_heads": 8,
    "num_kv_heads": 4, "query_pre_attn_scalar": 256.0,
}  # fmt: skip
VISION_KEYS = (
    key("hidden_size", default=768),
    key("intermediate_size", default=3072),
    key("num_layers", "num_hidden_layers", default=12),
    key("num_heads", "num_attention_heads", default=12),
    key("image_size", default=224),
    key("patch_size", default=16),
    key("num_channels", default=3),
    key("norm_eps", "layer_norm_eps", default=1e-6),
)
ACTIVATIONS = {
    "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh", "gelu": "gelu", "quick_gelu": "quick_gelu",
    "relu": "relu", "silu": "silu",
}  # fmt: skip
SPELLING = respell(
    (r"^model\.language_model\.", "language_model.model."),  # as transformers 5 keeps them in memory
    (r"^model\.(vision_tower|multi_modal_projector)\.", r"\1."),
    (r"^lm_head\.", "language_model.lm_head."),
    (r"^vision_tower\.(?!vision_model\.)", "vision_tower.vision_model."),  # as transformers 5 writes them
)


def from_config(hf: ForeignConfig) -> Gemma3VLConfig:
    hf.of_class("Gemma3ForConditionalGeneration")
    text, vision = group(hf, "text_config"), group(hf, "vision_config")
    text.require(model_type="gemma3_text", final_logit_softcapping=None)  # transformers would not cap these logits
    vision.require(model_type="siglip_vision_model", vision_use_head=False)
    vision.ignore("attention_dropout")
    act = vision.one_of("hidden_act", ACTIVATIONS, "gelu_pytorch_tanh")
    values = read_text(text, 3, **TEXT_DEFAULTS)
    if (tied := hf.get("tie_word_embeddings", values["tie_embeddings"])) != values["tie_embeddings"]:
        raise CheckpointError(hf.file, "tie_word_embeddings", f"{tied!r}, but text_config says otherwise")
    tower = TowerConfig(**vision.read(TowerConfig, VISION_KEYS), activation=act)
    return Gemma3VLConfig(**values, **tokens_of(hf, text), **hf.read(Gemma3VLConfig, KEYS), vision=tower)


def to_config(c: Gemma3VLConfig) -> dict[str, Any]:
    tokens, v = write_tokens(c), c.vision
    act = next(theirs for theirs, ours in ACTIVATIONS.items() if ours == v.activation)
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "tie_word_embeddings": c.tie_embeddings,
        **write_keys(c, KEYS),
        **tokens,
        "text_config": {**write_text(c), **tokens},
        "vision_config": {
            "model_type": "siglip_vision_model", "vision_use_head": False, "hidden_act": act,
            **write_keys(v, VISION_KEYS),
        },
    }  # fmt: skip


def mapping(c: Gemma3VLConfig) -> Table:
    prefix = "language_model.model"
    head, embedding = "language_model.lm_head", f"{prefix}.embed_tokens.weight"
    heads: Entry = alias(f"{head}.weight", of=embedding) if c.tie_embeddings else rename("lm_head", head)
    return decoder_table(c, *SANDWICH, more=(heads, *_tower()), prefix=prefix, spelling=SPELLING)


def _tower() -> list[Entry]:
    projector = "multi_modal_projector"
    tower = (
        rename("embed.patches", "embeddings.patch_embedding"),
        rename("embed.positions", "embeddings.position_embedding"),
        *under("layers.{i}", "encoder.layers.{i}", *TOWER_LAYER),
        rename("norm", "post_layernorm"),
    )
    return [
        *under("visual.tower", "vision_tower.vision_model", *tower),
        rename("visual.norm", f"{projector}.mm_soft_emb_norm"),
        rule("visual.proj.weight", f"{projector}.mm_input_projection_weight", transpose),
    ]


GEMMA3_VL = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
