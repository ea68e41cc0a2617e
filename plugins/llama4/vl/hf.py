"""Llama 4 with its tower as Hugging Face stores it."""

from __future__ import annotations

from typing import Any

from zoo.anatomy import RopeConfig
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
    reshape,
    rule,
    tokens_of,
    under,
    write_keys,
    write_rope,
    write_tokens,
)
from zoo.weights.hf_layout import decoder_table

from ..hf import layer_of, read_text, write_text
from .config import Llama4VLConfig, TileTowerConfig

KEYS = (
    key("image_token_id", "image_token_index", also=("image_token_id",), default=200092),
    key("image_start_id", "boi_token_index", also=("boi_token_id",), default=200080),
    key("image_end_id", "eoi_token_index", also=("eoi_token_id",), default=200081),
)
VISION_KEYS = (
    key("hidden_size", default=768),
    key("num_layers", "num_hidden_layers", default=34),
    key("num_heads", "num_attention_heads", default=16),
    key("image_size", default=448),
    key("patch_size", default=14),
    key("num_channels", default=3),
    key("output_size", "projector_output_dim", default=4096),
)
RATIO = "pixel_shuffle_ratio"
# What transformers' class takes for absent keys, which must follow from the others.
USUAL = {"intermediate_size": 5632, "projector_input_dim": 4096, "vision_output_dim": 7680}


def from_config(hf: ForeignConfig) -> Llama4VLConfig:
    hf.of_class("Llama4ForConditionalGeneration")
    text = group(hf, "text_config")
    text.require(model_type="llama4_text")
    values = read_text(text)
    if (tied := hf.get("tie_word_embeddings", False)) != values["tie_embeddings"]:
        raise CheckpointError(hf.file, "tie_word_embeddings", f"{tied!r}, but text_config says otherwise")
    tower = read_tower(group(hf, "vision_config"))
    return Llama4VLConfig(**values, **tokens_of(hf, text), **hf.read(Llama4VLConfig, KEYS), vision=tower)


def read_tower(hf: ForeignConfig) -> TileTowerConfig:
    """The tower's keys. Its norms have an epsilon of their own and its MLPs GELU, whatever the file says."""
    hf.require(model_type="llama4_vision_model", norm_eps=1e-5, hidden_act="gelu", multi_modal_projector_bias=False)
    hf.require(vision_feature_layer=-1, vision_feature_select_strategy="default")
    hf.ignore("attention_dropout", "projector_dropout")
    ratio = hf.as_type(float, hf.get(RATIO, 0.5), RATIO)
    merge = round(1 / ratio) if 0 < ratio <= 1 else 0
    if not merge or 1 / merge != ratio:
        raise CheckpointError(hf.file, RATIO, f"{ratio} is not one over a number of patches")
    values = hf.read(TileTowerConfig, VISION_KEYS)
    follows = dict.fromkeys(USUAL, values["output_size"]) | {"intermediate_size": values["hidden_size"] * merge**2}
    for name, usual in USUAL.items():
        if (found := hf.as_type(int, hf.get(name, usual), name)) != follows[name]:
            raise CheckpointError(hf.file, name, f"{found}, but the other keys need {follows[name]}")
    rope = hf.rope(theta=10_000.0)
    if rope.scaling != "none":
        raise CheckpointError(hf.file, "rope_parameters", f"{rope.scaling!r} is not supported: a tile has one size")
    return TileTowerConfig(**values, merge_size=merge, theta=rope.theta)


def to_config(c: Llama4VLConfig) -> dict[str, Any]:
    tokens, v = write_tokens(c), c.vision
    return {
        "architectures": ["Llama4ForConditionalGeneration"],
        "model_type": "llama4",
        "tie_word_embeddings": c.tie_embeddings,
        **write_keys(c, KEYS),
        **tokens,
        "text_config": write_text(c),
        "vision_config": {
            "model_type": "llama4_vision_model",
            "norm_eps": 1e-5,
            "hidden_act": "gelu",
            "multi_modal_projector_bias": False,
            "vision_feature_select_strategy": "default",
            **write_keys(v, VISION_KEYS),
            "intermediate_size": v.intermediate_size,
            "projector_input_dim": v.output_size,
            "vision_output_dim": v.output_size,
            RATIO: 1 / v.merge_size,
            "rope_parameters": write_rope(RopeConfig(v.theta)),
        },
    }


def mapping(c: Llama4VLConfig) -> Table:
    prefix = "language_model.model"
    head, embedding = "language_model.lm_head", f"{prefix}.embed_tokens.weight"
    heads: Entry = alias(f"{head}.weight", of=embedding) if c.tie_embeddings else rename("lm_head", head)
    return decoder_table(c, *layer_of(c), more=(heads, *_tower(c.vision)), prefix=prefix)


def _tower(v: TileTowerConfig) -> list[Entry]:
    patch = (v.hidden_size, v.num_channels, v.patch_size, v.patch_size)
    flat = (v.hidden_size, v.num_channels * v.patch_size**2)
    tower = (
        rule("embed.patches.weight", "patch_embedding.linear.weight", reshape(patch, flat)),
        rename("embed.class_token", "class_embedding"),
        rename("embed.positions.weight", "positional_embedding_vlm"),
        rename("embed_norm", "layernorm_pre"),
        *under(
            "layers.{i}",
            "model.layers.{i}",
            rename("attn_norm", "input_layernorm"),
            rename("attn", "self_attn"),
            rename("mlp_norm", "post_attention_layernorm"),
            rename("mlp.up_proj", "mlp.fc1"),
            rename("mlp.down_proj", "mlp.fc2"),
        ),
        rename("norm", "layernorm_post"),
    )
    return [
        *under("visual.tower", "vision_model", *tower),
        rename("visual.merge_proj", "vision_model.vision_adapter.mlp.fc1"),
        rename("visual.mix_proj", "vision_model.vision_adapter.mlp.fc2"),
        rename("visual.proj", "multi_modal_projector.linear_1"),
    ]


LLAMA4_VL = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
