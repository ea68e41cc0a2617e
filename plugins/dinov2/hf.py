"""DINOv2 as Hugging Face stores it, with registers or without."""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError, clean, did_you_mean
from zoo.weights import (
    Dialect,
    Entry,
    ForeignConfig,
    Table,
    key,
    read_labels,
    rename,
    reshape,
    respell,
    rule,
    split,
    under,
    write_keys,
    write_labels,
    write_tokens,
)
from zoo.weights.hf_layout import HEADS_IN_MEMORY

from .config import Dinov2Config

MODELS = {  # class -> (model_type, head)
    "Dinov2Model": ("dinov2", "none"),
    "Dinov2ForImageClassification": ("dinov2", "image_classification"),
    "Dinov2WithRegistersModel": ("dinov2_with_registers", "none"),
    "Dinov2WithRegistersForImageClassification": ("dinov2_with_registers", "image_classification"),
}
ACTIVATIONS = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "quick_gelu": "quick_gelu",
    "relu": "relu", "silu": "silu", "swish": "silu",
}  # fmt: skip
KEYS = (
    key("hidden_size", default=768),
    key("num_layers", "num_hidden_layers", default=12),
    key("num_heads", "num_attention_heads", default=12),
    key("mlp_ratio", default=4),
    key("is_gated", "use_swiglu_ffn", default=False),
    key("image_size", default=224),
    key("num_channels", default=3),
    key("norm_eps", "layer_norm_eps", default=1e-6),
    key("qkv_bias", default=True),
)
REGISTERED = (key("patch_size", default=16), key("num_registers", "num_register_tokens", default=4))
PLAIN = (key("patch_size", default=14), key("has_mask_token", "use_mask_token", default=True, is_told=False))
BACKBONE = (  # which states a detector takes of it, and its dropout and initial values
    "apply_layernorm", "reshape_hidden_states", "out_features", "out_indices", "stage_names", "drop_path_rate",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "layerscale_value",
)  # fmt: skip


def from_config(hf: ForeignConfig) -> Dinov2Config:
    kind = str(hf.get("model_type", "dinov2"))
    named = hf.get("architectures") or [next((name for name, (its, _) in MODELS.items() if its == kind), "")]
    if not isinstance(named, list) or len(named) != 1 or named[0] not in [*MODELS] or MODELS[named[0]][0] != kind:
        why = did_you_mean(str(named), MODELS)
        raise CheckpointError(hf.file, "architectures", f"{clean(repr(named))} is not supported", why=why)
    head, has_registers = MODELS[named[0]][1], kind == "dinov2_with_registers"
    values = hf.read(Dinov2Config, (*KEYS, *(REGISTERED if has_registers else PLAIN)))
    hf.ignore(*BACKBONE)
    if has_registers:  # as it is computed, whatever the files say: they say so
        hf.require(interpolate_antialias=True, interpolate_offset=0.0)
    values["activation"] = hf.one_of("hidden_act", ACTIVATIONS, "gelu")
    if head != "none":
        values |= read_labels(hf, Dinov2Config)
    return Dinov2Config(**values, **hf.tokens(), head=head)


def to_config(c: Dinov2Config) -> dict[str, Any]:
    kind = "dinov2" if c.num_registers is None else "dinov2_with_registers"
    return {
        "architectures": [name for name, found in MODELS.items() if found == (kind, c.head)],
        "model_type": kind,
        "hidden_act": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == c.activation),
        **write_keys(c, (*KEYS, *(PLAIN if c.num_registers is None else REGISTERED))),
        **write_tokens(c),
        **write_labels(c.num_labels, c.labels),
    }


def mapping(c: Dinov2Config) -> Table:
    kind = "dinov2" if c.num_registers is None else "dinov2_with_registers"
    base, dim, wide = "" if c.head == "none" else kind, c.hidden_size, c.intermediate_size
    token, positions = (1, 1, dim), (c.num_patches + 1, dim)
    rules: list[Entry] = [
        rule("embed.class_token", "embeddings.cls_token", reshape((dim,), token)),
        rule("embed.mask_token", "embeddings.mask_token", reshape((dim,), (1, dim))),
        rule("embed.positions.weight", "embeddings.position_embeddings", reshape(positions, (1, *positions))),
        rename("embed.patches", "embeddings.patch_embeddings.projection"),
    ]
    if (count := c.num_registers) is not None:
        rules.append(rule("embed.registers", "embeddings.register_tokens", reshape((count, dim), (1, count, dim))))
    wide_mlp = rule(("mlp.gate_proj", "mlp.up_proj"), "mlp.weights_in", split(wide, wide))
    layer: list[Entry] = [
        rename("attn_norm", "norm1"),
        rename("attn.q_proj", "attention.attention.query"),
        rename("attn.k_proj", "attention.attention.key"),
        rename("attn.v_proj", "attention.attention.value"),
        rename("attn.o_proj", "attention.output.dense"),
        rename("attn_scale", "layer_scale1.lambda1"),
        rename("mlp_norm", "norm2"),
        rename("mlp_scale", "layer_scale2.lambda1"),
        wide_mlp if c.is_gated else rename("mlp.up_proj", "mlp.fc1"),
        rename("mlp.down_proj", "mlp.weights_out" if c.is_gated else "mlp.fc2"),
    ]
    return Table(
        under("", base, *rules, *under("layers.{i}", "encoder.layer.{i}", *layer), rename("norm", "layernorm")),
        rename("classifier", "classifier"),
        spelling=respell(*(() if base else ((rf"^{kind}\.", ""),)), *HEADS_IN_MEMORY),
    )


DINOV2 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
