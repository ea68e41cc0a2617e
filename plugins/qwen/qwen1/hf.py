"""The first Qwen as its remote code on Hugging Face stores it: c_attn fused, w2 the gate, intermediate_size doubled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.anatomy import RopeConfig
from zoo.errors import CheckpointError
from zoo.weights import (
    Dialect,
    ForeignConfig,
    Match,
    Table,
    alias,
    ignore,
    key,
    must_be,
    rename,
    rule,
    split,
    under,
    write_keys,
    write_tokens,
)

from .config import Qwen1Config

KEYS = (  # `also`: as the files of August 2023 have it
    key("vocab_size", also=("padded_vocab_size",)),
    key("hidden_size", also=("n_embd",)),
    key("num_layers", "num_hidden_layers", also=("n_layer",)),
    key("num_heads", "num_attention_heads", also=("n_head",)),
    key("head_dim", "kv_channels"),
    key("max_seq_len", "max_position_embeddings", also=("n_positions",)),
    key("trained_seq_len", "seq_length"),
    key("norm_eps", "layer_norm_epsilon"),
    key("has_dynamic_ntk", "use_dynamic_ntk"),
    key("has_logn", "use_logn_attn"),
    key("tie_embeddings", "tie_word_embeddings", default=False),
)
WITHOUT_EFFECT = (
    "attn_dropout_prob emb_dropout_prob attn_pdrop embd_pdrop resid_pdrop bf16 fp16 fp32 params_dtype onnx_safe "
    "use_flash_attn use_cache_kernel softmax_in_fp32 bias_dropout_fusion tokenizer_type"
).split()


def matches(raw: Mapping[str, Any]) -> Match | None:
    """Qwen-VL and Qwen-Audio go by the same model_type, with one key more."""
    is_mine = raw.get("model_type") == "qwen" and not raw.keys() & {"visual", "audio"}
    return Match(1.0, ("model_type is 'qwen', without visual or audio",)) if is_mine else None


def from_config(hf: ForeignConfig) -> Qwen1Config:
    hf.of_class("QWenLMHeadModel", code=("qwen",))
    theta = float(hf.as_type(float, hf.get("rotary_emb_base", 10_000.0), "rotary_emb_base"))
    hf.require(
        rope_theta=theta, scale_attn_weights=True, use_cache_quantization=False, pos_emb="rotary", activation="swiglu",
        apply_residual_connection_post_layernorm=False,
    )  # fmt: skip
    hf.ignore(*WITHOUT_EFFECT)
    values = hf.read(Qwen1Config, KEYS)
    hf.require(padded_vocab_size=values["vocab_size"])
    width = hf.as_type(int | None, hf.get("intermediate_size", also=("ffn_hidden_size",)), "intermediate_size")
    if width is None or width % 2:
        raise CheckpointError(hf.file, "intermediate_size", f"{width} is not twice the width of the MLP")
    return Qwen1Config(
        **values,
        **hf.tokens(),
        intermediate_size=width // 2,
        num_kv_heads=values["num_heads"],
        linear_bias=not hf.as_type(bool, hf.get("no_bias", True), "no_bias"),
        rope=RopeConfig(theta=theta, partial=hf.as_type(float, hf.get("rotary_pct", 1.0), "rotary_pct")),
    )


def to_config(c: Qwen1Config) -> dict[str, Any]:
    must_be(c, "a Qwen config.json", rope=RopeConfig(theta=c.rope.theta, partial=c.rope.partial))
    return {
        "architectures": ["QWenLMHeadModel"],
        "auto_map": {
            "AutoConfig": "configuration_qwen.QWenConfig", "AutoModelForCausalLM": "modeling_qwen.QWenLMHeadModel",
        },
        "model_type": "qwen",
        **write_keys(c, KEYS),
        **{name: value for name, value in write_tokens(c).items() if name != "dtype"},
        "torch_dtype": c.dtype,
        "intermediate_size": 2 * c.intermediate_size,
        "rotary_emb_base": c.rope.theta,
        "rotary_pct": c.rope.partial,
        "no_bias": not c.linear_bias,
        "scale_attn_weights": True,
        "attn_dropout_prob": 0.0,
        "emb_dropout_prob": 0.0,
    }  # fmt: skip


def mapping(c: Qwen1Config) -> Table:
    size = c.num_heads * c.head_dim
    return Table(
        rename("embed", "transformer.wte"),
        under(
            "layers.{i}", "transformer.h.{i}",
            rename("attn_norm", "ln_1"),
            rule(("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attn.c_attn", split(size, size, size)),
            rename("attn.o_proj", "attn.c_proj"),
            rename("mlp_norm", "ln_2"),
            rename("mlp.gate_proj", "mlp.w2"),
            rename("mlp.up_proj", "mlp.w1"),
            rename("mlp.down_proj", "mlp.c_proj"),
            ignore("attn.masked_bias", "a constant of the mask"),
            ignore("attn.logn_tensor", "the factors follow from model.trained_seq_len"),
        ),
        rename("norm", "transformer.ln_f"),
        alias("lm_head.weight", of="transformer.wte.weight") if c.tie_embeddings else rename("lm_head", "lm_head"),
        ignore("transformer.rotary_emb.inv_freq", "rotary frequencies follow from model.rope"),
    )  # fmt: skip


QWEN = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=matches)
