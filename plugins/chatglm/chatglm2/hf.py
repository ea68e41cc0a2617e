"""ChatGLM2, ChatGLM3 and GLM-4-9B-chat as their remote code stores them: q, k, v fused, gate and up fused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.weights import (
    Dialect,
    ForeignConfig,
    Match,
    Table,
    alias,
    ignore,
    key,
    rename,
    rule,
    split,
    under,
    write_keys,
    write_tokens,
)

from .config import ChatGLM2Config
from .rope import SHARED_VOCABULARY, read_rope, write_rope

KEYS = (
    key("vocab_size", "padded_vocab_size"),
    key("hidden_size"),
    key("intermediate_size", "ffn_hidden_size"),
    key("num_layers"),
    key("num_heads", "num_attention_heads"),
    key("num_kv_heads", "multi_query_group_num"),
    key("head_dim", "kv_channels", default=128),
    key("max_seq_len", "seq_length", default=2048),
    key("norm_eps", "layernorm_epsilon", default=1e-5),
    key("attention_bias", "add_qkv_bias", default=False),
    key("tie_embeddings", "tie_word_embeddings", default=False),
)
FIXED = {  # the only values released; others would be other models
    "multi_query_attention": True, "rmsnorm": True, "post_layer_norm": True, "add_bias_linear": False,
    "apply_residual_connection_post_layernorm": False, "original_rope": True, "interleaved_qkv": False,
    "rotary_percent": 1.0, "pre_seq_len": None, "prefix_projection": False, "quantization_bit": 0,
}  # fmt: skip
INERT = (  # of training and of kernels: how the reference computes, not what
    "apply_query_key_layer_scaling", "attention_softmax_in_fp32", "bias_dropout_fusion", "fp32_residual_connection",
    "attention_dropout", "hidden_dropout", "classifier_dropout",
)  # fmt: skip


def matches(raw: Mapping[str, Any]) -> Match | None:
    """ChatGLM-6B goes by the same model_type; it has no groups of queries and no padded vocabulary."""
    if raw.get("model_type") != "chatglm" or "position_encoding_2d" in raw:
        return None
    if "multi_query_group_num" not in raw and "padded_vocab_size" not in raw:
        return None
    is_glm4 = "rope_ratio" in raw and raw.get("padded_vocab_size") != SHARED_VOCABULARY
    name = "with rope_ratio: GLM-4-9B" if is_glm4 else "with multi_query_group_num: ChatGLM2 or ChatGLM3"
    return Match(1.0, (f"model_type is 'chatglm', {name}",))


def from_config(hf: ForeignConfig) -> ChatGLM2Config:
    hf.of_class("ChatGLMModel", "ChatGLMForConditionalGeneration", code=("chatglm",))
    values = hf.read(ChatGLM2Config, KEYS)
    hf.require(**FIXED, num_hidden_layers=values["num_layers"], vocab_size=values["vocab_size"])
    hf.ignore(*INERT)
    return ChatGLM2Config(**values, **hf.tokens(), rope=read_rope(hf, values["vocab_size"]))


def to_config(c: ChatGLM2Config) -> dict[str, Any]:
    return {
        "architectures": ["ChatGLMModel"],
        "auto_map": {
            "AutoConfig": "configuration_chatglm.ChatGLMConfig",
            "AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration",
            "AutoModelForCausalLM": "modeling_chatglm.ChatGLMForConditionalGeneration",
        },
        "model_type": "chatglm",
        **{name: value for name, value in FIXED.items() if isinstance(value, bool) and name != "prefix_projection"},
        **write_keys(c, KEYS),
        **{name: value for name, value in write_tokens(c).items() if name != "dtype"},
        "torch_dtype": c.dtype,
        **write_rope(c),
    }


def mapping(c: ChatGLM2Config) -> Table:
    q, kv = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    wide = c.intermediate_size
    return Table(
        rename("embed", "transformer.embedding.word_embeddings"),
        under(
            "layers.{i}", "transformer.encoder.layers.{i}",
            rename("attn_norm", "input_layernorm"),
            rule(("attn.q_proj", "attn.k_proj", "attn.v_proj"), "self_attention.query_key_value", split(q, kv, kv)),
            rename("attn.o_proj", "self_attention.dense"),
            rename("mlp_norm", "post_attention_layernorm"),
            rule(("mlp.gate_proj", "mlp.up_proj"), "mlp.dense_h_to_4h", split(wide, wide)),
            rename("mlp.down_proj", "mlp.dense_4h_to_h"),
        ),
        rename("norm", "transformer.encoder.final_layernorm"),
        alias("transformer.output_layer.weight", of="transformer.embedding.word_embeddings.weight")
        if c.tie_embeddings
        else rename("lm_head", "transformer.output_layer"),
        ignore("transformer.rotary_pos_emb.inv_freq", "rotary frequencies follow from model.rope"),
    )  # fmt: skip


CHATGLM2 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=matches)
