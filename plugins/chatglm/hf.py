"""ChatGLM-6B's config.json and weights, as its own code on Hugging Face stores them: q, k, v fused head by head."""

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
    must_be,
    rename,
    rule,
    split_heads,
    under,
    write_keys,
    write_tokens,
)

from .config import ChatGLMConfig

KEYS = (  # defaults: those of the released ChatGLMConfig
    key("mask_token_id", default=150_000, is_told=False),  # younger than the first release, which has no others
    key("gmask_token_id", default=150_001, is_told=False),
    key("vocab_size"),
    key("hidden_size"),
    key("intermediate_size", "inner_hidden_size"),
    key("num_layers"),
    key("num_heads", "num_attention_heads"),
    key("max_seq_len", "max_sequence_length", default=2048),
    key("norm_eps", "layernorm_epsilon", default=1e-5),
    key("tie_embeddings", "tie_word_embeddings", default=False),  # the files bring a head of their own
)


def matches(raw: Mapping[str, Any]) -> Match | None:
    """ChatGLM2 and later go by the same model_type; only the first has two positions per token."""
    if raw.get("model_type") != "chatglm" or "multi_query_group_num" in raw or "padded_vocab_size" in raw:
        return None
    if "position_encoding_2d" in raw or "inner_hidden_size" in raw:
        return Match(1.0, ("model_type is 'chatglm', with position_encoding_2d or inner_hidden_size: ChatGLM-6B",))
    return None


def from_config(hf: ForeignConfig) -> ChatGLMConfig:
    hf.of_class("ChatGLMModel", "ChatGLMForConditionalGeneration", code=("chatglm",))
    # Only position_encoding_2d was released; p-tuning's prefixes and quantised weights are other models.
    hf.require(position_encoding_2d=True, pre_seq_len=None, prefix_projection=False, quantization_bit=0)
    return ChatGLMConfig(**hf.read(ChatGLMConfig, KEYS), **hf.tokens())


def to_config(c: ChatGLMConfig) -> dict[str, Any]:
    must_be(c, "a ChatGLM config.json", residual_layers=28, has_half_frequencies=True)
    return {
        "architectures": ["ChatGLMModel"],
        "auto_map": {
            "AutoConfig": "configuration_chatglm.ChatGLMConfig",
            "AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration",
            "AutoModelForSeq2SeqLM": "modeling_chatglm.ChatGLMForConditionalGeneration",
        },
        "model_type": "chatglm",
        "position_encoding_2d": True,
        **write_keys(c, KEYS),
        **{name: value for name, value in write_tokens(c).items() if name != "dtype"},
        "torch_dtype": c.dtype,
    }


def mapping(c: ChatGLMConfig) -> Table:
    return Table(
        rename("embed", "transformer.word_embeddings"),
        under(
            "layers.{i}", "transformer.layers.{i}",
            rename("attn_norm", "input_layernorm"),
            rule(
                ("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attention.query_key_value",
                split_heads(c.num_heads, c.head_dim, c.head_dim, c.head_dim),
            ),
            rename("attn.o_proj", "attention.dense"),
            rename("mlp_norm", "post_attention_layernorm"),
            rename("mlp.up_proj", "mlp.dense_h_to_4h"),
            rename("mlp.down_proj", "mlp.dense_4h_to_h"),
            ignore("attention.rotary_emb.inv_freq", "the released code does not use it either"),
        ),
        rename("norm", "transformer.final_layernorm"),
        alias("lm_head.weight", of="transformer.word_embeddings.weight")
        if c.tie_embeddings
        else rename("lm_head", "lm_head"),
    )  # fmt: skip


CHATGLM = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=matches)
