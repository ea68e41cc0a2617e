"""ViT as Hugging Face stores it."""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError, clean, did_you_mean
from zoo.weights import (
    Dialect,
    ForeignConfig,
    Table,
    ignore,
    key,
    read_labels,
    rename,
    reshape,
    respell,
    rule,
    under,
    write_keys,
    write_labels,
    write_tokens,
)
from zoo.weights.hf_layout import HEADS_IN_MEMORY

from .config import ViTConfig

HEADS = {"ViTModel": "none", "ViTForImageClassification": "image_classification"}
ACTIVATIONS = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "quick_gelu": "quick_gelu",
    "relu": "relu", "silu": "silu", "swish": "silu",
}  # fmt: skip
KEYS = (
    key("hidden_size", default=768),
    key("intermediate_size", default=3072),
    key("num_layers", "num_hidden_layers", default=12),
    key("num_heads", "num_attention_heads", default=12),
    key("image_size", default=224),
    key("patch_size", default=16),
    key("num_channels", default=3),
    key("norm_eps", "layer_norm_eps", default=1e-12),
    key("qkv_bias", default=True),
)


def from_config(hf: ForeignConfig) -> ViTConfig:
    named = hf.get("architectures", ["ViTModel"])
    if not isinstance(named, list) or len(named) != 1 or named[0] not in [*HEADS]:
        why = did_you_mean(str(named), HEADS)
        raise CheckpointError(hf.file, "architectures", f"{clean(repr(named))} is not supported", why=why)
    head, values = HEADS[named[0]], hf.read(ViTConfig, KEYS)
    hf.require(pooler_act="tanh", pooler_output_size=values["hidden_size"])
    hf.ignore("hidden_dropout_prob", "attention_probs_dropout_prob", "encoder_stride", "classifier_dropout_prob")
    values["activation"] = hf.one_of("hidden_act", ACTIVATIONS, "gelu")
    if head == "none":
        # No key of theirs says it: whether there is a pooler is an argument of their class, and seen in the files.
        is_there = not hf.tensors or any("pooler." in name for name in hf.tensors)
        values |= hf.read(ViTConfig, [key("has_pooler", "add_pooling_layer", default=is_there)])
    else:
        values |= read_labels(hf, ViTConfig)
    return ViTConfig(**values, **hf.tokens(), head=head)


def to_config(c: ViTConfig) -> dict[str, Any]:
    out = {
        "architectures": [name for name, head in HEADS.items() if head == c.head],
        "model_type": "vit",
        "hidden_act": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == c.activation),
        **write_keys(c, KEYS),
        **write_tokens(c),
    }
    no_pooler = {"add_pooling_layer": False} if c.num_labels is None and not c.has_pooler else {}
    return {**out, **no_pooler, **write_labels(c.num_labels, c.labels)}


IN_MEMORY = (  # as transformers 5 has them in memory -> as files have them
    (r"(^|\.)layers\.(\d+)\.", r"\1encoder.layer.\2."),
    *HEADS_IN_MEMORY,
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)


def mapping(c: ViTConfig) -> Table:
    base, dim = "" if c.head == "none" else "vit", c.hidden_size
    token, positions = (1, 1, dim), (c.num_patches + 1, dim)
    layer = under(
        "layers.{i}", "encoder.layer.{i}",
        rename("attn_norm", "layernorm_before"),
        rename("attn.q_proj", "attention.attention.query"),
        rename("attn.k_proj", "attention.attention.key"),
        rename("attn.v_proj", "attention.attention.value"),
        rename("attn.o_proj", "attention.output.dense"),
        rename("mlp_norm", "layernorm_after"),
        rename("mlp.up_proj", "intermediate.dense"),
        rename("mlp.down_proj", "output.dense"),
    )  # fmt: skip
    return Table(
        under(
            "", base,
            rule("embed.class_token", "embeddings.cls_token", reshape((dim,), token)),
            rule("embed.positions.weight", "embeddings.position_embeddings", reshape(positions, (1, *positions))),
            rename("embed.patches", "embeddings.patch_embeddings.projection"),
            *layer,
            rename("norm", "layernorm"),
            rename("pooler", "pooler.dense") if c.has_pooler else ignore("pooler", "a pooler that is not used"),
        ),
        rename("classifier", "classifier"),
        spelling=respell(*(() if base else ((r"^vit\.", ""),)), *IN_MEMORY),
    )  # fmt: skip


VIT = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
