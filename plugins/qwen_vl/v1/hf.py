"""Qwen-VL and Qwen-VL-Chat as their remote code stores them: model_type qwen, with a group `visual`."""

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
    group,
    ignore,
    key,
    rename,
    rule,
    split,
    under,
    write_keys,
    write_tokens,
)

from .config import QwenVLConfig, VisualConfig
from .visual_hf import QKV, VISION_KEYS, visual_rules

KEYS = (
    key("vocab_size"),
    key("hidden_size"),
    key("num_layers", "num_hidden_layers"),
    key("num_heads", "num_attention_heads"),
    key("head_dim", "kv_channels"),
    key("max_seq_len", "max_position_embeddings"),
    key("trained_seq_len", "seq_length"),
    key("norm_eps", "layer_norm_epsilon"),
    key("has_dynamic_ntk", "use_dynamic_ntk"),
    key("has_logn", "use_logn_attn"),
    key("tie_embeddings", "tie_word_embeddings", default=False),
)
INERT = "attn_dropout_prob emb_dropout_prob bf16 fp16 fp32 onnx_safe use_flash_attn softmax_in_fp32 tokenizer_type"


def matches(raw: Mapping[str, Any]) -> Match | None:
    """Qwen goes by the same model_type, without eyes."""
    is_mine = raw.get("model_type") == "qwen" and "visual" in raw
    return Match(1.0, ("model_type is 'qwen', with visual",)) if is_mine else None


def from_config(hf: ForeignConfig) -> QwenVLConfig:
    hf.of_class("QWenLMHeadModel", code=("qwen",))
    hf.require(scale_attn_weights=True, use_cache_quantization=False)
    hf.ignore(*INERT.split())
    values, visual = hf.read(QwenVLConfig, KEYS), group(hf, "visual")
    visual.require(output_dim=values["hidden_size"])
    width = hf.as_type(int, hf["intermediate_size"], "intermediate_size")
    if width % 2:
        raise CheckpointError(hf.file, "intermediate_size", f"{width} is not twice the width of the MLP")
    theta, partial = hf.get("rotary_emb_base", 10_000.0), hf.get("rotary_pct", 1.0)
    return QwenVLConfig(
        **values,
        **hf.tokens(),
        intermediate_size=width // 2,
        num_kv_heads=values["num_heads"],
        linear_bias=not hf.as_type(bool, hf.get("no_bias", True), "no_bias"),
        rope=hf.as_type(RopeConfig, {"theta": theta, "partial": partial}, "rotary_emb_base"),
        vision=VisualConfig(**visual.read(VisualConfig, VISION_KEYS)),
    )


def to_config(c: QwenVLConfig) -> dict[str, Any]:
    tokens = write_tokens(c)
    return {
        "architectures": ["QWenLMHeadModel"],
        "auto_map": {
            "AutoConfig": "configuration_qwen.QWenConfig", "AutoModelForCausalLM": "modeling_qwen.QWenLMHeadModel",
        },
        "model_type": "qwen",
        "torch_dtype": tokens.pop("dtype"),
        **write_keys(c, KEYS),
        **tokens,
        "intermediate_size": 2 * c.intermediate_size,
        "rotary_emb_base": c.rope.theta,
        "rotary_pct": c.rope.partial,
        "no_bias": not c.linear_bias,
        "scale_attn_weights": True,
        "visual": {**write_keys(c.vision, VISION_KEYS), "output_dim": c.hidden_size},
    }  # fmt: skip


def mapping(c: QwenVLConfig) -> Table:
    size = c.hidden_size
    return Table(
        rename("embed", "transformer.wte"),
        under(
            "layers.{i}", "transformer.h.{i}",
            rename("attn_norm", "ln_1"),
            rule(tuple(f"attn.{n}" for n in QKV), "attn.c_attn", split(size, size, size)),
            rename("attn.o_proj", "attn.c_proj"),
            rename("mlp_norm", "ln_2"),
            rename("mlp.gate_proj", "mlp.w2"),
            rename("mlp.up_proj", "mlp.w1"),
            rename("mlp.down_proj", "mlp.c_proj"),
            ignore("attn.masked_bias", "a constant of the mask"),
            ignore("attn.logn_tensor", "the factors follow from model.trained_seq_len"),
        ),
        under("visual", "transformer.visual", *visual_rules(c.vision, size)),
        rename("norm", "transformer.ln_f"),
        alias("lm_head.weight", of="transformer.wte.weight") if c.tie_embeddings else rename("lm_head", "lm_head"),
        ignore("transformer.rotary_emb.inv_freq", "rotary frequencies follow from model.rope"),
    )  # fmt: skip


QWEN_VL = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=matches)
