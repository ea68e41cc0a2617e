"""GLM-4 and GLM-4-0414 as Hugging Face stores them: gate and up fused, q, k and v apart."""

from __future__ import annotations

from typing import Any

from zoo.weights import (
    Dialect,
    ForeignConfig,
    Rule,
    Table,
    key,
    rename,
    rule,
    split,
    write_keys,
    write_rope,
    write_tokens,
)
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table

from .config import GLMConfig

KEYS = (
    *decoder_keys(num_kv_heads=2, head_dim=128, max_seq_len=131_072, norm_eps=1.5625e-7),
    key("attention_bias", default=True),
)
TYPES = {"glm": "GlmForCausalLM", "glm4": "Glm4ForCausalLM"}


def from_config(hf: ForeignConfig) -> GLMConfig:
    kind = hf.one_of("model_type", {name: name for name in TYPES}, "glm")
    hf.of_class(TYPES[kind])
    hf.expect(hidden_act="silu")
    hf.ignore("attention_dropout")
    values = hf.read(GLMConfig, KEYS)
    return GLMConfig(**values, **hf.tokens(), rope=hf.rope(partial=0.5), is_sandwiched=kind == "glm4")


def to_config(c: GLMConfig) -> dict[str, Any]:
    kind = "glm4" if c.is_sandwiched else "glm"
    return {
        "architectures": [TYPES[kind]],
        "model_type": kind,
        "hidden_act": "silu",
        **write_keys(c, KEYS),
        **write_tokens(c),
        "rope_parameters": write_rope(c.rope, partial=0.5),
    }


def mapping(c: GLMConfig) -> Table:
    layer = LAYER
    if c.is_sandwiched:
        layer = (
            *LAYER, rename("attn_post_norm", "post_self_attn_layernorm"), rename("mlp_post_norm", "post_mlp_layernorm"),
        )  # fmt: skip
    return decoder_table(c, gate_up(c.intermediate_size), *layer)


def gate_up(width: int) -> Rule:
    """An MLP's gate and up in one matrix, gate first."""
    return rule(("mlp.gate_proj.weight", "mlp.up_proj.weight"), "mlp.gate_up_proj.weight", split(width, width))


GLM = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
